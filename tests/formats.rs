//! A document with pages at the door: what is found and cited of it names the page.

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
