use super::request::{fingerprint, skip};
use super::*;

#[test]
fn a_knowledge_base_is_a_space() {
    let check = |id: &str, space: Option<&str>| {
        assert_eq!(space_of(id).as_deref(), space, "{id}");
    };
    check("defaultXXX", Some("default"));
    check("teamZ7XXXX", Some("team-7"));
    check("abcdefghij", Some("abcdefghij"));
    let arn = "arn:aws:bedrock:us-east-1:000000000000:knowledge-base/legalXXXXX";
    check(arn, Some("legal"));
    check("x:knowledge-base/legalXXXXX", None);
    check("default", None);
    check("XXXXXXXXXX", None);
    check("Zminus1XXX", None);
    check("ABCDEFGHIJ", None);
    check("defaultXXXX", None);
    for space in ["default", "team-7", "a", "abcdefghij"] {
        let id = knowledge_base_id(space).unwrap_or_default();
        assert_eq!(space_of(&id).as_deref(), Some(space));
    }
    assert_eq!(knowledge_base_id("a-longer-name"), None);
}

#[test]
fn a_token_continues_its_own_request_only() {
    let of = fingerprint(&["default", "question", "null", "Hybrid"]);
    assert_eq!(skip(&token(10, &of), &of).ok(), Some(10));
    let other = fingerprint(&["default", "questionn", "ull", "Hybrid"]);
    for token in [
        token(10, &other),
        "10".into(),
        format!("{of}-x"),
        String::new(),
    ] {
        assert!(skip(&token, &of).is_err(), "{token}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_refused_by_name() {
    let bedrock = Bedrock::open(crate::bedrock::Settings::default()).expect("an emulator");
    let check = async |id: &str, body: Value, name: ErrorName, part: &str| {
        let error = match serde_json::from_value::<RetrieveRequest>(body.clone()) {
            Ok(request) => retrieve(&bedrock, id, request).await.err(),
            Err(error) => Some(WireError::validation(error.to_string())),
        };
        let error = error.unwrap_or_else(|| WireError::validation("nothing refused"));
        assert_eq!(error.name, name, "{body}: {error}");
        assert!(error.message.contains(part), "{body}: {error}");
    };
    let id = "defaultXXX";
    let with = |field: &str, value: Value| {
        let mut body = json!({"retrievalQuery": {"text": "q"}});
        body[field] = value;
        body
    };
    let vector = |field: &str, value: Value| {
        with(
            "retrievalConfiguration",
            json!({"vectorSearchConfiguration": {field: value}}),
        )
    };
    let managed = |field: &str, value: Value| {
        with(
            "retrievalConfiguration",
            json!({"managedSearchConfiguration": {field: value}}),
        )
    };
    let invalid = ErrorName::Validation;
    check(
        "KB",
        with("nextToken", json!("x")),
        ErrorName::ResourceNotFound,
        "KB",
    )
    .await;
    check(
        id,
        json!({"retrievalQuery": {}}),
        invalid,
        "retrievalQuery.text",
    )
    .await;
    check(
        id,
        json!({"retrievalQuery": {"text": " "}}),
        invalid,
        "retrievalQuery.text",
    )
    .await;
    check(
        id,
        json!({"retrievalQuery": {"text": "q", "image": {}}}),
        invalid,
        "retrievalQuery.image",
    )
    .await;
    check(
        id,
        with("guardrailConfiguration", json!({})),
        invalid,
        "guardrailConfiguration",
    )
    .await;
    check(id, with("userContext", json!({})), invalid, "userContext").await;
    check(id, with("nextToken", json!("x")), invalid, "nextToken").await;
    check(id, with("surprise", json!(1)), invalid, "surprise").await;
    check(
        id,
        vector("numberOfResults", json!(0)),
        invalid,
        "numberOfResults",
    )
    .await;
    check(
        id,
        vector("numberOfResults", json!(101)),
        invalid,
        "numberOfResults",
    )
    .await;
    check(
        id,
        vector("overrideSearchType", json!("LEXICAL")),
        invalid,
        "overrideSearchType",
    )
    .await;
    check(
        id,
        vector("filter", json!({"equalz": {}})),
        invalid,
        "filter is not valid: at equalz",
    )
    .await;
    check(
        id,
        vector("rerankingConfiguration", json!({})),
        invalid,
        "rerankingConfiguration",
    )
    .await;
    check(
        id,
        vector("implicitFilterConfiguration", json!({})),
        invalid,
        "implicitFilter",
    )
    .await;
    check(
        id,
        vector("rerankingModelType", json!("NONE")),
        invalid,
        "has no field",
    )
    .await;
    check(
        id,
        managed("overrideSearchType", json!("HYBRID")),
        invalid,
        "has no field",
    )
    .await;
    check(
        id,
        managed("rerankingModelType", json!("MANAGED")),
        invalid,
        "other than NONE",
    )
    .await;
    let both = json!({"vectorSearchConfiguration": {}, "managedSearchConfiguration": {}});
    check(
        id,
        with("retrievalConfiguration", both),
        invalid,
        "not both",
    )
    .await;
    // All is well with this one but the cloud that is not there.
    let sound = serde_json::from_value(managed("rerankingModelType", json!("NONE"))).unwrap();
    let error = retrieve(&bedrock, id, sound)
        .await
        .map_err(|error| error.message);
    assert!(error.is_err_and(|words| words.contains("without a laptop cloud")));
}
