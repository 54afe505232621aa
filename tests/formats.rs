//! A document with pages at the door: what is found and cited of it names the page.

use reqwest::Method;
use serde_json::json;

use crate::instance::Instance;

/// Two pages; readers find the objects without a table of them.
const PDF: &str = "%PDF-1.7\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n\
    2 0 obj\n<< /Type /Pages /Kids [10 0 R 12 0 R] /Count 2 >>\nendobj\n\
    3 0 obj\n<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>\nendobj\n\
    10 0 obj\n<< /Type /Page /Parent 2 0 R /Contents 11 0 R /Resources << /Font << /F 3 0 R >> >> >>\nendobj\n\
    11 0 obj\n<< /Length 73 >>\nstream\nBT /F 10 Tf 72 700 Td (Feldspar is a mineral that is found in granite.) Tj ET\nendstream\nendobj\n\
    12 0 obj\n<< /Type /Page /Parent 2 0 R /Contents 13 0 R /Resources << /Font << /F 3 0 R >> >> >>\nendobj\n\
    13 0 obj\n<< /Length 79 >>\nstream\nBT /F 10 Tf 72 700 Td (Obsidian cools so fast that no crystals grow in it.) Tj ET\nendstream\nendobj\n\
    trailer\n<< /Root 1 0 R >>\n";

/// Each way at the door: what was cut otherwise is cut anew by the next run over the source, and the plan says so.
#[tokio::test]
async fn a_space_is_cut_as_it_says() {
    let instance = Instance::start().await;
    let sections: String = (1..=12)
        .map(|number| {
            let words = format!("Stone {number} is found in valley {number}, below the ice. ");
            format!("## Stone {number}\n\n{}\n\n", words.repeat(8))
        })
        .collect();
    let (id, _) = instance
        .ingest("stones.md", &format!("# Stones\n\n{sections}"))
        .await;
    let passages = async || {
        let document = instance.get(&format!("/v1/documents/{id}")).await.body;
        document["passages"].as_u64().unwrap()
    };
    let set = async |chunking: &str| {
        let request = instance.request(Method::PUT, "/v1/spaces/default");
        instance
            .send(request.json(&json!({"chunking": chunking})))
            .await
    };
    let sync = async || {
        let started = instance.post("/v1/runs", &json!({})).await.body;
        let run_id = started["run_id"].as_str().unwrap().to_owned();
        (run_id.clone(), instance.finished(&run_id).await)
    };
    let fixed = passages().await;
    let check = async |chunking: &str, expected: &dyn Fn(u64) -> bool| {
        let reply = set(chunking).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(reply.body["chunking"], chunking);
        let (run_id, run) = sync().await;
        assert_eq!(run["status"], "SUCCEEDED", "{run}");
        let changes = instance
            .get(&format!("/v1/runs/{run_id}/changes"))
            .await
            .body;
        assert_eq!(changes["changes"][0]["change"], "rechunked", "{changes}");
        let found = passages().await;
        assert!(expected(found), "{chunking}: {found} passages");
        // The same setting again changes nothing.
        let (_, run) = sync().await;
        assert_eq!(run["counts"]["unchanged"], 1, "{run}");
    };
    check("headings:200", &|found| found == 12).await;
    check("none", &|found| found == 1).await;
    check("fixed:60,0", &|found| found > fixed && found > 12).await;
    check("semantic:100,80", &|found| found > 12).await;
    check("hierarchical:200,40", &|found| found > 24).await;
    // Found by a small passage, answered with the section around it.
    let found = instance
        .post(
            "/v1/search",
            &json!({"query": "valley 7", "mode": "lexical"}),
        )
        .await
        .body;
    let first = found["results"][0]["text"].as_str().unwrap();
    assert_eq!(first.matches("Stone 7 is found").count(), 8, "{found}");
    let refused = set("pages").await;
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert_eq!(refused.body["name"], "InvalidRequest");
}

#[tokio::test]
async fn a_citation_names_its_page() {
    let instance = Instance::start().await;
    let (_, run) = instance.ingest("stones.pdf", PDF).await;
    assert_eq!(run["status"], "SUCCEEDED", "{run}");
    let found = instance
        .post("/v1/search", &json!({"query": "feldspar"}))
        .await
        .body;
    assert_eq!(found["results"][0]["page"], 1, "{found}");
    let question = json!({"question": "Why do no crystals grow in obsidian?"});
    let answer = instance.post("/v1/ask", &question).await.body;
    assert_eq!(answer["citations"][0]["page"], 2, "{answer}");
    assert_eq!(answer["sources"][0]["page"], 1, "{answer}");
}
