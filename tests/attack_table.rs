//! What was tried against the door, and what came back: forged tokens, smuggled headers, swapped ids, tampered cursors and
//! filters, tool calls that claim to be somebody else. Bob's document says a word that no reply to another may hold; the
//! table of replies is a reviewed snapshot.

use std::time::Duration;

use local::lambda::{Host, Invocation};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::instance::Instance;
use crate::lambda_binaries::{host, streamed};

/// Stands only in the document, and in its title.
const SECRETS: [&str; 2] = ["marzipan", "Quokka"];
const CONTENT: &str = "# Quokka ledger\n\nThe word that opens the vault is marzipan.\n";
const QUESTION: &str = "Which word opens the vault?";

/// What is sent: a row of the table.
struct Attack {
    tried: String,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Value>,
}

fn get(tried: &str, path: &str) -> Attack {
    Attack {
        tried: tried.to_owned(),
        method: Method::GET,
        path: path.to_owned(),
        headers: Vec::new(),
        body: None,
    }
}

fn post(tried: &str, path: &str, body: Value) -> Attack {
    Attack {
        method: Method::POST,
        body: Some(body),
        ..get(tried, path)
    }
}

/// The vault with Bob's document in it, stored by Bob, and one document for everyone. Bob and Eve are editors.
struct Vault {
    instance: Instance,
    /// Eve's, who attacks.
    token: String,
    host: Host,
    document: String,
    run: String,
    /// Bob's, which says the word, and the conversation that it belongs to.
    answer: String,
    conversation: String,
}

impl Vault {
    async fn build() -> Self {
        let instance = Instance::start().await;
        let gate = json!({
            "name": "gate.md", "content": "# Gate\n\nThe gate of the vault opens at nine.\n", "readers": ["everyone"],
        });
        let stored = instance.post("/v1/documents", &gate).await;
        instance
            .finished(stored.body["run_id"].as_str().unwrap())
            .await;
        let roles = json!({"roles": {"editor": ["user:bob", "user:eve"]}});
        let request = instance.request(Method::PUT, "/v1/spaces/default");
        assert_eq!(instance.send(request.json(&roles)).await.status, 200);
        let host = host(&instance);
        let body =
            json!({"name": "ledger.md", "content": CONTENT, "readers": ["user:bob"]}).to_string();
        let stored = Call {
            function: "outcrop-ingest",
            method: "POST",
            resource: "/v1/documents",
            parameters: json!({}),
            body: &body,
            context: claims(json!({"sub": "bob"})),
        };
        let (status, stored) = stored.send(&host).await;
        assert_eq!(status, 202, "{stored}");
        let text = |name: &str| stored[name].as_str().unwrap().to_owned();
        let mut vault = Self {
            document: text("document_id"),
            run: text("run_id"),
            answer: String::new(),
            conversation: String::new(),
            token: instance.token("eve", &[]),
            instance,
            host,
        };
        for _ in 0..600 {
            let run = Call {
                function: "outcrop-ingest",
                method: "GET",
                resource: "/v1/runs/{run_id}",
                parameters: json!({"run_id": vault.run}),
                body: "",
                context: claims(json!({"sub": "bob"})),
            };
            let (_, run) = run.send(&vault.host).await;
            if run["status"] == "SUCCEEDED" {
                let answer = vault.asked_by_bob().await;
                let id = |name: &str| answer[name].as_str().unwrap().to_owned();
                (vault.answer, vault.conversation) = (id("answer_id"), id("conversation_id"));
                return vault;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("Bob's run did not end: {}", vault.instance.log());
    }

    async fn asked_by_bob(&self) -> Value {
        let body = json!({"question": QUESTION, "conversation_id": "new"}).to_string();
        let ask = Call {
            function: "outcrop-query",
            method: "POST",
            resource: "/v1/ask",
            parameters: Value::Null,
            body: &body,
            context: claims(json!({"sub": "bob"})),
        };
        let (_, answer) = ask.send(&self.host).await;
        assert!(answer.to_string().contains("marzipan"), "{answer}");
        answer
    }

    async fn sent(&self, attack: &Attack) -> (u16, String) {
        let mut request = self
            .instance
            .request(attack.method.clone(), &attack.path)
            .timeout(Duration::from_secs(60));
        if !attack
            .headers
            .iter()
            .any(|(name, _)| name == "authorization")
        {
            request = request.bearer_auth(&self.token);
        }
        for (name, value) in &attack.headers {
            request = request.header(name, value);
        }
        if let Some(body) = &attack.body {
            request = request.json(body);
        }
        let reply = request.send().await.unwrap();
        let head = format!("{:?}", reply.headers());
        (
            reply.status().as_u16(),
            head + "\n" + &reply.text().await.unwrap(),
        )
    }
}

/// A call of a function with what the authorizer says, past the gateway of the laptop.
pub struct Call<'a> {
    pub function: &'a str,
    pub method: &'a str,
    pub resource: &'a str,
    pub parameters: Value,
    pub body: &'a str,
    pub context: Value,
}

pub fn claims(claims: Value) -> Value {
    json!({ "authorizer": { "claims": claims }, "stage": "live" })
}

impl Call<'_> {
    pub async fn send(&self, host: &Host) -> (u64, Value) {
        let event = json!({
            "resource": self.resource, "path": self.resource, "httpMethod": self.method,
            "headers": {"Content-Type": "application/json", "Accept": "application/json", "X-User": "bob"},
            "pathParameters": self.parameters, "queryStringParameters": null,
            "requestContext": self.context, "body": self.body, "isBase64Encoded": false,
        });
        let payload = event.to_string().into();
        match host.invoke(self.function, payload).await.unwrap() {
            Invocation::Reply(bytes) => {
                let reply: Value = serde_json::from_slice(&bytes).unwrap();
                let body = reply["body"].as_str().unwrap();
                let body = serde_json::from_str(body).unwrap();
                (reply["statusCode"].as_u64().unwrap(), body)
            }
            Invocation::Stream(pieces) => {
                let (prelude, body) = streamed(pieces).await;
                let body = serde_json::from_str(&body).unwrap();
                (prelude["statusCode"].as_u64().unwrap(), body)
            }
            failed => panic!("{failed:?}"),
        }
    }
}

