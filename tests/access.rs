//! Who may do what, at the door: roles of a space, readers of documents, and that what is denied looks like what is
//! missing.

use reqwest::Method;
use serde_json::{Value, json};

use crate::instance::{Instance, Reply};

/// A caller with a token, or the laptop's owner.
pub struct Caller<'a> {
    instance: &'a Instance,
    token: Option<String>,
}

impl<'a> Caller<'a> {
    pub fn owner(instance: &'a Instance) -> Self {
        Self {
            instance,
            token: None,
        }
    }

    pub fn user(instance: &'a Instance, user: &str, groups: &[&str]) -> Self {
        Self {
            instance,
            token: Some(instance.token(user, groups)),
        }
    }

    pub async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        let method: Method = method.parse().unwrap();
        let mut request = self.instance.request(method, path);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        self.instance.send(request).await
    }

    async fn post(&self, path: &str, body: Value) -> Reply {
        self.send("POST", path, Some(&body)).await
    }

    pub async fn set_roles(&self, space: &str, roles: Value) {
        let path = format!("/v1/spaces/{space}");
        let reply = self
            .send("PUT", &path, Some(&json!({ "roles": roles })))
            .await;
        assert_eq!(reply.status, 200, "{}", reply.body);
    }

    /// Stores a document and waits for the end of its run; answers its id and the run.
    async fn store(&self, document: Value) -> (String, Value) {
        let reply = self.post("/v1/documents", document).await;
        assert_eq!(reply.status, 202, "{}", reply.body);
        // The owner sees every run.
        let run = self
            .instance
            .finished(reply.body["run_id"].as_str().unwrap())
            .await;
        (reply.body["document_id"].as_str().unwrap().to_owned(), run)
    }

    /// The texts of the passages that a search for words finds.
    async fn found(&self, query: &str) -> Vec<String> {
        let body = json!({"query": query, "mode": "lexical"});
        let reply = self.post("/v1/search", body).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        let results = reply.body["results"].as_array().unwrap();
        results
            .iter()
            .map(|hit| hit["text"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn document(name: &str, text: &str, readers: &[&str]) -> Value {
    json!({"name": name, "content": text, "readers": readers})
}

/// The space `legal`, with readers, editors and an admin of its own.
async fn legal(owner: &Caller<'_>) {
    let roles =
        json!({"reader": ["group:legal"], "editor": ["group:writers"], "admin": ["user:chief"]});
    owner.set_roles("legal", roles.clone()).await;
    let space = owner.send("GET", "/v1/spaces/legal", None).await.body;
    assert_eq!((&space["roles"], &space["role"]), (&roles, &json!("admin")));
}

#[tokio::test]
async fn roles_decide_what_a_caller_may_do() {
    let instance = Instance::start().await;
    let owner = Caller::owner(&instance);
    legal(&owner).await;
    let mut open = document("open.txt", "Open files are about heather.", &["everyone"]);
    open["space"] = json!("legal");
    let (id, run) = owner.store(open.clone()).await;
    let callers = [
        Caller::user(&instance, "olaf", &["sales"]),
        Caller::user(&instance, "lena", &["legal"]),
        Caller::user(&instance, "wendy", &["writers"]),
        Caller::user(&instance, "chief", &[]),
    ];
    let at = format!("/v1/documents/{id}");
    let text = format!("{at}/text");
    let run = format!("/v1/runs/{}", run["run_id"].as_str().unwrap());
    let (space, null) = (json!({"space": "legal"}), Value::Null);
    let with = |fields: Value| {
        let mut body = space.clone();
        let fields = fields.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(fields);
        body
    };
    let orders = json!({"orders": [{"number": "A-1", "status": "open"}]});
    let settings = json!({"retriever": null});
    let site = json!({"source": {"kind": "website", "start": ["https://example.com/"]}, "readers": ["everyone"]});
    // What an outsider, a reader, an editor and an admin are told; "" where it is done, "-" where they are let in.
    const SPACE: &str = "UnknownSpace";
    const DOCUMENT: &str = "DocumentNotFound";
    const RUN: &str = "RunNotFound";
    const ROLE: &str = "RoleRequired";
    let read = [SPACE, "", "", ""];
    let edit = [SPACE, ROLE, "", ""];
    let admin = [SPACE, ROLE, ROLE, ""];
    let none = [DOCUMENT, ROLE, DOCUMENT, DOCUMENT];
    let rows: [(&str, &str, Value, [&str; 4]); 24] = [
        (
            "POST",
            "/v1/search",
            with(json!({"query": "heather"})),
            read,
        ),
        (
            "POST",
            "/v1/ask",
            with(json!({"question": "What is open?"})),
            read,
        ),
        ("GET", "/v1/health?space=legal", null.clone(), read),
        ("GET", "/v1/documents?space=legal", null.clone(), read),
        ("GET", &at, null.clone(), [DOCUMENT, "", "", ""]),
        ("GET", &text, null.clone(), [DOCUMENT, "", "", ""]),
        ("GET", "/v1/spaces/legal", null.clone(), read),
        ("GET", "/v1/runs?space=legal", null.clone(), read),
        ("GET", &run, null.clone(), [RUN, RUN, RUN, ""]),
        ("POST", "/v1/documents", open, edit),
        (
            "POST",
            "/v1/uploads",
            with(json!({"name": "b", "bytes": 3})),
            edit,
        ),
        ("POST", "/v1/runs", space.clone(), edit),
        ("POST", "/v1/runs", with(json!({"documents": [id]})), edit),
        ("POST", "/v1/runs", with(json!({"re_embed": true})), admin),
        ("POST", "/v1/orders", with(orders), admin),
        ("PUT", "/v1/spaces/legal", settings.clone(), admin),
        (
            "POST",
            "/mcp?space=legal",
            json!({}),
            [SPACE, "-", "-", "-"],
        ),
        ("GET", "/v1/usage?space=legal", null.clone(), admin),
        ("GET", "/v1/spaces/legal/sources", null.clone(), admin),
        ("PUT", "/v1/spaces/legal/sources/site", site, admin),
        (
            "DELETE",
            "/v1/spaces/legal/sources/site",
            null.clone(),
            admin,
        ),
        ("PUT", "/v1/spaces/brand-new", settings, [SPACE; 4]),
        ("DELETE", "/v1/documents/legal.0", null.clone(), none),
        ("DELETE", &at, null, [DOCUMENT, ROLE, "", "-"]),
    ];
    for (method, path, body, expected) in rows {
        let body = (!body.is_null()).then_some(&body);
        for (caller, expected) in callers.iter().zip(expected) {
            let reply = caller.send(method, path, body).await;
            let name = reply.body["name"].as_str().unwrap_or_default();
            let told = format!("{method} {path} {}", reply.body);
            // Of a space, one run over the whole source is under way at a time.
            if let (Some(run_id), "/v1/runs") = (reply.body["run_id"].as_str(), path) {
                instance.finished(run_id).await;
            }
            match expected {
                "-" => assert!(name != SPACE && name != ROLE, "{told}"),
                "" => assert!(reply.status.is_success(), "{told}"),
                expected => assert_eq!(name, expected, "{told}"),
            }
            if name == ROLE {
                assert_eq!(reply.status, 403, "{told}");
                let detail = reply.body["detail"].as_str().unwrap();
                assert!(detail.contains("takes the role") && !detail.contains("open"));
            }
        }
    }
    let seen = callers[1].send("GET", "/v1/spaces/legal", None).await.body;
    assert_eq!(
        (&seen["role"], &seen["roles"]),
        (&json!("reader"), &Value::Null)
    );
    let typo = json!({"roles": {"editor": ["writers"]}});
    let refused = callers[3]
        .send("PUT", "/v1/spaces/legal", Some(&typo))
        .await;
    assert_eq!(refused.body["name"], "InvalidPrincipal", "{}", refused.body);
}

/// Requests about two things look the same but for the thing's own name.
async fn same(
    caller: &Caller<'_>,
    things: [&str; 2],
    request: impl Fn(&str) -> (&'static str, String, Value),
) {
    let mut told = Vec::new();
    for thing in things {
        let (method, path, body) = request(thing);
        let body = (!body.is_null()).then_some(&body);
        let reply = caller.send(method, &path, body).await;
        assert!(
            reply.status.is_client_error(),
            "{method} {path} {}",
            reply.body
        );
        told.push(without(&reply, thing));
    }
    assert_eq!(told[0], told[1]);
}

/// A reply without what differs from one to the next: the thing that was asked for, the date, the length of both.
fn without(reply: &Reply, thing: &str) -> String {
    let mut headers: Vec<String> = reply
        .headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "date" | "content-length"))
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    headers.sort();
    let body = reply.body.to_string().replace(thing, "THING");
    format!("{} {headers:?} {body}", reply.status)
}

/// An id of the same space that nothing has.
fn missing(id: &str) -> String {
    let (space, rest) = id.split_once('.').unwrap();
    let turned: String = rest.chars().rev().collect();
    format!("{space}.{turned}")
}

#[tokio::test]
async fn what_is_denied_looks_like_what_is_missing() {
    let instance = Instance::start().await;
    let owner = Caller::owner(&instance);
    legal(&owner).await;
    owner
        .set_roles("default", json!({"editor": ["group:writers"]}))
        .await;
    let secret = document("secret.txt", "The secret is kept under the heather.", &[]);
    let (denied, _) = owner.store(secret.clone()).await;
    let mut closed = secret;
    closed["space"] = json!("legal");
    let (closed, run) = owner.store(closed).await;
    let run = run["run_id"].as_str().unwrap();
    let callers = [
        Caller::user(&instance, "olaf", &[]),
        Caller::user(&instance, "lena", &["legal"]),
        Caller::user(&instance, "wendy", &["writers"]),
    ];
    let null = || Value::Null;
    for caller in &callers {
        for there in [&denied, &closed] {
            let gone = missing(there);
            let both = [there.as_str(), gone.as_str()];
            same(caller, both, |id| {
                ("GET", format!("/v1/documents/{id}"), null())
            })
            .await;
            same(caller, both, |id| {
                ("GET", format!("/v1/documents/{id}/text"), null())
            })
            .await;
            same(caller, both, |id| {
                ("DELETE", format!("/v1/documents/{id}"), null())
            })
            .await;
            same(caller, both, |id| {
                let body = json!({"space": id.split('.').next(), "documents": [id]});
                ("POST", "/v1/runs".to_owned(), body)
            })
            .await;
        }
        let gone = missing(run);
        same(caller, [run, &gone], |id| {
            ("GET", format!("/v1/runs/{id}"), null())
        })
        .await;
        assert!(caller.found("secret heather").await.is_empty());
    }
}

#[tokio::test]
async fn a_space_without_a_role_for_the_caller_looks_like_none() {
    let instance = Instance::start().await;
    let owner = Caller::owner(&instance);
    legal(&owner).await;
    let outsider = Caller::user(&instance, "olaf", &[]);
    let both = ["legal", "never"];
    let null = || Value::Null;
    for path in ["/v1/documents", "/v1/runs", "/v1/health", "/v1/usage"] {
        same(&outsider, both, |space| {
            ("GET", format!("{path}?space={space}"), null())
        })
        .await;
    }
    let roles = json!({"roles": {"admin": ["user:olaf"]}});
    same(&outsider, both, |space| {
        ("GET", format!("/v1/spaces/{space}"), null())
    })
    .await;
    same(&outsider, both, |space| {
        ("PUT", format!("/v1/spaces/{space}"), roles.clone())
    })
    .await;
    same(&outsider, both, |space| {
        ("POST", format!("/mcp?space={space}"), json!({}))
    })
    .await;
    for (path, fields) in [
        ("/v1/search", json!({"query": "a"})),
        ("/v1/ask", json!({"question": "a"})),
        (
            "/v1/documents",
            json!({"name": "secret.txt", "content": "x"}),
        ),
        ("/v1/uploads", json!({"name": "secret.txt", "bytes": 1})),
        ("/v1/runs", json!({})),
        ("/v1/orders", json!({"orders": []})),
    ] {
        same(&outsider, both, |space| {
            let mut body = fields.clone();
            body["space"] = json!(space);
            ("POST", path.to_owned(), body)
        })
        .await;
    }
}

/// Anyone who could read a document could replace and delete it.
#[tokio::test]
async fn a_document_is_replaced_by_editors_who_may_read_it() {
    let instance = Instance::start().await;
    let owner = Caller::owner(&instance);
    owner
        .set_roles("default", json!({"editor": ["group:writers"]}))
        .await;
    let old = document(
        "notice.txt",
        "The old notice is about gorse.",
        &["everyone"],
    );
    let (id, _) = owner.store(old).await;
    let secret = document("secret.txt", "The secret is about gorse.", &[]);
    owner.store(secret).await;
    let reader = Caller::user(&instance, "lena", &[]);
    let editor = Caller::user(&instance, "wendy", &["writers"]);
    let check = async |caller: &Caller<'_>, path: &str, body: Value, name: &str| {
        let reply = caller.post(path, body).await;
        assert_eq!(reply.body["name"], name, "{}", reply.body);
    };
    let link = |name: &str| json!({"name": name, "bytes": 3});
    let forged = |name: &str, reader: &str| document(name, "A forgery.", &[reader]);
    let (documents, uploads) = ("/v1/documents", "/v1/uploads");
    check(
        &reader,
        documents,
        forged("notice.txt", "everyone"),
        "RoleRequired",
    )
    .await;
    check(&reader, uploads, link("notice.txt"), "RoleRequired").await;
    let refused = reader
        .send("DELETE", &format!("/v1/documents/{id}"), None)
        .await;
    assert_eq!(refused.body["name"], "RoleRequired", "{}", refused.body);
    check(
        &editor,
        documents,
        forged("secret.txt", "everyone"),
        "DocumentNameTaken",
    )
    .await;
    check(&editor, uploads, link("secret.txt"), "DocumentNameTaken").await;
    check(
        &editor,
        documents,
        forged("other.txt", "wendy"),
        "InvalidPrincipal",
    )
    .await;
    assert_eq!(
        reader.found("gorse").await,
        ["The old notice is about gorse."]
    );

    let new = document(
        "notice.txt",
        "The new notice is about broom.",
        &["everyone"],
    );
    let (again, run) = editor.store(new).await;
    assert_eq!((&again, &run["status"]), (&id, &json!("SUCCEEDED")));
    assert_eq!(
        reader.found("notice").await,
        ["The new notice is about broom."]
    );
    assert_eq!(owner.found("secret").await, ["The secret is about gorse."]);
}

/// The text of the old version was given to the readers of the new one, and readers that were taken away still found
/// passages, until the new version was published: for ever, where its run failed.
#[tokio::test]
async fn each_version_has_its_readers_and_what_is_taken_away_is_gone_at_once() {
    let instance = Instance::start().await;
    let owner = Caller::owner(&instance);
    let draft = document("widened.txt", "The draft names a thistle.", &[]);
    let (widened, _) = owner.store(draft).await;
    let list = document("narrowed.txt", "The list names a thistle.", &["user:ada"]);
    let (narrowed, _) = owner.store(list).await;
    let ada = Caller::user(&instance, "ada", &[]);
    assert_eq!(ada.found("thistle").await, ["The list names a thistle."]);

    let fault = json!({"operation": "InvokeModel", "error": "ValidationException", "times": 50});
    instance.fault(&fault).await;
    for (name, readers) in [("widened.txt", &["user:ada"][..]), ("narrowed.txt", &[])] {
        let (_, run) = owner
            .store(document(name, "Nothing is named.", readers))
            .await;
        assert_eq!(run["status"], "FAILED", "{run}");
    }

    assert!(ada.found("thistle").await.is_empty());
    let at = format!("/v1/documents/{widened}");
    let text = ada.send("GET", &format!("{at}/text"), None).await;
    assert_eq!(text.body["name"], "DocumentNotFound", "{}", text.body);
    let seen = ada.send("GET", &at, None).await;
    assert_eq!(seen.status, 200, "{}", seen.body);
    let live = (&seen.body["passages"], &seen.body["content_hash"]);
    assert_eq!(live, (&json!(0), &Value::Null));
    let gone = ada
        .send("GET", &format!("/v1/documents/{narrowed}"), None)
        .await;
    assert_eq!(gone.status, 404, "{}", gone.body);
    // The owner may read both versions of both.
    assert_eq!(owner.found("thistle").await.len(), 2);
}

#[tokio::test]
async fn a_run_tells_of_no_document_that_its_reader_may_not_read() {
    let instance = Instance::start().await;
    let owner = Caller::owner(&instance);
    let roles = json!({"editor": ["group:writers"], "admin": ["user:chief"]});
    owner.set_roles("default", roles).await;
    let bad = "%!PS-Adobe-3.0 and so on";
    owner.store(document("secret.txt", bad, &[])).await;
    owner.store(document("open.txt", bad, &["everyone"])).await;
    let editor = Caller::user(&instance, "wendy", &["writers"]);
    let started = editor.post("/v1/runs", json!({})).await.body;
    let run_id = started["run_id"].as_str().unwrap();
    instance.finished(run_id).await;
    let path = format!("/v1/runs/{run_id}");
    let check = async |caller: &Caller<'_>, names: &[&str], hidden: Value| {
        let run = caller.send("GET", &path, None).await.body;
        assert_eq!(run["counts"]["refused"], 2, "{run}");
        let failures = run["failures"].as_array().cloned().unwrap_or_default();
        let mut found: Vec<&str> = failures
            .iter()
            .map(|one| one["name"].as_str().unwrap())
            .collect();
        found.sort_unstable();
        assert_eq!(found, names, "{run}");
        assert_eq!(run["hidden_failures"], hidden, "{run}");
    };
    check(&editor, &["open.txt"], json!(1)).await;
    let chief = Caller::user(&instance, "chief", &[]);
    check(&chief, &["open.txt"], json!(1)).await;
    check(&owner, &["open.txt", "secret.txt"], Value::Null).await;
    // The same of a listing of what was refused: its reasons are for readers.
    let refused = "/v1/documents?status=refused";
    let listed = editor.send("GET", refused, None).await.body;
    assert_eq!(listed["documents"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(
        listed["documents"][0]["error"], "ContentMismatch",
        "{listed}"
    );
    let whole = owner.send("GET", refused, None).await.body;
    assert_eq!(whole["documents"].as_array().unwrap().len(), 2, "{whole}");
    let published = owner
        .send("GET", "/v1/documents?status=published", None)
        .await
        .body;
    assert_eq!(published["documents"], json!([]));
    let unknown = owner
        .send("GET", "/v1/documents?status=deleted", None)
        .await
        .body;
    assert_eq!(unknown["name"], "InvalidRequest", "{unknown}");
    let other = Caller::user(&instance, "walt", &["writers"]);
    assert_eq!(other.send("GET", &path, None).await.status, 404);
    let listed = other.send("GET", "/v1/runs", None).await.body;
    assert_eq!(listed["runs"], json!([]));
}

/// Between the link and the run that takes its bytes over, the name may become another's.
#[tokio::test]
async fn an_upload_does_not_replace_what_became_anothers() {
    let instance = Instance::start().await;
    let owner = Caller::owner(&instance);
    owner
        .set_roles("default", json!({"editor": ["group:writers"]}))
        .await;
    let editor = Caller::user(&instance, "wendy", &["writers"]);
    let forged = "A forged text about juniper.";
    let form = json!({"name": "plan.txt", "bytes": forged.len(), "readers": ["everyone"]});
    let announced = editor.post("/v1/uploads", form).await.body;
    let link = announced["upload_url"].as_str().unwrap();
    let put = reqwest::Client::new().put(link).body(forged).send().await;
    assert!(put.unwrap().status().is_success());
    // The owner's run over the document meets the upload.
    let plan = document("plan.txt", "The plan is about juniper.", &[]);
    let (id, run) = owner.store(plan).await;
    assert_eq!(run["status"], "SUCCEEDED", "{run}");
    let started = owner.post("/v1/runs", json!({})).await.body;
    let run = instance.finished(started["run_id"].as_str().unwrap()).await;
    assert_eq!(run["counts"]["unchanged"], 1, "{run}");
    assert_eq!(owner.found("juniper").await, ["The plan is about juniper."]);
    assert!(editor.found("juniper").await.is_empty());
    let at = format!("/v1/documents/{id}");
    assert_eq!(editor.send("GET", &at, None).await.status, 404);
}

#[tokio::test]
async fn only_a_good_token_makes_somebody_else() {
    let instance = Instance::start().await;
    let owner = Caller::owner(&instance);
    owner
        .store(document("secret.txt", "The secret is about bracken.", &[]))
        .await;
    let query = json!({"query": "bracken", "mode": "lexical"});
    let search = |headers: &[(&str, &str)]| {
        let mut request = instance.request(Method::POST, "/v1/search").json(&query);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        instance.send(request)
    };
    let ada = instance.token("ada", &[]);
    let unsigned = "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJsb2NhbCJ9.";
    for bad in [
        "Bearer ",
        "Bearer local",
        "Basic bG9jYWw6",
        "local",
        unsigned,
        &ada,
    ] {
        let reply = search(&[("authorization", bad)]).await;
        let told = (reply.status.as_u16(), reply.body["name"].as_str());
        assert_eq!(told, (401, Some("InvalidToken")), "{bad}");
        assert!(reply.headers.contains_key("www-authenticate"));
    }
    let bearer = format!("Bearer {ada}");
    for smuggled in [
        ("x-amzn-oidc-identity", "local"),
        (
            "x-amzn-request-context",
            r#"{"authorizer": {"claims": {"sub": "local"}}}"#,
        ),
        ("x-outcrop-user", "local"),
        ("x-forwarded-user", "local"),
        ("x-remote-user", "local"),
        ("cookie", "sub=local"),
        ("authorization", "AWS4-HMAC-SHA256 Credential=outcrop/x"),
    ] {
        let reply = search(&[("authorization", &bearer), smuggled]).await;
        let results = reply.body["results"].as_array().map_or(0, Vec::len);
        assert_eq!(results, 0, "{smuggled:?}: {}", reply.body);
    }
    let own = search(&[]).await;
    assert_eq!(own.body["results"].as_array().unwrap().len(), 1);
}
