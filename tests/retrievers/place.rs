//! A space on a running instance, and the retriever that its setting chooses, in this process over the real wire.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use aws::bedrock::EmbedPurpose;
use aws::dynamo::VectorItem;
use aws::dynamo::keys::VectorName;
use aws::{Aws, config};
use knowledge::names;
use knowledge::retriever::{Chosen, choose};
use knowledge::snapshot::Snapshots;
use reqwest::Method;
use retrieval::Hit;
use serde_json::{Value, json};

use crate::instance::Instance;

#[derive(Clone)]
pub struct Place {
    pub instance: Arc<Instance>,
    pub aws: Aws,
    pub space: String,
    pub snapshots: Arc<Snapshots>,
}

impl Place {
    pub async fn start(space: &str) -> Self {
        let instance = Instance::start().await;
        let aws = Aws::new(settings(&instance, None));
        let snapshots = Snapshots::new(&aws.settings.index).unwrap();
        Self {
            instance: Arc::new(instance),
            aws,
            space: space.to_owned(),
            snapshots: Arc::new(snapshots),
        }
    }

    /// Sets the retriever over HTTP, and waits for the run that fills it.
    pub async fn set(&self, retriever: &str) -> Value {
        let path = format!("/v1/spaces/{}", self.space);
        let request = self.instance.request(Method::PUT, &path);
        let reply = self
            .instance
            .send(request.json(&json!({"retriever": retriever})))
            .await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        if let Some(run_id) = reply.body["run_id"].as_str() {
            self.instance.finished(run_id).await;
        }
        reply.body
    }

    pub async fn chosen(&self) -> Chosen {
        choose(&self.aws, &self.snapshots, &self.space)
            .await
            .unwrap()
    }

    /// Puts a document into the source, with its sidecar in Bedrock's own form.
    pub async fn store(&self, name: &str, text: &str, readers: &[&str], metadata: Value) {
        let key = names::source_key(&self.space, name);
        let mut attributes = metadata;
        if !readers.is_empty() {
            attributes[names::READERS_KEY] = json!(readers);
        }
        let sidecar = json!({"metadataAttributes": attributes}).to_string();
        self.aws
            .bucket
            .put(&names::sidecar_key(&key), sidecar)
            .await
            .unwrap();
        self.aws.bucket.put(&key, text.to_owned()).await.unwrap();
    }

    pub async fn remove(&self, name: &str) {
        let key = names::source_key(&self.space, name);
        self.aws.bucket.delete(&key).await.unwrap();
        self.aws
            .bucket
            .delete(&names::sidecar_key(&key))
            .await
            .unwrap();
    }

    /// Brings the space up to its source.
    pub async fn sync(&self) {
        let reply = self
            .instance
            .post("/v1/runs", &json!({"space": self.space}))
            .await;
        assert_eq!(reply.status, 202, "{}", reply.body);
        let run = self
            .instance
            .finished(reply.body["run_id"].as_str().unwrap())
            .await;
        assert_eq!(run["status"], "SUCCEEDED", "{run}");
    }

    pub async fn vector(&self, text: &str) -> Vec<f32> {
        let texts = [text.to_owned()];
        let embedded = self
            .aws
            .bedrock
            .embed(&texts, EmbedPurpose::Query)
            .await
            .unwrap();
        embedded.vectors[0].clone()
    }

    /// A hit's text is what stands at its bytes in the stored text of its document.
    pub async fn check_place(&self, hit: &Hit) {
        let key = names::text_key(&hit.document_id, &hit.content_hash);
        let text = self.aws.bucket.get(&key).await.unwrap();
        let bytes = &text[hit.start as usize..hit.end as usize];
        assert_eq!(bytes, hit.text.as_bytes(), "{}", hit.passage_id);
    }

    /// What a publication that broke off leaves: vectors of a version that the manifest does not name, for readers who
    /// may not read the document as it lives.
    pub async fn leave_half_a_publication(&self, name: &str) {
        let vector = self.vector("Which lighthouse burns oil?").await;
        let items = [name, "never-published.txt"].map(|name| VectorItem {
            name: VectorName {
                document_id: names::document_id(&self.space, name),
                version: "feedfeedfeedfeed".to_owned(),
                ordinal: 0,
                reader: 0,
            },
            reader: "user:mallory".to_owned(),
            vector: vector.clone(),
            filters: Default::default(),
        });
        self.aws.table.put_vectors(items.into_iter()).await.unwrap();
    }

    /// Writes a vector of a document as publication does.
    pub async fn put_vector(&self, name: &str, vector: Vec<f32>) -> Result<(), aws::AwsError> {
        let item = VectorItem {
            name: VectorName {
                document_id: names::document_id(&self.space, name),
                version: "feedfeedfeedfeed".to_owned(),
                ordinal: 0,
                reader: 0,
            },
            reader: "everyone".to_owned(),
            vector,
            filters: Default::default(),
        };
        self.aws.table.put_vectors(std::iter::once(item)).await
    }

    /// Vectors of a document in the table, of whatever version.
    pub async fn vectors_of(&self, name: &str) -> usize {
        let id = names::document_id(&self.space, name);
        self.aws.table.count_vectors(&id).await.unwrap()
    }
}

/// The settings of a function of the laptop; DynamoDB may be another's.
pub fn settings(instance: &Instance, dynamodb: Option<&str>) -> config::Settings {
    settings_at(&instance.aws, &instance.temporary_folder(), dynamodb)
}

/// The same behind another address of its services.
pub fn settings_at(endpoint: &str, folder: &Path, dynamodb: Option<&str>) -> config::Settings {
    let variables = BTreeMap::from([
        ("OUTCROP_TABLE", "outcrop-table"),
        ("OUTCROP_BUCKET", "outcrop-bucket"),
        (
            "OUTCROP_STATE_MACHINE_ARN",
            "arn:aws:states:us-east-1:000000000000:stateMachine:outcrop-ingest",
        ),
        (
            "OUTCROP_ANSWER_MODEL",
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ),
        ("OUTCROP_EMBED_MODEL", "amazon.titan-embed-text-v2:0"),
        ("OUTCROP_EMBED_DIMENSIONS", "256"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "outcrop"),
        ("AWS_SECRET_ACCESS_KEY", "outcrop"),
        ("AWS_ENDPOINT_URL", endpoint),
        ("TMPDIR", folder.to_str().unwrap()),
    ]);
    let lookup = |name: &str| match (name, dynamodb) {
        ("AWS_ENDPOINT_URL_DYNAMODB", Some(address)) => Some(address.to_owned()),
        _ => variables.get(name).map(|value| (*value).to_owned()),
    };
    config::Settings::from_lookup(lookup).unwrap()
}