/// What came back, in a few words.
fn outcome(status: u64, body: &Value) -> String {
    let listed = |name: &str| {
        body[name]
            .as_array()
            .map(|list| format!("{} {name}", list.len()))
    };
    let mcp = || {
        let result = &body["result"];
        if let Some(code) = body["error"]["code"].as_i64() {
            return Some(format!("error {code}"));
        }
        let text = result["content"][0]["text"].as_str()?;
        let told: Value = serde_json::from_str(text).unwrap_or_default();
        match result["isError"].as_bool() {
            Some(true) => Some(format!(
                "refused: {}",
                told["error"]["name"].as_str().unwrap()
            )),
            _ => {
                let results = told["results"].as_array().map(Vec::len);
                Some(results.map_or("a reply".into(), |number| format!("{number} results")))
            }
        }
    };
    let told = body["name"]
        .as_str()
        .filter(|_| status >= 400)
        .map(str::to_owned)
        .or_else(|| listed("results"))
        .or_else(|| listed("documents"))
        .or_else(|| listed("runs"))
        .or_else(|| listed("citations").map(|citations| format!("an answer with {citations}")))
        .or_else(mcp)
        .unwrap_or_default();
    format!("{status} {told}").trim_end().to_owned()
}

/// `{"alg":"none"}`, `{"sub":"bob","cognito:groups":["admins"]}`, and no signature.
const UNSIGNED: &str =
    "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJib2IiLCJjb2duaXRvOmdyb3VwcyI6WyJhZG1pbnMiXX0.";
/// The same with `{"alg":"HS256"}` and a signature of nobody's.
const MISSIGNED: &str = "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJib2IiLCJjb2duaXRvOmdyb3VwcyI6WyJhZG1pbnMiXX0.c2lnbmF0dXJl";

