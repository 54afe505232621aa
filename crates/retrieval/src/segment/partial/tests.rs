//! A segment that comes in parts answers as a whole one does, in few rounds, and never from an unchecked byte.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::index::{Index, LiveSegment, Mask, Mode, Query, SearchError};
use crate::passage::{EmbeddedPassage, Passage, SegmentDocument};
use crate::segment::{Segment, build};

const DIMENSION: usize = 64;
const ROWS: usize = 40;

static SMALL: LazyLock<Vec<u8>> = LazyLock::new(|| segment(0..120));

fn vector(seed: usize) -> Vec<f32> {
    let mut state = seed as u64 * 2 + 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..DIMENSION).map(|_| next()).collect()
}

fn document(number: usize) -> SegmentDocument {
    let passages = (0..4).map(|ordinal| {
        let seed = number * 4 + ordinal;
        // Every fourth text is one of few, so that scores are equal.
        let text = match ordinal {
            0 => format!("granite of kind k{}", number % 7),
            _ => format!("passage {seed} of basalt b{} and k{}", seed % 31, seed % 5),
        };
        // Each ends where the next begins.
        let text = format!("{text:<100}");
        EmbeddedPassage {
            passage: Passage {
                ordinal: ordinal as u32,
                start: ordinal as u64 * 100,
                end: ordinal as u64 * 100 + text.len() as u64,
                heading_path: Vec::new(),
                pages: Vec::new(),
                // Of every other document the last three are parts of one.
                parent: (ordinal > 0 && number.is_multiple_of(2))
                    .then_some(crate::Siblings { first: 1, count: 3 }),
                text,
            },
            vector: vector(seed),
        }
    });
    SegmentDocument {
        passages: passages.collect(),
        document_id: format!("space.{number:020x}"),
        title: format!("Document {number}"),
        uri: format!("s3://bucket/{number}"),
        content_hash: format!("{number:064x}"),
        readers: vec!["everyone".into()],
        metadata: Default::default(),
    }
}

fn segment(numbers: Range<usize>) -> Vec<u8> {
    let documents: Vec<_> = numbers.map(document).collect();
    build(DIMENSION, "model", &documents).unwrap()
}

/// A file that has what is read first, and what it will be.
fn begun(bytes: &[u8]) -> (tempfile::NamedTempFile, Arc<Partial>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let first = Head::parse(bytes).unwrap().first_ranges();
    let part = |range: &Range<u64>| &bytes[range.start as usize..range.end as usize];
    let partial = Partial::begin(file.path(), part(&first[0])).unwrap();
    for range in &first[1..] {
        partial.add(range.start, part(range)).unwrap();
    }
    (file, Arc::new(partial))
}

fn index(segments: Vec<Segment>) -> Index {
    let live = segments.into_iter().map(|segment| LiveSegment {
        segment: Arc::new(segment),
        dead_documents: [3, 5].into(),
    });
    Index::new(live.collect()).unwrap()
}

#[test]
fn a_segment_in_parts_answers_as_a_whole_one_in_three_rounds() {
    let files = [segment(0..899), segment(899..1_497)];
    let wholes = files
        .iter()
        .map(|bytes| Segment::from_bytes(bytes.clone()).unwrap());
    let whole = index(wholes.collect());
    let larger_ones = std::cell::Cell::new(0);
    let check = |text: &str, mode: Mode, limit: usize| {
        let begun: Vec<_> = files.iter().map(|bytes| begun(bytes)).collect();
        let opened = begun
            .iter()
            .map(|(file, partial)| Segment::open_partial(file.path(), partial.fetch()).unwrap());
        let parts = index(opened.collect());
        let vector = vector(77);
        let mask = Mask::Principals(vec!["everyone".into()]);
        let query = Query {
            text: Some(text),
            vector: Some(&vector),
            mode,
            limit,
            filter: None,
            mask: &mask,
        };
        // The first bytes were the first round.
        let mut rounds = 1;
        let found = loop {
            let found = parts.search_few(&query, Some(ROWS));
            if !bring(&begun, &files) {
                break found.unwrap();
            }
            rounds += 1;
        };
        assert_eq!(found, whole.search_few(&query, Some(ROWS)).unwrap());
        assert!(rounds <= 3, "{rounds} rounds for {text:?} {mode:?} {limit}");
        assert!(begun.iter().all(|(_, partial)| !partial.is_whole()));
        // The larger passages around what was found come whole, by one round more.
        let first = parts.parents(found.clone(), &mask);
        let larger = match bring(&begun, &files) {
            true => parts.parents(found.clone(), &mask),
            false => first,
        };
        assert_eq!(larger, whole.parents(found.clone(), &mask));
        let larger = larger.unwrap();
        larger_ones
            .set(larger_ones.get() + larger.iter().filter(|hit| hit.text.len() == 300).count());
        // What was found is there to be cited.
        for hit in &found {
            assert_eq!(
                parts.passage(&hit.passage_id, &mask).unwrap().text,
                hit.text
            );
        }
    };
    for mode in [Mode::Hybrid, Mode::Lexical, Mode::Vector] {
        check("granite", mode, 5);
        check("which basalt is b7 of k3", mode, 10);
        check("no such word", mode, 1);
    }
    check("granite basalt passage", Mode::Hybrid, 50);
    assert!(larger_ones.get() > 0);
}

/// Brings what was missed; whether that was anything.
fn bring(begun: &[(tempfile::NamedTempFile, Arc<Partial>)], files: &[Vec<u8>]) -> bool {
    let mut brought = false;
    for ((_, partial), bytes) in begun.iter().zip(files) {
        for range in partial.take_wanted(0) {
            brought = true;
            let part = &bytes[range.start as usize..range.end as usize];
            partial.add(range.start, part).unwrap();
        }
    }
    brought
}

