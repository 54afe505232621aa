//! A segment that is here only in part: it finds what the whole one finds, with few rounds, and reads little.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

use super::{Fetch, Head, Segment, SegmentError, build};
use crate::passage::{EmbeddedPassage, Passage, SegmentDocument};
use crate::{Hit, Index, LiveSegment, Mask, Mode, Query};

const DIMENSION: usize = 256;

fn document(number: usize) -> SegmentDocument {
    let passage = |ordinal: usize| {
        let text = format!("granite number{number} cliffs of the {ordinal}th coast");
        let mut state = (number * 10 + ordinal) as u64;
        let components = (0..DIMENSION).map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
        });
        EmbeddedPassage {
            vector: components.collect(),
            passage: Passage {
                ordinal: ordinal as u32,
                start: 0,
                end: text.len() as u64,
                heading_path: Vec::new(),
                pages: Vec::new(),
                parent: None,
                text,
            },
        }
    };
    SegmentDocument {
        document_id: format!("space.{number}"),
        title: "Coast".to_owned(),
        uri: format!("s3://bucket/{number}"),
        content_hash: format!("{number:064x}"),
        readers: vec!["everyone".to_owned()],
        metadata: Default::default(),
        passages: (0..10).map(passage).collect(),
    }
}

/// What was asked for: in each round the blocks that were not there yet.
type Rounds = Arc<Mutex<Vec<usize>>>;

/// Copies blocks of `whole` into the file at their places, each once, each verified.
fn fetching(whole: Arc<Vec<u8>>, file: File, rounds: Rounds) -> Fetch {
    let head = Head::parse(&whole).unwrap();
    let here = Mutex::new(BTreeSet::new());
    Arc::new(move |_, ranges| {
        let mut here = here.lock().unwrap();
        let mut brought = 0;
        for block in ranges.iter().flat_map(|range| head.blocks_in(range)) {
            if here.insert(block) {
                let range = head.block_range(block).unwrap();
                let bytes = &whole[range.start as usize..range.end as usize];
                head.verify(block, bytes)?;
                let written = file.write_all_at(bytes, range.start);
                written.map_err(|error| SegmentError::Io {
                    detail: error.to_string(),
                })?;
                brought += 1;
            }
        }
        if brought > 0 {
            rounds.lock().unwrap().push(brought);
        }
        Ok(())
    })
}

fn search(segment: Segment, mode: Mode) -> Vec<Hit> {
    let live = LiveSegment {
        segment: Arc::new(segment),
        dead_documents: Default::default(),
    };
    let query = Query {
        text: Some("cliffs number7 number70 number300"),
        vector: Some(&[1.0; DIMENSION]),
        mode,
        limit: 3,
        filter: None,
        mask: &Mask::Principals(vec!["everyone".to_owned()]),
    };
    Index::new(vec![live]).unwrap().search(&query).unwrap()
}

#[test]
fn a_part_of_a_file_finds_what_the_whole_file_finds() {
    let documents: Vec<SegmentDocument> = (0..800).map(document).collect();
    let whole = Arc::new(build(DIMENSION, "model", &documents).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let check = |mode: Mode, most_rounds: usize, most_share: f64| {
        let path = folder.path().join(format!("{mode:?}.seg"));
        let file = File::create(&path).unwrap();
        let head = Head::parse(&whole).unwrap();
        file.set_len(head.file_length()).unwrap();
        file.write_all_at(&whole[..head.length()], 0).unwrap();
        let rounds = Rounds::default();
        let fetch = fetching(whole.clone(), file, rounds.clone());
        let found = search(Segment::open_partial(&path, fetch).unwrap(), mode);
        assert_eq!(
            found,
            search(Segment::from_bytes(whole.to_vec()).unwrap(), mode),
            "{mode:?}"
        );
        let rounds = rounds.lock().unwrap();
        assert!(rounds.len() <= most_rounds, "{mode:?}: {rounds:?}");
        let brought: usize = rounds.iter().sum();
        let share = brought as f64 / head.block_count() as f64;
        assert!(share < most_share, "{mode:?}: {share}");
    };
    // To open; postings; ids of equals; texts.
    check(Mode::Lexical, 4, 0.5);
    // To open; codes; rows; ids of equals; texts.
    check(Mode::Vector, 5, 0.5);
    // Its rankings are a hundred deep, and the file is small.
    check(Mode::Hybrid, 5, 0.9);
}

#[test]
fn blocks_cover_the_file_behind_its_head() {
    let file = build(DIMENSION, "model", &[document(1), document(2)]).unwrap();
    let head = Head::parse(&file).unwrap();
    let mut end = head.length() as u64;
    for block in 0..head.block_count() {
        let range = head.block_range(block).unwrap();
        assert_eq!(range.start, end);
        assert_eq!(head.blocks_in(&range), block..block + 1);
        assert_eq!(
            head.blocks_in(&(range.end - 1..range.end)),
            block..block + 1
        );
        assert_eq!(
            head.verify(block, &file[range.start as usize..range.end as usize]),
            Ok(())
        );
        assert!(head.verify(block, &file[..1]).is_err());
        end = range.end;
    }
    assert_eq!(
        (end, head.file_length()),
        (file.len() as u64, file.len() as u64)
    );
    assert_eq!(head.blocks_in(&(0..u64::MAX)), 0..head.block_count());
    assert_eq!(head.blocks_in(&(0..head.length() as u64)), 0..0);
    assert!(head.block_range(head.block_count()).is_none());
    assert!(head.verify(head.block_count(), &[]).is_err());
}