fn search(body: Value) -> Value {
    let mut whole = json!({"query": QUESTION, "limit": 50});
    whole
        .as_object_mut()
        .unwrap()
        .extend(body.as_object().unwrap().clone());
    whole
}

fn forged_callers() -> Vec<Attack> {
    let bob = json!({"sub": "bob", "cognito:groups": ["admins"]});
    let headers = [
        ("authorization", UNSIGNED.into()),
        ("authorization", MISSIGNED.into()),
        ("authorization", "Basic Ym9iOg==".into()),
        ("authorization", "AWS4-HMAC-SHA256 Credential=bob/20261125/us-east-1/execute-api/aws4_request, SignedHeaders=host, Signature=00".into()),
        ("x-user", "bob".into()),
        ("x-forwarded-user", "bob".into()),
        ("x-outcrop-user", "bob".into()),
        ("x-outcrop-principals", "user:bob,group:admins".into()),
        ("x-amzn-oidc-identity", "bob".into()),
        ("x-amzn-oidc-data", UNSIGNED.into()),
        ("x-amzn-requestcontext", json!({"authorizer": {"claims": bob}}).to_string()),
        ("x-amzn-lambda-context", json!({"identity": {"cognitoIdentityId": "bob"}}).to_string()),
        ("x-amz-security-token", "bob".into()),
        ("x-http-method-override", "DELETE".into()),
        ("x-original-url", "/v1/documents/ledger".into()),
        ("cookie", "user=bob; session=bob".into()),
        ("forwarded", "for=bob;host=example.com".into()),
    ];
    let mut attacks = Vec::new();
    for (name, value) in headers {
        let shown: String = value.chars().take(24).collect();
        let mut attack = post(
            &format!("search with the header {name}: {shown}"),
            "/v1/search",
            search(json!({})),
        );
        attack.headers.push((name.to_owned(), value));
        attacks.push(attack);
    }
    let mut twice = post("two headers x-user", "/v1/search", search(json!({})));
    twice.headers = vec![
        ("x-user".into(), "local".into()),
        ("x-user".into(), "bob".into()),
    ];
    attacks.push(twice);
    for (name, value) in [("origin", "http://evil.example"), ("host", "evil.example")] {
        let mut attack = post(
            &format!("a page of another site: {name}"),
            "/v1/search",
            search(json!({})),
        );
        attack.headers.push((name.into(), value.into()));
        attacks.push(attack);
    }
    attacks
}

fn claimed_in_requests() -> Vec<Attack> {
    let fields = [
        "principals",
        "user",
        "caller",
        "owner",
        "readers",
        "groups",
        "mask",
        "role",
    ];
    let mut attacks: Vec<Attack> = fields
        .iter()
        .flat_map(|field| {
            let claimed = json!({*field: ["user:bob"]});
            let ask = json!({"question": QUESTION, *field: ["user:bob"]});
            [
                post(
                    &format!("search with the field {field}"),
                    "/v1/search",
                    search(claimed),
                ),
                post(&format!("ask with the field {field}"), "/v1/ask", ask),
            ]
        })
        .collect();
    let keys = [
        "readers",
        "_readers",
        "outcrop_readers",
        "owner",
        "document_id",
        "name",
    ];
    for key in keys {
        for filter in [
            json!({"equals": {"key": key, "value": "user:bob"}}),
            json!({"notEquals": {"key": key, "value": "nobody"}}),
            json!({"listContains": {"key": key, "value": "user:bob"}}),
        ] {
            let tried = format!("search with the filter {filter}");
            attacks.push(post(
                &tried,
                "/v1/search",
                search(json!({ "filter": filter })),
            ));
        }
    }
    for query in [
        "user=bob",
        "principal=user:bob",
        "readers=user:bob",
        "space=default%00",
        "space=..%2Fdefault",
    ] {
        attacks.push(get(
            &format!("list documents with ?{query}"),
            &format!("/v1/documents?{query}"),
        ));
    }
    attacks.push(post(
        "ask for the word",
        "/v1/ask",
        json!({"question": QUESTION}),
    ));
    for space in [
        "../default",
        "default#SETTINGS",
        "DEFAULT",
        "default.x",
        "*",
        "",
    ] {
        let body = json!({"question": QUESTION, "space": space});
        attacks.push(post(
            &format!("ask in the space {space:?}"),
            "/v1/ask",
            body,
        ));
    }
    attacks
}