#[test]
fn a_damaged_block_is_refused_and_not_kept() {
    let bytes = segment(0..300);
    let (_file, partial) = begun(&bytes);
    let missing = partial.missing();
    let range = missing.last().unwrap().clone();
    let mut part = bytes[range.start as usize..range.end as usize].to_vec();
    let middle = part.len() / 2;
    part[middle] ^= 1;
    let error = partial.add(range.start, &part).unwrap_err();
    assert_eq!(error.name(), "SegmentCorrupt");
    assert!(!partial.is_whole());
    part[middle] ^= 1;
    for range in partial.missing() {
        let part = &bytes[range.start as usize..range.end as usize];
        partial.add(range.start, part).unwrap();
    }
    assert!(partial.is_whole() && partial.missing().is_empty());
}

#[test]
fn what_is_missing_is_told_by_name() {
    let bytes = segment(0..300);
    let (file, partial) = begun(&bytes);
    let opened = Segment::open_partial(file.path(), partial.fetch()).unwrap();
    let error = opened.passage(7).unwrap_err();
    assert_eq!(
        (error.name(), &error),
        ("SegmentPartMissing", &SegmentError::Missing)
    );
    let parts = index(vec![opened]);
    let query = Query {
        text: None,
        vector: Some(&vector(1)),
        mode: Mode::Vector,
        limit: 3,
        filter: None,
        mask: &Mask::Everything,
    };
    let error = parts.search(&query).unwrap_err();
    assert_eq!(error, SearchError::Segment(SegmentError::Missing));
}

/// A file that an earlier process left whole.
fn left(bytes: &[u8]) -> (tempfile::NamedTempFile, Result<Arc<Partial>, SegmentError>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let partial = Partial::resume(file.path()).map(Arc::new);
    (file, partial)
}

#[test]
fn a_file_that_was_left_is_checked_as_it_is_read() {
    let bytes = segment(0..300);
    let (file, partial) = left(&bytes);
    let partial = partial.unwrap();
    let opened = Segment::open_partial(file.path(), partial.fetch()).unwrap();
    assert!(partial.is_whole() && !partial.is_checked());
    assert_eq!(
        opened.passage(7).unwrap(),
        Segment::from_bytes(bytes.clone())
            .unwrap()
            .passage(7)
            .unwrap()
    );
    assert!(partial.take_wanted(0).is_empty());
    opened.check().unwrap();
    assert!(partial.is_checked());
}

#[test]
fn a_file_that_is_no_whole_segment_is_not_taken() {
    let bytes = segment(0..120);
    let check = |left_here: &[u8], name: &str| {
        let (_file, partial) = left(left_here);
        assert_eq!(partial.unwrap_err().name(), name);
    };
    check(&[], "SegmentTruncated");
    check(&bytes[..20], "SegmentTruncated");
    check(&bytes[..600], "SegmentTruncated");
    check(&bytes[..bytes.len() - 1], "SegmentTruncated");
    check(&[bytes.as_slice(), &[0]].concat(), "SegmentCorrupt");
    check(&vec![0; bytes.len()], "NotASegment");
}

proptest! {
    /// Whatever bytes of a file that was left are not what was written, they are missed by their reader, brought, and then the
    /// file is the one that was written.
    #[test]
    fn damage_in_a_file_that_was_left_is_found_and_brought(places in prop::collection::vec(any::<prop::sample::Index>(), 1..6)) {
        let whole: &[u8] = &SMALL;
        let head = Head::parse(whole).unwrap().length();
        let mut bytes = whole.to_vec();
        let places: BTreeSet<usize> = places.iter().map(|place| head + place.index(whole.len() - head)).collect();
        places.iter().for_each(|place| bytes[*place] ^= 0x55);
        let (file, partial) = left(&bytes);
        let partial = partial.unwrap();
        let all = 0..bytes.len() as u64;
        let needed = partial.need(&bytes, std::slice::from_ref(&all));
        prop_assert_eq!(needed, Err(SegmentError::Missing));
        prop_assert!(!partial.is_whole());
        let wanted = partial.take_wanted(0);
        for place in places {
            prop_assert!(wanted.iter().any(|range| range.contains(&(place as u64))));
        }
        for range in wanted {
            partial.add(range.start, &whole[range.start as usize..range.end as usize]).unwrap();
        }
        prop_assert!(partial.is_checked() && partial.missing().is_empty());
        prop_assert_eq!(std::fs::read(file.path()).unwrap(), whole);
    }

    /// Pieces of any size in any order make the file that they were cut from.
    #[test]
    fn pieces_make_the_file(mut cuts in prop::collection::vec(0usize..60_000, 0..12), seed in 0usize..100) {
        let bytes: &[u8] = &SMALL;
        let head = Head::parse(bytes).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let partial = Partial::begin(file.path(), &bytes[..head.length()]).unwrap();
        cuts.retain(|cut| *cut < bytes.len());
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut pieces: Vec<_> = cuts.windows(2).map(|pair| pair[0]..pair[1]).collect();
        pieces.rotate_left(seed % cuts.len().max(1) % (cuts.len() - 1).max(1));
        for piece in pieces {
            partial.add(piece.start as u64, &bytes[piece]).unwrap();
        }
        // Blocks that a cut went through are still missing.
        for range in partial.missing() {
            let piece = &bytes[range.start as usize..range.end as usize];
            partial.add(range.start, piece).unwrap();
        }
        prop_assert!(partial.is_whole());
        prop_assert_eq!(std::fs::read(file.path()).unwrap(), bytes);
    }
}
