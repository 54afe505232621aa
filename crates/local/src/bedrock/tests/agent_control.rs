//! The control operations of agents, on the wire.
use super::agents::{
    FUNCTION, alias, answer, create, emulator, invoke, ok, orders, prepare, shipped, with_group,
};
use super::*;

#[track_caller]
fn refused(reply: &Reply, status: u16, error: &str, words: &str) {
    let message = reply.json()["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert_eq!(
        (reply.status.as_u16(), reply.error.as_str()),
        (status, error),
        "{message}"
    );
    assert!(message.contains(words), "{words}: {message}");
}

#[tokio::test]
async fn an_agent_lives_through_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let (app, _) = emulator(folder.path(), shipped);
    let id = create(
        &app,
        "shop",
        json!({"description": "The shop", "tags": {"team": "light"}}),
    )
    .await;
    with_group(&app, &id, orders(json!({"lambda": FUNCTION}))).await;
    prepare(&app, &id).await;
    let arn = alias(&app, &id).await;
    // What changes after the version does not change the version.
    let update = json!({"agentName": "store", "foundationModel": MODEL, "agentResourceRoleArn": "arn:aws:iam::000000000000:role/r"});
    let updated = ok(&app, "PUT", &format!("/agents/{id}"), update).await;
    assert_eq!(
        (
            &updated["agent"]["agentStatus"],
            &updated["agent"]["agentName"]
        ),
        (&json!("NOT_PREPARED"), &json!("store"))
    );
    drop(app);

    let (app, _) = emulator(folder.path(), shipped);
    let agent = ok(&app, "GET", &format!("/agents/{id}/"), json!({})).await;
    assert_eq!(agent["agent"]["agentName"], "store");
    let version = ok(
        &app,
        "GET",
        &format!("/agents/{id}/agentversions/1/"),
        json!({}),
    )
    .await;
    assert_eq!(
        (
            &version["agentVersion"]["agentName"],
            &version["agentVersion"]["version"]
        ),
        (&json!("shop"), &json!("1"))
    );
    let tags = ok(
        &app,
        "GET",
        &format!(
            "/tags/{}",
            agent["agent"]["agentArn"]
                .as_str()
                .expect("an ARN")
                .replace('/', "%2F")
        ),
        json!({}),
    )
    .await;
    assert_eq!(tags, json!({"tags": {"team": "light"}}));
    let alias_id = arn.rsplit('/').next().expect("an id");
    let path = format!("/agents/{id}/agentAliases/{alias_id}/sessions/s1/text");
    let reply = post(&app, &path, json!({"inputText": "Where is order ORD-5?"})).await;
    assert_eq!(
        answer(&decode(&reply.body)).0,
        "Order id: ORD-5. Status: shipped."
    );
    // The test alias goes on with what was prepared.
    let frames = invoke(
        &app,
        &id,
        "s2",
        json!({"inputText": "Where is order ORD-5?"}),
    )
    .await;
    assert_eq!(answer(&frames).0, "Order id: ORD-5. Status: shipped.");
}