fn swapped_ids(vault: &Vault) -> Vec<Attack> {
    let (id, run) = (&vault.document, &vault.run);
    let hash = id.split_once('.').unwrap().1;
    let reads = [
        ("Bob's document", format!("/v1/documents/{id}")),
        ("Bob's text", format!("/v1/documents/{id}/text")),
        ("Bob's run", format!("/v1/runs/{run}")),
        ("Bob's answer", format!("/v1/answers/{}", vault.answer)),
        (
            "Bob's conversation as an answer",
            format!("/v1/answers/{}", vault.conversation),
        ),
        ("Bob's document as an answer", format!("/v1/answers/{id}")),
        ("Bob's run as a document", format!("/v1/documents/{run}")),
        ("Bob's document as a run", format!("/v1/runs/{id}")),
        (
            "Bob's document in another space",
            format!("/v1/documents/other.{hash}"),
        ),
        ("the id alone", format!("/v1/documents/{hash}")),
        (
            "the id in capitals",
            format!("/v1/documents/{}", id.to_uppercase()),
        ),
        (
            "the id with a sort key",
            format!("/v1/documents/{id}%23TEXT"),
        ),
        ("the id with a null byte", format!("/v1/documents/{id}%00")),
        (
            "the id encoded",
            format!("/v1/documents/{}", id.replace('.', "%2E")),
        ),
        (
            "the id twice encoded",
            format!("/v1/documents/{}", id.replace('.', "%252E")),
        ),
        (
            "a path upwards",
            format!("/v1/documents/x%2F..%2F{id}/text"),
        ),
        (
            "a path to the store",
            "/v1/documents/..%2F..%2Ftexts/text".to_owned(),
        ),
        ("a slash more", format!("/v1/documents//{id}")),
        ("a slash behind", format!("/v1/documents/{id}/")),
    ];
    let mut attacks: Vec<Attack> = reads
        .iter()
        .map(|(what, path)| get(&format!("read {what}"), path))
        .collect();
    attacks.push(Attack {
        method: Method::DELETE,
        ..get("delete Bob's document", &format!("/v1/documents/{id}"))
    });
    for (what, conversation) in [
        ("Bob's conversation", &vault.conversation),
        ("Bob's answer as a conversation", &vault.answer),
        ("Bob's document as a conversation", id),
    ] {
        let body = json!({"question": "And which word is it?", "conversation_id": conversation});
        attacks.push(post(&format!("go on with {what}"), "/v1/ask", body));
    }
    attacks.extend([
        post(
            "run over Bob's document",
            "/v1/runs",
            json!({"documents": [id]}),
        ),
        post(
            "replace Bob's document",
            "/v1/documents",
            json!({"name": "ledger.md", "content": "mine", "readers": ["everyone"]}),
        ),
        post(
            "replace what Bob's document says of its readers",
            "/v1/documents",
            json!({"name": "ledger.md.metadata.json", "content": "{\"readers\": [\"everyone\"]}"}),
        ),
        post(
            "a link over Bob's document",
            "/v1/uploads",
            json!({"name": "ledger.md", "bytes": 4, "readers": ["everyone"]}),
        ),
        post(
            "a link out of the source",
            "/v1/uploads",
            json!({"name": "../../texts/default/ledger.txt", "bytes": 4}),
        ),
    ]);
    attacks
}

