//! The index files of a space: snapshots that functions keep, and compaction. The steps of ingestion run in the test's own
//! process against the instance's AWS port, so that a test decides what happens between two of them.

mod compaction;
mod kept;
mod parts;
mod snapshots;
pub mod unreliable;

use std::collections::{BTreeMap, BTreeSet};

use aws::config::Settings;
use aws::dynamo::keys;
use aws::{Aws, chance, clock};
use knowledge::manifest::{self, Manifest};
use knowledge::snapshot::{Snapshot, Snapshots};
use knowledge::sync::rows::{PlannedDocument, RunRow};
use knowledge::sync::{Step, StepError, run_step};
use knowledge::{names, spaces};
use retrieval::{Mask, Mode, Query, Segment};
use serde_json::Value;

use crate::instance::Instance;

/// A space of an instance, seen as a function sees it.
pub struct Space {
    pub aws: Aws,
    pub name: &'static str,
    /// The function's temporary folder.
    pub folder: tempfile::TempDir,
}

impl Space {
    /// The functions' environment on the laptop, with some settings changed.
    pub fn of(endpoint: &str, name: &'static str, changed: &[(&str, &str)]) -> Self {
        let mut variables = BTreeMap::from([
            ("OUTCROP_TABLE", "outcrop-table"),
            ("OUTCROP_BUCKET", "outcrop-bucket"),
            ("OUTCROP_STATE_MACHINE_ARN", "none: the test runs the steps"),
            ("OUTCROP_ANSWER_MODEL", "none"),
            ("OUTCROP_EMBED_MODEL", "amazon.titan-embed-text-v2:0"),
            ("OUTCROP_EMBED_DIMENSIONS", "256"),
            (
                "OUTCROP_BATCH_ROLE_ARN",
                "arn:aws:iam::000000000000:role/batch",
            ),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "outcrop"),
            ("AWS_SECRET_ACCESS_KEY", "outcrop"),
            ("AWS_ENDPOINT_URL", endpoint),
        ]);
        let folder = tempfile::tempdir().unwrap();
        variables.insert("TMPDIR", folder.path().to_str().unwrap());
        variables.extend(changed.iter().copied());
        let lookup = |name: &str| variables.get(name).map(|value| (*value).to_owned());
        let settings = Settings::from_lookup(lookup).unwrap().with_sdk_retries(0);
        Self {
            aws: Aws::new(settings),
            name,
            folder,
        }
    }

    pub fn on(instance: &Instance, name: &'static str) -> Self {
        Self::of(&instance.aws, name, &[])
    }

    /// Puts documents that everyone may read into the source; an empty content takes one out.
    pub async fn put(&self, documents: &[(&str, &str)]) {
        spaces::ensure(&self.aws, self.name).await.unwrap();
        for (name, content) in documents {
            let key = names::source_key(self.name, name);
            if content.is_empty() {
                self.aws.bucket.delete(&key).await.unwrap();
                continue;
            }
            let sidecar = r#"{"readers": ["everyone"]}"#;
            let sidecar_key = names::sidecar_key(&key);
            self.aws.bucket.put(&sidecar_key, sidecar).await.unwrap();
            self.aws
                .bucket
                .put(&key, content.to_string())
                .await
                .unwrap();
        }
    }

    /// A run over the whole source, of which no step was made yet.
    pub async fn new_run(&self) -> String {
        self.new_run_over(None).await
    }

    /// The same over some of its documents.
    pub async fn new_named_run(&self, documents: &[&str]) -> String {
        self.new_run_over(Some(documents)).await
    }

    async fn new_run_over(&self, documents: Option<&[&str]>) -> String {
        let now_ms = clock::now_ms();
        let run_id = format!("{}.{}", self.name, chance::ulid(now_ms));
        let mut row = RunRow::queued(run_id.clone(), self.name.to_owned(), now_ms);
        row.documents = documents.map(|names| self.ids(names).into_iter().collect());
        let key = keys::run(&run_id);
        self.aws.table.create(&key, &row).await.unwrap();
        run_id
    }

    /// Plan, extract and embed: all that comes before Publish.
    pub async fn prepare(&self, run_id: &str) {
        let plan = self.step("plan", run_id).await.unwrap();
        let lines = self
            .aws
            .bucket
            .get(plan["plan_key"].as_str().unwrap())
            .await;
        let lines = String::from_utf8(lines.unwrap().to_vec()).unwrap();
        let items: Vec<PlannedDocument> = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        for items in items.chunks(10) {
            let run_id = run_id.to_owned();
            let items = items.to_vec();
            let extract = Step::Extract {
                run_id,
                items,
                resumed: false,
            };
            let extracted = run_step(&self.aws, extract).await;
            let extracted = extracted.unwrap();
            let embed = Step::Embed {
                run_id: extracted["run_id"].as_str().unwrap().to_owned(),
                batch_id: extracted["batch_id"].as_str().unwrap().to_owned(),
            };
            run_step(&self.aws, embed).await.unwrap();
        }
    }

    /// One of the steps that take the run's id only.
    pub async fn step(&self, step: &str, run_id: &str) -> Result<Value, StepError> {
        let payload = serde_json::json!({ "step": step, "run_id": run_id });
        run_step(&self.aws, knowledge::sync::parse_step(payload)?).await
    }

    /// A whole run, as the state machine makes it.
    pub async fn ingest(&self, documents: &[(&str, &str)]) -> String {
        self.put(documents).await;
        let run_id = self.new_run().await;
        self.prepare(&run_id).await;
        for step in ["publish", "verify", "compact", "report"] {
            self.step(step, &run_id).await.unwrap();
        }
        run_id
    }

    pub async fn manifest(&self) -> Manifest {
        manifest::current(&self.aws, self.name)
            .await
            .unwrap()
            .unwrap()
    }

    /// The live documents, read from the files that the manifest names; each must be whole and no document twice.
    pub async fn live_documents(&self) -> BTreeSet<String> {
        let manifest = self.manifest().await;
        let mut live = BTreeSet::new();
        for entry in &manifest.segments {
            let bytes = self.aws.bucket.get(&entry.key).await.unwrap();
            let segment = Segment::from_bytes(bytes.to_vec()).unwrap();
            assert_eq!(segment.id(), entry.sha256);
            for ordinal in 0..segment.document_count() {
                if entry.dead_documents.binary_search(&ordinal).is_err() {
                    let id = segment.document(ordinal).unwrap().document_id;
                    assert!(live.insert(id.clone()), "{id} is live twice");
                }
            }
        }
        assert_eq!(manifest.documents, live.len() as u64);
        live
    }

    pub fn ids(&self, names: &[&str]) -> BTreeSet<String> {
        let id = |name: &&str| names::document_id(self.name, name);
        names.iter().map(id).collect()
    }

    /// The keys below `prefix`.
    pub async fn keys(&self, prefix: &str) -> BTreeSet<String> {
        let objects = self.aws.bucket.list(prefix).await.unwrap();
        objects.into_iter().map(|object| object.key).collect()
    }

    pub async fn current(&self, snapshots: &Snapshots) -> std::sync::Arc<Snapshot> {
        let current = snapshots.current(&self.aws, self.name).await;
        current.unwrap().unwrap()
    }
}

/// The texts that a word is found in.
pub fn found(snapshot: &Snapshot, word: &str) -> BTreeSet<String> {
    let query = Query {
        text: Some(word),
        vector: None,
        mode: Mode::Lexical,
        limit: 50,
        filter: None,
        mask: &Mask::Principals(vec!["everyone".into()]),
    };
    let hits = snapshot.index.search(&query).unwrap();
    hits.into_iter().map(|hit| hit.text).collect()
}

pub fn texts(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