#[tokio::test]
async fn a_token_makes_an_agent_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (app, _) = emulator(folder.path(), shipped);
    let token = json!({"clientToken": "0123456789012345678901234567890123"});
    let first = create(&app, "shop", token.clone()).await;
    assert_eq!(create(&app, "shop", token).await, first);
    let again = call(
        &app,
        "PUT",
        "/agents/",
        json!({"agentName": "shop"}).to_string(),
    )
    .await;
    refused(
        &again,
        409,
        "ConflictException",
        "named shop exists already",
    );
    let listed = ok(&app, "POST", "/agents", json!({})).await;
    assert_eq!(listed["agentSummaries"].as_array().map(Vec::len), Some(1));
    create(&app, "other", json!({})).await;
    let page = ok(&app, "POST", "/agents/", json!({"maxResults": 1})).await;
    let rest = ok(
        &app,
        "POST",
        "/agents/",
        json!({"maxResults": 1, "nextToken": page["nextToken"]}),
    )
    .await;
    assert_eq!(rest["agentSummaries"][0]["agentName"], "other");
    assert!(rest.get("nextToken").is_none());
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let (app, _) = emulator(folder.path(), shipped);
    let id = create(&app, "shop", json!({})).await;
    let invalid = "ValidationException";
    let agent = |more: Value| {
        let mut body = json!({"agentName": "new"});
        body.as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        ("PUT", "/agents/".to_owned(), body)
    };
    let draft = |part: &str| format!("/agents/{id}/agentversions/DRAFT/{part}/");
    let group = |more: Value| {
        let mut body = orders(json!({"lambda": FUNCTION}));
        body.as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        ("PUT", draft("actiongroups"), body)
    };
    let cases = [
        (
            agent(json!({"memoryConfiguration": {}})),
            400,
            invalid,
            "memoryConfiguration is not supported",
        ),
        (
            agent(json!({"promptOverrideConfiguration": {}})),
            400,
            invalid,
            "promptOverrideConfiguration is not supported",
        ),
        (
            agent(json!({"customOrchestration": {}})),
            400,
            invalid,
            "customOrchestration is not supported",
        ),
        (
            agent(json!({"orchestrationType": "CUSTOM_ORCHESTRATION"})),
            400,
            invalid,
            "CUSTOM_ORCHESTRATION",
        ),
        (
            agent(json!({"instruction": "short"})),
            400,
            invalid,
            "'instruction'",
        ),
        (
            agent(json!({"agentName": "no spaces"})),
            400,
            invalid,
            "'agentName'",
        ),
        (
            agent(json!({"idleSessionTTLInSeconds": 1})),
            400,
            invalid,
            "'idleSessionTTLInSeconds'",
        ),
        (agent(json!({"surprise": 1})), 400, invalid, "surprise"),
        (
            ("GET", "/agents/NOTHERE123/".to_owned(), json!({})),
            404,
            "ResourceNotFoundException",
            "NOTHERE123",
        ),
        (
            group(json!({"parentActionGroupSignature": "AMAZON.CodeInterpreter"})),
            400,
            invalid,
            "AMAZON.CodeInterpreter is not supported",
        ),
        (
            group(json!({"parentActionGroupSignature": "AMAZON.UserInput"})),
            400,
            invalid,
            "must be left out",
        ),
        (
            group(json!({"actionGroupExecutor": {"lambda": "agent-action"}})),
            400,
            invalid,
            "actionGroupExecutor.lambda",
        ),
        (
            group(json!({"apiSchema": {"payload": "{}"}})),
            400,
            invalid,
            "one of apiSchema and functionSchema",
        ),
        (
            group(json!({"functionSchema": {"functions": []}})),
            400,
            invalid,
            "1 to 5",
        ),
        (
            (
                "POST",
                format!("/agents/{id}"),
                json!({"foundationModel": MODEL}),
            ),
            400,
            invalid,
            "InvokeInlineAgent",
        ),
        (
            (
                "PUT",
                format!("/agents/{id}/agentaliases/"),
                json!({"agentAliasName": "live"}),
            ),
            400,
            invalid,
            "NOT_PREPARED",
        ),
        (
            (
                "PUT",
                format!("/agents/{id}/agentversions/1/actiongroups/"),
                json!({}),
            ),
            400,
            invalid,
            "'agentVersion'",
        ),
        (
            (
                "PUT",
                draft("agentcollaborators"),
                json!({"agentDescriptor": {"aliasArn": "arn:x"}, "collaboratorName": "a", "collaborationInstruction": "b"}),
            ),
            400,
            invalid,
            "no ARN of an agent alias",
        ),
        (
            ("GET", draft("knowledgebases") + "HANDBOOK01/", json!({})),
            404,
            "ResourceNotFoundException",
            "HANDBOOK01",
        ),
        (
            ("PATCH", "/agents/".to_owned(), json!({})),
            404,
            "UnknownOperationException",
            "PATCH /agents/",
        ),
        (
            ("POST", "/flows/".to_owned(), json!({})),
            404,
            "UnknownOperationException",
            "/flows/",
        ),
    ];
    for ((method, path, body), status, error, words) in cases {
        refused(
            &call(&app, method, &path, body.to_string()).await,
            status,
            error,
            words,
        );
    }
}