fn tampered_cursors(vault: &Vault) -> Vec<Attack> {
    let id = &vault.document;
    let cursors = [
        id.clone(),
        "default.0".to_owned(),
        "default.zzzz".to_owned(),
        "zzz".to_owned(),
        "other.0".to_owned(),
        format!("{id}%23DOCUMENT"),
        "default.0%20OR%201=1".to_owned(),
        "..%2F..".to_owned(),
        "%00".to_owned(),
    ];
    let mut attacks = Vec::new();
    for cursor in &cursors {
        // An id is a digest, so which documents come after Bob's is nothing that a table can hold.
        let shown = cursor.replace(id.as_str(), "(Bob's document)");
        attacks.push(get(
            &format!("documents after {shown}"),
            &format!("/v1/documents?cursor={cursor}"),
        ));
        attacks.push(get(
            &format!("runs after {shown}"),
            &format!("/v1/runs?cursor={cursor}"),
        ));
    }
    for limit in ["0", "-1", "201", "1e9", "1;2"] {
        attacks.push(get(
            &format!("a page of {limit}"),
            &format!("/v1/documents?limit={limit}"),
        ));
    }
    for cursor in [
        json!("default.0"),
        json!({"$gt": ""}),
        json!(-5),
        json!("OTk5OTk5"),
    ] {
        let tried = format!("search after {cursor}");
        attacks.push(post(
            &tried,
            "/v1/search",
            search(json!({ "cursor": cursor })),
        ));
    }
    attacks
}

fn tool_calls(vault: &Vault) -> Vec<Attack> {
    let id = &vault.document;
    let tool = |tried: &str, name: &str, arguments: Value, meta: Value| {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": name, "arguments": arguments, "_meta": meta}});
        Attack {
            headers: vec![(
                "accept".into(),
                "application/json, text/event-stream".into(),
            )],
            ..post(tried, "/mcp", call)
        }
    };
    let bob = json!({"outcropUser": "bob", "outcropGroups": "admins", "user": "bob"});
    let read = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/read",
        "params": {"uri": format!("outcrop://documents/{id}")}});
    vec![
        tool(
            "a tool's search",
            "search_knowledge",
            json!({"query": QUESTION}),
            json!({}),
        ),
        tool(
            "a tool's search, Bob in _meta",
            "search_knowledge",
            json!({"query": QUESTION}),
            bob.clone(),
        ),
        tool(
            "a tool's search, Bob in the arguments",
            "search_knowledge",
            json!({"query": QUESTION, "outcropUser": "bob"}),
            json!({}),
        ),
        tool(
            "a tool's search, principals in the arguments",
            "search_knowledge",
            json!({"query": QUESTION, "principals": ["user:bob"]}),
            json!({}),
        ),
        tool(
            "a tool's answer",
            "ask_knowledge",
            json!({"question": QUESTION}),
            bob.clone(),
        ),
        tool(
            "a tool reads Bob's document",
            "get_document",
            json!({"document_id": id}),
            bob.clone(),
        ),
        tool(
            "a tool flags Bob's document",
            "flag_document",
            json!({"document_id": id, "reason": "outdated", "detail": "a"}),
            bob.clone(),
        ),
        tool(
            "a tool writes a note to Bob's document",
            "add_note",
            json!({"about": id, "text": "a"}),
            bob,
        ),
        Attack {
            headers: vec![(
                "accept".into(),
                "application/json, text/event-stream".into(),
            )],
            ..post("a client reads Bob's document as a resource", "/mcp", read)
        },
    ]
}

#[tokio::test]
async fn nothing_of_bobs_comes_back() {
    let vault = Vault::build().await;
    let mut table = String::new();
    let attacks = [
        ("Forged callers", forged_callers()),
        ("Callers claimed in requests", claimed_in_requests()),
        ("Swapped ids", swapped_ids(&vault)),
        ("Tampered cursors", tampered_cursors(&vault)),
        ("Tool calls", tool_calls(&vault)),
    ];
    for (kind, attacks) in &attacks {
        table.push_str(&format!("\n## {kind}\n"));
        for attack in attacks {
            let (status, text) = vault.sent(attack).await;
            for secret in SECRETS {
                assert!(!text.contains(secret), "{}: {text}", attack.tried);
            }
            let body = text.split_once('\n').unwrap().1;
            let data = body.lines().find_map(|line| line.strip_prefix("data: {"));
            let body = data.map_or(body.to_owned(), |data| format!("{{{data}"));
            let body = serde_json::from_str(&body).unwrap_or_default();
            let tried = attack
                .tried
                .replace(&vault.document, "(Bob's document)")
                .replace(&vault.run, "(Bob's run)")
                .replace(&vault.answer, "(Bob's answer)");
            table.push_str(&format!("{tried} -> {}\n", outcome(status.into(), &body)));
        }
    }
    table.push_str("\n## Authorizers\n");
    table.push_str(&authorizers(&vault).await);
    insta::assert_snapshot!(table);

    // Bob himself finds it still, so that the table is not one of an empty vault.
    let (status, found) = search_as(&vault, claims(json!({"sub": "bob"}))).await;
    assert_eq!(status, 200);
    assert!(found.to_string().contains("marzipan"), "{found}");
}

