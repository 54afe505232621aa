//! A space names the model that writes its answers, among those that the deployment offers.

use local::lambda::Invocation;
use reqwest::Method;
use serde_json::{Value, json};

use crate::instance::Instance;
use crate::lambda_binaries::{host_with, streamed};

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

const PROFILE: &str =
    "arn:aws:bedrock:us-east-1:000000000000:application-inference-profile/ledgers";
const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";

/// A profile says nothing of its model: what it stands for comes from the settings, and only its ARN goes to Bedrock, which knows
/// no model of the longer name.
#[tokio::test]
async fn a_space_is_served_by_a_profile_that_no_question_may_name() {
    let instance = Instance::start().await;
    instance
        .ingest("shed.md", "The key of the shed hangs in the hall.")
        .await;
    let allowed = PROFILE.replace("ledgers", &format!("*={CLAUDE}"));
    let host = host_with(&instance, &[("OUTCROP_ALLOWED_MODELS", &allowed)], 1);
    let call = async |function: &str, method: &str, path: &str, resource: &str, body: Value| {
        let event = json!({
            "httpMethod": method, "path": path, "resource": resource, "pathParameters": {"space": "default"},
            "headers": {"content-type": "application/json", "accept": "application/json"},
            "requestContext": {"authorizer": {"claims": {"sub": "local"}}},
            "body": body.to_string(),
        });
        let (status, body) = match host
            .invoke(function, event.to_string().into())
            .await
            .unwrap()
        {
            Invocation::Reply(bytes) => {
                let reply: Value = serde_json::from_slice(&bytes).unwrap();
                let body = reply["body"].as_str().unwrap().to_owned();
                (reply["statusCode"].clone(), body)
            }
            Invocation::Stream(pieces) => {
                let (prelude, body) = streamed(pieces).await;
                (prelude["statusCode"].clone(), body)
            }
            failed => panic!("{failed:?}"),
        };
        (status, serde_json::from_str::<Value>(&body).unwrap())
    };
    let question = json!({"question": "Where does the key of the shed hang?"});
    let mut named = question.clone();
    named["model"] = json!(PROFILE);
    let (status, refused) = call("outcrop-query", "POST", "/v1/ask", "/v1/ask", named).await;
    assert_eq!(
        (status, &refused["name"]),
        (json!(400), &json!("ModelNotAllowed"))
    );

    let (path, resource) = ("/v1/spaces/default", "/v1/spaces/{space}");
    let model = json!({"model": PROFILE});
    let (status, space) = call("outcrop-ingest", "PUT", path, resource, model).await;
    let whole = format!("{PROFILE}={CLAUDE}");
    assert_eq!(
        (status, &space["model"]),
        (json!(200), &json!(whole)),
        "{space}"
    );

    let (status, answer) = call("outcrop-query", "POST", "/v1/ask", "/v1/ask", question).await;
    assert_eq!(
        (status, &answer["usage"]["model"]),
        (json!(200), &json!(whole)),
        "{answer}"
    );
    assert_eq!(answer["answered"], true, "{answer}");
    assert_eq!(
        answer["citations"][0]["quote"],
        "The key of the shed hangs in the hall."
    );
}
