//! A space that nobody asked before answers before its segments are whole.

use aws::config::IndexSettings;
use aws::dynamo::keys;
use knowledge::digest::sha256_hex;
use knowledge::snapshot::Snapshots;
use retrieval::segment::{Head, Section, build};
use retrieval::{EmbeddedPassage, Hit, Mask, Mode, Passage, Query, SegmentDocument};
use serde_json::json;

use super::Space;
use crate::instance::Instance;

const DIMENSION: usize = 256;
const DOCUMENTS: usize = 150;
pub const KEY: &str = "segments/parts/large.seg";

fn document(number: usize) -> SegmentDocument {
    let passages = (0..10).map(|ordinal| {
        let seed = number * 10 + ordinal;
        let text = format!(
            "Passage {seed} is about stone s{} and s{}.",
            seed % 97,
            seed % 13
        );
        let component = |at: usize| ((seed * 31 + at * at * 7 + at) % 101) as f32 - 50.0;
        EmbeddedPassage {
            passage: Passage {
                ordinal: ordinal as u32,
                start: 0,
                end: text.len() as u64,
                heading_path: Vec::new(),
                pages: Vec::new(),
                parent: None,
                text,
            },
            vector: (0..DIMENSION).map(component).collect(),
        }
    });
    SegmentDocument {
        passages: passages.collect(),
        document_id: format!("parts.{number:020x}"),
        title: format!("Document {number}"),
        uri: String::new(),
        content_hash: format!("{number:064x}"),
        readers: vec!["everyone".into()],
        metadata: Default::default(),
    }
}

/// A segment that is brought in parts.
pub fn large_segment() -> Vec<u8> {
    let documents: Vec<_> = (0..DOCUMENTS).map(document).collect();
    build(DIMENSION, "m", &documents).unwrap()
}

/// Publishes one segment as a large one is published.
pub async fn publish(space: &Space, bytes: &[u8]) {
    let first = Head::parse(bytes).unwrap().first_ranges();
    let first: Vec<_> = first.iter().map(|range| [range.start, range.end]).collect();
    let body = json!({
        "version": 1, "embedder": "m", "dimension": DIMENSION, "documents": DOCUMENTS, "passages": DOCUMENTS * 10,
        "segments": [{
            "key": KEY, "sha256": sha256_hex(bytes), "bytes": bytes.len(), "passages": DOCUMENTS * 10,
            "documents": DOCUMENTS, "dead_documents": [2], "first": first,
        }],
    })
    .to_string();
    let row = json!({ "version": 1, "body_sha256": sha256_hex(body.as_bytes()), "body": body });
    let key = keys::manifest(space.name);
    space.aws.table.put(&key, &row).await.unwrap();
    space.aws.bucket.put(KEY, bytes.to_vec()).await.unwrap();
}

/// On disk, for only files come in parts.
pub fn on_disk(space: &Space) -> Snapshots {
    Snapshots::new(&IndexSettings {
        memory_bytes: 0,
        ..space.aws.settings.index.clone()
    })
    .unwrap()
}

/// The same in a folder where nothing is.
fn empty(space: &Space) -> (Snapshots, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::new(&IndexSettings {
        memory_bytes: 0,
        folder: folder.path().to_owned(),
        ..space.aws.settings.index.clone()
    });
    (snapshots.unwrap(), folder)
}

pub async fn search(
    space: &Space,
    snapshots: &Snapshots,
    limit: usize,
) -> Result<Vec<Hit>, String> {
    let snapshot = snapshots.current(&space.aws, space.name).await;
    let snapshot = snapshot.map_err(|error| error.name().to_owned())?.unwrap();
    let mask = Mask::Principals(vec!["everyone".into()]);
    let vector = document(77).passages[3].vector.clone();
    let query = Query {
        text: Some("which stone is s12 or s40"),
        vector: Some(&vector),
        mode: Mode::Hybrid,
        limit,
        filter: None,
        mask: &mask,
    };
    let found = snapshot.search(&query).await;
    found.map_err(|error| error.name().to_owned())
}

#[tokio::test]
async fn a_cold_space_answers_before_it_is_whole() {
    let instance = Instance::start().await;
    let space = Space::on(&instance, "parts");
    let bytes = large_segment();
    publish(&space, &bytes).await;

    let snapshots = on_disk(&space);
    let cold = search(&space, &snapshots, 5).await.unwrap();
    assert_eq!(cold.len(), 5);
    let snapshot = space.current(&snapshots).await;
    let reads = snapshot.cold_reads();
    assert!((2..=3).contains(&reads.rounds), "{reads:?}");
    // The rest comes by itself, and then the same question has the same answer.
    while !snapshot.is_whole() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(snapshot.cold_reads().bytes >= bytes.len() as u64);
    assert_eq!(search(&space, &snapshots, 5).await.unwrap()[0], cold[0]);
    assert_eq!(
        space.current(&snapshots).await.cold_reads().rounds,
        reads.rounds
    );

    // A byte of a text is damaged: a search that would show it fails, and the segment is brought anew.
    let texts = Head::parse(&bytes).unwrap().range(Section::Passages);
    let mut damaged = bytes.clone();
    for byte in &mut damaged[texts.start as usize..texts.end as usize] {
        *byte ^= 0x55;
    }
    space.aws.bucket.put(KEY, damaged).await.unwrap();
    let (snapshots, _folder) = empty(&space);
    let error = search(&space, &snapshots, 5).await.unwrap_err();
    assert_eq!(error, "IndexUnreadable");
    space.aws.bucket.put(KEY, bytes).await.unwrap();
    assert_eq!(search(&space, &snapshots, 5).await.unwrap()[0], cold[0]);
}