/// What an authorizer may say that names Bob only nearly.
async fn authorizers(vault: &Vault) -> String {
    let contexts = [
        json!({}),
        json!({"authorizer": null}),
        claims(json!({})),
        claims(json!({"sub": ""})),
        claims(json!({"sub": "Bob"})),
        claims(json!({"sub": "bob "})),
        claims(json!({"sub": "user:bob"})),
        claims(json!({"sub": ["bob"]})),
        claims(json!({"sub": 7, "username": "bob", "email": "bob"})),
        claims(json!({"sub": "eve", "cognito:groups": "user:bob"})),
        claims(json!({"sub": "eve", "cognito:groups": "[x, user:bob]"})),
        json!({"authorizer": {"principalId": "bob"}}),
        json!({"identity": {"userArn": "bob", "user": "bob"}, "authorizer": {"claims": {"sub": "eve"}}}),
    ];
    let mut table = String::new();
    for context in contexts {
        let (status, found) = search_as(vault, context.clone()).await;
        for secret in SECRETS {
            assert!(!found.to_string().contains(secret), "{context}: {found}");
        }
        table.push_str(&format!("{context} -> {}\n", outcome(status, &found)));
    }
    table
}

async fn search_as(vault: &Vault, context: Value) -> (u64, Value) {
    let body = search(json!({})).to_string();
    let call = Call {
        function: "outcrop-query",
        method: "POST",
        resource: "/v1/search",
        parameters: Value::Null,
        body: &body,
        context,
    };
    call.send(&vault.host).await
}

/// Two requests in one, for a front that counts by one header and a back that counts by the other.
#[tokio::test]
async fn a_request_inside_a_request_is_nobody_elses() {
    let vault = Vault::build().await;
    let address = vault.instance.api.trim_start_matches("http://").to_owned();
    let inner = format!(
        "GET /v1/documents/{} HTTP/1.1\r\nhost: {address}\r\nx-user: bob\r\nconnection: close\r\n\r\n",
        vault.document
    );
    let chunked = format!("0\r\n\r\n{inner}");
    let requests = [
        // Content-Length and Transfer-Encoding.
        format!(
            "POST /v1/search HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             transfer-encoding: chunked\r\n\r\n{chunked}",
            chunked.len()
        ),
        // Two lengths.
        format!(
            "POST /v1/search HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: 0\r\n\
             content-length: {}\r\n\r\n{inner}",
            inner.len()
        ),
        // A transfer encoding that only one side knows.
        format!(
            "POST /v1/search HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
             transfer-encoding: xchunked\r\ncontent-length: {}\r\n\r\n{inner}",
            inner.len()
        ),
        // A header's name with a space before its colon.
        format!("POST /v1/search HTTP/1.1\r\nhost: {address}\r\ncontent-length : 0\r\n\r\n{inner}"),
    ];
    for request in requests {
        let mut connection = tokio::net::TcpStream::connect(&address).await.unwrap();
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut reply = Vec::new();
        let reading = connection.read_to_end(&mut reply);
        // A side that waits for more has given nothing away either.
        let _ = tokio::time::timeout(Duration::from_secs(3), reading).await;
        let reply = String::from_utf8_lossy(&reply);
        assert!(
            !reply.contains("HTTP/1.1 200") && SECRETS.iter().all(|secret| !reply.contains(secret)),
            "{request}\n{reply}"
        );
    }
}
