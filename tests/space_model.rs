//! A space names the model that writes its answers, among those that the deployment offers.

use reqwest::Method;
use serde_json::{Value, json};

use crate::instance::Instance;

#[tokio::test]
async fn a_space_has_a_model_of_its_own() {
    let instance = Instance::start().await;
    instance
        .ingest("shed.md", "The key of the shed hangs in the hall.")
        .await;
    let set = async |body: Value| {
        let request = instance.request(Method::PUT, "/v1/spaces/default");
        instance.send(request.json(&body)).await
    };
    let question = json!({"question": "Where does the key of the shed hang?"});
    let first = instance.post("/v1/ask", &question).await.body;
    let offered = first["usage"]["model"].as_str().unwrap();

    let refused = set(json!({"model": "anthropic.claude-elsewhere"})).await;
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert_eq!(refused.body["name"], "ModelNotAllowed");
    assert!(refused.body["detail"].as_str().unwrap().contains(offered));

    let space = set(json!({"model": offered})).await;
    assert_eq!(
        (space.status.as_u16(), &space.body["model"]),
        (200, &json!(offered))
    );
    let answer = instance.post("/v1/ask", &question).await.body;
    assert_eq!(answer["usage"]["model"], offered);
    let kept = set(json!({"strict": true})).await;
    assert_eq!(kept.body["model"], offered, "what is left out stays");
    let space = set(json!({"model": null})).await;
    assert_eq!(space.body.get("model"), None, "{}", space.body);
}