#[tokio::test]
async fn an_invocation_that_cannot_begin_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (app, _) = emulator(folder.path(), shipped);
    let id = create(&app, "shop", json!({})).await;
    let at = |alias: &str, session: &str| {
        format!("/agents/{id}/agentAliases/{alias}/sessions/{session}/text")
    };
    let hello = json!({"inputText": "hello"});
    let invalid = "ValidationException";
    let early = post(&app, &at("TSTALIASID", "s1"), hello.clone()).await;
    refused(&early, 400, invalid, "NOT_PREPARED");
    prepare(&app, &id).await;
    refused(
        &post(&app, &at("NOALIAS123", "s1"), hello.clone()).await,
        404,
        "ResourceNotFoundException",
        "NOALIAS123",
    );
    refused(
        &post(&app, &at("TSTALIASID", "s"), hello).await,
        400,
        invalid,
        "'sessionId'",
    );
    for (body, words) in [
        (json!({}), "inputText is missing"),
        (
            json!({"inputText": "a", "memoryId": "m"}),
            "memoryId is not supported",
        ),
        (
            json!({"inputText": "a", "sessionState": {"files": []}}),
            "sessionState.files is not supported",
        ),
        (
            json!({"inputText": "a", "promptCreationConfigurations": {}}),
            "promptCreationConfigurations",
        ),
        (json!({"inputText": "a", "surprise": 1}), "surprise"),
    ] {
        refused(
            &post(&app, &at("TSTALIASID", "s1"), body).await,
            400,
            invalid,
            words,
        );
    }
    let arn = alias(&app, &id).await;
    let alias_id = arn.rsplit('/').next().expect("an id").to_owned();
    let route = json!({"agentAliasName": "live", "routingConfiguration": [{"agentVersion": "1"}], "aliasInvocationState": "REJECT_INVOCATIONS"});
    ok(
        &app,
        "PUT",
        &format!("/agents/{id}/agentaliases/{alias_id}/"),
        route,
    )
    .await;
    let closed = post(&app, &at(&alias_id, "s1"), json!({"inputText": "a"})).await;
    refused(&closed, 400, invalid, "REJECT_INVOCATIONS");
}

#[tokio::test]
async fn what_is_in_use_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let (app, _) = emulator(folder.path(), shipped);
    let id = create(&app, "shop", json!({})).await;
    with_group(&app, &id, orders(json!({"lambda": FUNCTION}))).await;
    prepare(&app, &id).await;
    let arn = alias(&app, &id).await;
    let group = ok(
        &app,
        "POST",
        &format!("/agents/{id}/agentversions/DRAFT/actiongroups/"),
        json!({}),
    )
    .await;
    let group = group["actionGroupSummaries"][0]["actionGroupId"]
        .as_str()
        .expect("an id")
        .to_owned();
    let group = format!("/agents/{id}/agentversions/DRAFT/actiongroups/{group}/");
    let lead = create(&app, "lead", json!({"agentCollaboration": "SUPERVISOR"})).await;
    refused(
        &call(&app, "POST", &format!("/agents/{lead}/"), String::new()).await,
        400,
        "ValidationException",
        "no collaborator",
    );
    let body = json!({"agentDescriptor": {"aliasArn": arn}, "collaboratorName": "clerk", "collaborationInstruction": "Orders"});
    ok(
        &app,
        "PUT",
        &format!("/agents/{lead}/agentversions/DRAFT/agentcollaborators/"),
        body,
    )
    .await;
    for (path, words) in [
        (format!("/agents/{id}/"), "has the alias"),
        (
            format!("/agents/{id}/agentversions/1/"),
            "routes to version 1",
        ),
        (group.clone(), "is ENABLED"),
    ] {
        refused(
            &call(&app, "DELETE", &path, String::new()).await,
            409,
            "ConflictException",
            words,
        );
    }
    let alias_path = format!(
        "/agents/{id}/agentaliases/{}/",
        arn.rsplit('/').next().expect("an id")
    );
    ok(&app, "DELETE", &alias_path, json!({})).await;
    refused(
        &call(&app, "DELETE", &format!("/agents/{id}/"), String::new()).await,
        409,
        "ConflictException",
        "is a collaborator",
    );
    refused(
        &call(&app, "POST", &format!("/agents/{lead}/"), String::new()).await,
        400,
        "ValidationException",
        "is gone",
    );
    let deleted = call(
        &app,
        "DELETE",
        &format!("{group}?skipResourceInUseCheck=true"),
        String::new(),
    )
    .await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    ok(
        &app,
        "DELETE",
        &format!("/agents/{id}/?skipResourceInUseCheck=true"),
        json!({}),
    )
    .await;
    assert_eq!(
        call(&app, "GET", &format!("/agents/{id}/"), String::new())
            .await
            .status,
        StatusCode::NOT_FOUND
    );
}
