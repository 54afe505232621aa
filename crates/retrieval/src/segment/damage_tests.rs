//! What stands behind the checksums: a file whose bytes are wrong and whose checksums are right may be refused or found
//! to be damaged where it is read; it never brings the program down.
//!
//! Of the inverted index only its table is edited: its files are tantivy's, which trusts them once their checksums hold.
//! `PROPTEST_CASES=100000 cargo test -p retrieval damage` looks longer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use serde_json::json;

use super::{Head, Section, Segment, build};
use crate::passage::{EmbeddedPassage, Passage, SegmentDocument};
use crate::{Filter, Index, LiveSegment, Mask, Mode, Query};

const DIMENSION: usize = 70;

static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| build(DIMENSION, "model", &documents()).unwrap());

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
        passages: (0..number % 4)
            .map(|ordinal| passage(number, ordinal))
            .collect(),
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
            pages: vec![
                crate::PageMark { at: 0, page: 7 },
                crate::PageMark { at: 3, page: 8 },
            ],
            parent: Some(crate::Siblings { first: 0, count: 2 }),
            text,
        },
        vector: (0..DIMENSION)
            .map(|at| ((number * 7 + ordinal + at * 3) % 11) as f32 - 5.0)
            .collect(),
    }
}

/// Each four bytes are an edit: a place and a value.
fn edited(edits: &[u8]) -> Vec<u8> {
    let mut file = GOOD.clone();
    let head = Head::parse(&file).unwrap();
    let dictionary = head.range(Section::LexiconDictionary);
    let postings = head.range(Section::LexiconPostings);
    for edit in edits.chunks_exact(4) {
        let at = u32::from_le_bytes([edit[0], edit[1], edit[2], 0]) as usize % file.len();
        let in_tantivy = (dictionary.start + 256..dictionary.end).contains(&(at as u64))
            || postings.contains(&(at as u64));
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
        usize::try_from(
            bytes
                .iter()
                .rev()
                .fold(0u64, |value, byte| value << 8 | u64::from(*byte)),
        )
        .ok()
    };
    let mut checksum_at = 480;
    for entry in (0..14).map(|number| 32 + number * 32) {
        let (Some(log), Some(start), Some(length)) = (
            number(file, entry + 4, 4),
            number(file, entry + 8, 8),
            number(file, entry + 16, 8),
        ) else {
            return;
        };
        let Some(end) = start
            .checked_add(length)
            .filter(|end| *end <= file.len() && log < 32)
        else {
            return;
        };
        let extent = end.next_multiple_of(64).min(file.len());
        let blocks = length.div_ceil(1 << log);
        for block in 0..blocks {
            let from = start + (block << log);
            let to = if block + 1 == blocks {
                extent
            } else {
                from + (1 << log)
            };
            let checksum = crc32fast::hash(&file[from..to]);
            let Some(place) = file.get_mut(checksum_at..checksum_at + 4) else {
                return;
            };
            place.copy_from_slice(&checksum.to_le_bytes());
            checksum_at += 4;
        }
    }
    let Some(length) = number(file, 24, 4).filter(|length| (32..=file.len()).contains(length))
    else {
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
    let filters = [
        json!({"lessThan": {"key": "size", "value": 9}}),
        json!({"listContains": {"key": "rare7", "value": "a"}}),
    ];
    for filter in filters {
        let filter: Filter = serde_json::from_value(filter).unwrap();
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

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn damage_behind_the_checksums_is_survived(
        // Half of the edits in the head and the small sections, where a number is a place.
        edits in prop::collection::vec((any::<bool>(), any::<u32>(), prop_oneof![any::<u8>(), Just(0), Just(0xFF)]), 1..12),
    ) {
        let bytes: Vec<u8> = edits
            .into_iter()
            .flat_map(|(near, place, value)| {
                let place = if near { place % 6_000 } else { place };
                let [low, middle, high, _] = place.to_le_bytes();
                [low, middle, high, value]
            })
            .collect();
        use_all(edited(&bytes));
    }
}

/// Few by default: each case opens and searches a segment.
fn cases() -> u32 {
    let default = ProptestConfig::default().cases;
    if default == 256 { 64 } else { default }
}
