//! A small world of secrets: documents, orders, tickets and runs in four spaces, each with a word of its own that nobody
//! may be shown who may not read it; and people who ask for them.
//!
//! Who may read what is decided here a second time, from the plain lists below, and never by the code that is tested.

use reqwest::Method;
use serde_json::{Value, json};

use crate::agent_calls::{Form, Who, invoke};
use crate::instance::Instance;
use crate::lambda_binaries::host_with;
use crate::retrievers::Place;
use local::lambda::Host;

/// The spaces, who finds their passages, and who may enter them.
pub const SPACES: [(&str, &str, &[&str]); 4] = [
    ("default", "embedded", &["everyone"]),
    ("tables", "dynamodb:team", &["everyone"]),
    ("bases", "bedrock:basesXXXXX", &["everyone"]),
    ("vault", "embedded", &["group:crew", "user:bob"]),
];

const READERS: [&[&str]; 8] = [
    &[],
    &["everyone"],
    &["user:ada"],
    &["user:bob"],
    &["group:crew"],
    &["group:ops"],
    &["group:ops", "user:ada"],
    &["group:crew", "user:bob"],
];

/// Someone who asks. Some have names that look like principals of others.
#[derive(Debug)]
pub struct Person {
    pub user: Option<&'static str>,
    pub groups: &'static [&'static str],
}

pub const PEOPLE: [Person; 8] = [
    Person {
        user: Some("ada"),
        groups: &["crew"],
    },
    Person {
        user: Some("bob"),
        groups: &["ops"],
    },
    Person {
        user: Some("eve"),
        groups: &[],
    },
    Person {
        user: None,
        groups: &[],
    },
    Person {
        user: Some("ADA"),
        groups: &["Crew", "ops2", "op"],
    },
    Person {
        user: Some("user:ada"),
        groups: &["user:bob", "group:crew", "everyone"],
    },
    Person {
        user: Some("group:crew"),
        groups: &["ada", "bob"],
    },
    Person {
        user: Some("everyone"),
        groups: &["account", "local", "admin"],
    },
];

impl Person {
    fn is_one_of(&self, names: &[String]) -> bool {
        let is = |name: &String| {
            let user = name.strip_prefix("user:").map(|id| Some(id) == self.user);
            let group = name
                .strip_prefix("group:")
                .map(|id| self.groups.contains(&id));
            name == "everyone" || user.unwrap_or(false) || group.unwrap_or(false)
        };
        names.iter().any(is)
    }

    /// Whether this person may be shown the secret's word.
    pub fn may_see(&self, secret: &Secret) -> bool {
        let (_, _, members) = SPACES[secret.space];
        let members: Vec<String> = members.iter().map(|name| (*name).to_owned()).collect();
        self.is_one_of(&members) && self.is_one_of(&secret.readers)
    }
}

/// Something with a word of its own.
#[derive(Debug, Clone)]
pub struct Secret {
    /// Its number among [`SPACES`].
    pub space: usize,
    /// The document's id, the order's number or the ticket's id.
    pub id: String,
    /// The document's name; empty for what is none.
    pub name: String,
    pub readers: Vec<String>,
    /// A word that stands in it and may be asked for.
    pub probe: String,
    /// The word that no request holds.
    pub canary: String,
}

pub struct World {
    pub place: Place,
    pub host: Host,
    pub secrets: Vec<Secret>,
    pub orders: Vec<Secret>,
    pub tickets: Vec<Secret>,
    /// Runs of the owner and of bob.
    pub runs: Vec<String>,
    /// Answers of ada and bob.
    pub answers: Vec<String>,
    /// Conversations of ada and bob, each about a secret of its owner.
    pub conversations: Vec<String>,
}

