//! No file, however damaged, may do more to the opener than to be refused: `cargo +nightly fuzz run open --features index`.
//!
//! Inputs begin with a byte that says what they are. Even: a file. Odd: edits of a good file, whose checksums are then made
//! right again, so that what stands behind the checksums is reached: documents, readers, columns, passages, vectors. Of the inverted index only
//! its table is edited, for its files are tantivy's, which trusts them once their checksums hold.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use retrieval::segment::{Head, Section, build};
use retrieval::{
    EmbeddedPassage, Filter, Index, LiveSegment, Mask, Mode, Passage, Query, Segment, SegmentDocument,
};
use serde_json::json;

const DIMENSION: usize = 70;

fuzz_target!(|input: &[u8]| {
    match input.split_first() {
        Some((kind, file)) if kind % 2 == 0 => {
            let _ = Segment::from_bytes(file.to_vec());
        }
        Some((_, edits)) => use_all(edited(edits)),
        None => {}
    }
});

// The good file is what mutation starts from, again and again, so that no folder of seeds is needed.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let whole = GOOD.len() + 1;
    if size > 8 && seed % 32 != 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let size = if seed % 64 < 32 && whole <= max_size {
        data[0] = 0;
        data[1..whole].copy_from_slice(&GOOD);
        whole
    } else {
        // Two edits in the head or the small sections.
        let numbers = seed.wrapping_mul(2_654_435_761).to_le_bytes();
        let edits = [1, numbers[0], numbers[1] % 24, 0, numbers[2], numbers[2], numbers[3] % 24, 0, numbers[0]];
        let size = edits.len().min(max_size);
        data[..size].copy_from_slice(&edits[..size]);
        size
    };
    fuzzer_mutate(data, size, max_size)
});

static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| build(DIMENSION, "model", &documents()).expect("a good segment"));

fn documents() -> Vec<SegmentDocument> {
    let document = |number: usize| SegmentDocument {
        document_id: format!("space.{number}"),
        title: format!("Title {number}"),
        uri: format!("s3://bucket/{number}"),
        content_hash: "0123456789abcdef".to_owned(),
        readers: vec!["everyone".to_owned(), format!("user:{number}")],
        metadata: BTreeMap::from([
            ("size".to_owned(), json!(number)),
            (format!("rare{number}"), json!(["a", number])),
        ]),
        passages: (0..number % 4).map(|ordinal| passage(number, ordinal)).collect(),
    };
    (0..20).map(document).collect()
}

fn passage(number: usize, ordinal: usize) -> EmbeddedPassage {
    let text = format!("granite {number} cliffs {ordinal}");
    EmbeddedPassage {
        passage: Passage {
            ordinal: ordinal as u32,
            start: 0,
            end: text.len() as u64,
            heading_path: vec!["Guide".to_owned()],
            pages: Vec::new(),
            parent: None,
            text,
        },
        vector: (0..DIMENSION).map(|at| ((number * 7 + ordinal + at * 3) % 11) as f32 - 5.0).collect(),
    }
}

/// Each four bytes are an edit: a place and a value.
fn edited(edits: &[u8]) -> Vec<u8> {
    let mut file = GOOD.clone();
    let head = Head::parse(&file).expect("a good head");
    let dictionary = head.range(Section::LexiconDictionary);
    let postings = head.range(Section::LexiconPostings);
    for edit in edits.chunks_exact(4) {
        let at = u32::from_le_bytes([edit[0], edit[1], edit[2], 0]) as usize % file.len();
        let in_tantivy = (dictionary.start + 256..dictionary.end).contains(&(at as u64)) || postings.contains(&(at as u64));
        if !in_tantivy {
            file[at] = edit[3];
        }
    }
    make_checksums_right(&mut file);
    file
}

/// The layout is in the crate's `README.md`. What does not fit into the file is left as it is.
fn make_checksums_right(file: &mut [u8]) {
    let number = |file: &[u8], at: usize, size: usize| -> Option<usize> {
        let bytes = file.get(at..at + size)?;
        usize::try_from(bytes.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte))).ok()
    };
    let mut checksum_at = 480;
    for entry in (0..14).map(|number| 32 + number * 32) {
        let (Some(log), Some(start), Some(length)) =
            (number(file, entry + 4, 4), number(file, entry + 8, 8), number(file, entry + 16, 8))
        else {
            return;
        };
        let Some(end) = start.checked_add(length).filter(|end| *end <= file.len() && log < 32) else {
            return;
        };
        let extent = end.next_multiple_of(64).min(file.len());
        let blocks = length.div_ceil(1 << log);
        for block in 0..blocks {
            let from = start + (block << log);
            let to = if block + 1 == blocks { extent } else { from + (1 << log) };
            let checksum = crc32fast::hash(&file[from..to]);
            let Some(place) = file.get_mut(checksum_at..checksum_at + 4) else {
                return;
            };
            place.copy_from_slice(&checksum.to_le_bytes());
            checksum_at += 4;
        }
    }
    let Some(length) = number(file, 24, 4).filter(|length| (32..=file.len()).contains(length)) else {
        return;
    };
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&file[..28]);
    hasher.update(&file[32..length]);
    let checksum = hasher.finalize();
    file[28..32].copy_from_slice(&checksum.to_le_bytes());
}

/// Reads and searches what opens.
fn use_all(file: Vec<u8>) {
    let Ok(segment) = Segment::from_bytes(file) else {
        return;
    };
    for ordinal in 0..segment.document_count().min(64) {
        if let Ok(document) = segment.document(ordinal) {
            segment.find_document(&document.document_id);
        }
    }
    for ordinal in 0..segment.passage_count().min(64) {
        let _ = segment.passage(ordinal);
    }
    let _ = segment.to_documents(&BTreeSet::new());
    let dimension = segment.dimension();
    let live = LiveSegment {
        segment: Arc::new(segment),
        dead_documents: BTreeSet::from([3, 1_000]),
    };
    let Ok(index) = Index::new(vec![live]) else {
        return;
    };
    let filters = [json!({"lessThan": {"key": "size", "value": 9}}), json!({"listContains": {"key": "rare7", "value": "a"}})];
    for filter in filters {
        let filter: Filter = serde_json::from_value(filter).expect("a filter");
        let query = Query {
            text: Some("granite"),
            vector: Some(&vec![1.0; dimension]),
            mode: Mode::Hybrid,
            limit: 5,
            filter: Some(&filter),
            mask: &Mask::Principals(vec!["everyone".to_owned(), "user:7".to_owned()]),
        };
        let _ = index.search(&query);
    }
    index.passage("space.7.01234567.0", &Mask::Everything);
}