/// The canary of the thing with this number. Letters only, so that no encoding of text changes it.
fn canary(number: usize) -> String {
    let letters = (0..10).scan(number * 7_919 + 104_729, |rest, _| {
        let letter = (b'a' + (*rest % 26) as u8) as char;
        *rest = *rest / 26 + *rest * 31 % 1_000_003;
        Some(letter)
    });
    format!("canary{}", letters.collect::<String>())
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

impl World {
    pub async fn make() -> Self {
        let place = Place::start("default").await;
        let host = host_with(&place.instance, &[], 2);
        let mut world = Self {
            place,
            host,
            secrets: Vec::new(),
            orders: Vec::new(),
            tickets: Vec::new(),
            runs: Vec::new(),
            answers: Vec::new(),
            conversations: Vec::new(),
        };
        for space in 0..SPACES.len() {
            world.fill(space).await;
        }
        world.add_orders().await;
        world.add_tickets().await;
        world.add_bobs_failure().await;
        world.add_answers().await;
        let mut words: Vec<&String> = world.all().map(|secret| &secret.canary).collect();
        let count = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), count, "each has a word of its own");
        world
    }

    pub fn instance(&self) -> &Instance {
        &self.place.instance
    }

    pub fn all(&self) -> impl Iterator<Item = &Secret> {
        self.secrets.iter().chain(&self.orders).chain(&self.tickets)
    }

    fn next(&self) -> usize {
        self.all().count()
    }

    async fn set(&self, space: &str, change: &Value) {
        let path = format!("/v1/spaces/{space}");
        let request = self.instance().request(Method::PUT, &path).json(change);
        let reply = self.instance().send(request).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        if let Some(run_id) = reply.body["run_id"].as_str() {
            self.instance().finished(run_id).await;
        }
    }

    /// Documents of every set of readers, of some passages each.
    async fn fill(&mut self, space: usize) {
        let (name, retriever, members) = SPACES[space];
        let roles = json!({"reader": members, "editor": ["user:bob"]});
        // A knowledge base of the laptop reads what is published; the others are set before.
        let early = json!({"retriever": retriever, "roles": roles});
        self.set(name, &early).await;
        self.place.space = name.to_owned();
        for readers in READERS {
            let number = self.next();
            let (canary, probe) = (canary(number), format!("probe{}", words(number)));
            let file = format!("lamps/{probe}-{canary}.md");
            let filler = "The keeper writes the weather down each night. ".repeat(60);
            let text = format!(
                "# Lamp {canary}\n\nThe lighthouse {probe} burns oil. Its keeper is {canary}.\n\n{filler}\n\n\
                 ## Stores of {canary}\n\nThe lighthouse {probe} keeps oil in the shed of {canary}.\n"
            );
            let team = ["blue", "red"][number % 2];
            let metadata = json!({"team": team, "year": 2020 + number % 5, "code": canary, "tags": [canary, "lamp"]});
            self.place.store(&file, &text, readers, metadata).await;
            self.secrets.push(Secret {
                space,
                id: knowledge::names::document_id(name, &file),
                name: file,
                readers: owned(readers),
                probe,
                canary,
            });
        }
        self.place.sync().await;
        let runs = self
            .instance()
            .get(&format!("/v1/runs?space={name}"))
            .await
            .body;
        let run_id = runs["runs"][0]["run_id"].as_str().unwrap();
        self.runs.push(run_id.to_owned());
    }

    async fn add_orders(&mut self) {
        for (customer, readers) in [("ada", &[][..]), ("bob", &["group:ops"]), ("zoe", &[])] {
            let number = self.next();
            let (canary, probe) = (canary(number), format!("A-{number}"));
            let order = json!({
                "number": probe, "status": "shipped", "customer": customer, "readers": readers,
                "items": [{"name": canary}], "carrier": canary,
            });
            let body = json!({"orders": [order]});
            let reply = self.instance().post("/v1/orders", &body).await;
            assert_eq!(reply.status, 200, "{}", reply.body);
            let mut readers = owned(readers);
            readers.push(format!("user:{customer}"));
            self.orders.push(secret(probe, readers, canary));
        }
    }

    async fn add_tickets(&mut self) {
        for user in ["ada", "bob", "zoe"] {
            let canary = canary(self.next());
            let arguments = json!({"subject": canary, "description": canary, "tags": [canary]});
            let who = Who {
                user: Some(user),
                session: "tickets",
            };
            let (event, _) = Form::Converse.event("create_support_ticket", &arguments, who);
            let reply = invoke(&self.host, &event, None).await.unwrap();
            let made = &reply["toolResult"]["content"][0]["json"];
            let id = made["ticket_id"]
                .as_str()
                .unwrap_or_else(|| panic!("{reply}"));
            let readers = vec![format!("user:{user}")];
            self.tickets.push(secret(id.to_owned(), readers, canary));
        }
    }

    /// Answers that stand on what only their asker may read.
    async fn add_answers(&mut self) {
        for (user, groups) in [("ada", ["crew"]), ("bob", ["ops"])] {
            let own = format!("user:{user}");
            let secret = self
                .secrets
                .iter()
                .find(|secret| secret.readers == [own.clone()]);
            let question = format!("What does the lighthouse {} burn?", secret.unwrap().probe);
            let token = self.instance().token(user, &groups);
            let request = self.instance().request(Method::POST, "/v1/ask");
            let request = request.json(&json!({"question": question, "conversation_id": "new"}));
            let reply = self.instance().send(request.bearer_auth(token)).await;
            assert_eq!(reply.body["answered"], true, "{}", reply.body);
            let id = reply.body["answer_id"].as_str().unwrap();
            self.answers.push(id.to_owned());
            let id = reply.body["conversation_id"].as_str().unwrap();
            self.conversations.push(id.to_owned());
        }
    }

    /// A document of bob's that is refused, and the run that says so.
    async fn add_bobs_failure(&mut self) {
        let canary = canary(self.next());
        let name = format!("refused-{canary}.txt");
        let body = json!({"name": name, "content": "%!PS-Adobe-3.0 and so on", "metadata": {"code": canary}});
        let token = self.instance().token("bob", &["ops"]);
        let request = self.instance().request(Method::POST, "/v1/documents");
        let reply = self
            .instance()
            .send(request.bearer_auth(token).json(&body))
            .await;
        assert_eq!(reply.status, 202, "{}", reply.body);
        let run_id = reply.body["run_id"].as_str().unwrap().to_owned();
        let run = self.instance().finished(&run_id).await;
        assert_eq!(run["status"], "FAILED", "{run}");
        self.runs.push(run_id);
        let id = reply.body["document_id"].as_str().unwrap().to_owned();
        self.secrets.push(Secret {
            name,
            ..secret(id, vec!["user:bob".to_owned()], canary)
        });
    }
}

fn secret(id: String, readers: Vec<String>, canary: String) -> Secret {
    Secret {
        space: 0,
        probe: id.clone(),
        id,
        name: String::new(),
        readers,
        canary,
    }
}

/// The number in letters.
fn words(number: usize) -> String {
    number
        .to_string()
        .bytes()
        .map(|digit| (digit - b'0' + b'g') as char)
        .collect()
}
