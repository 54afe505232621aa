//! Segments at their door: what goes in comes out, and what is damaged is refused by name.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::index::{Index, LiveSegment, Mask, Mode, Query, SearchError};
use crate::passage::{EmbeddedPassage, Passage, SegmentDocument};

const DIMENSION: usize = 8;

fn vector(seed: usize) -> Vec<f32> {
    (0..DIMENSION)
        .map(|at| ((seed * 7 + at * 3) % 11) as f32 - 5.0)
        .collect()
}

fn document(name: &str, readers: &[&str], texts: &[&str]) -> SegmentDocument {
    let mut start = 0;
    let passages = texts
        .iter()
        .enumerate()
        .map(|(ordinal, text)| {
            let passage = Passage {
                ordinal: ordinal as u32,
                start,
                end: start + text.len() as u64,
                heading_path: vec!["Guide".into()],
                pages: vec![
                    crate::PageMark { at: 0, page: 7 },
                    crate::PageMark { at: 3, page: 8 },
                ],
                parent: Some(crate::Siblings { first: 0, count: 2 }),
                text: (*text).to_owned(),
            };
            start = passage.end + 1;
            EmbeddedPassage {
                passage,
                vector: vector(name.len() + ordinal),
            }
        })
        .collect();
    SegmentDocument {
        document_id: format!("space.{name}"),
        title: name.to_owned(),
        uri: format!("s3://bucket/{name}"),
        content_hash: format!("{:0>64}", name.len()),
        readers: readers.iter().map(|reader| (*reader).to_owned()).collect(),
        metadata: [("size".to_owned(), json!(texts.len()))].into(),
        passages,
    }
}

fn documents() -> Vec<SegmentDocument> {
    vec![
        document(
            "granite",
            &["everyone"],
            &["Granite is hard.", "Granite cliffs rise above the sea."],
        ),
        document(
            "secret",
            &["user:ada"],
            &["The granite vault opens at noon."],
        ),
        document("orphan", &[], &["Nobody reads this granite note."]),
        document(
            "basalt",
            &["everyone", "user:ada"],
            &["Basalt columns stand in rows."],
        ),
    ]
}

fn built() -> Vec<u8> {
    build(DIMENSION, "model", &documents()).unwrap()
}

fn index(bytes: Vec<u8>, dead: &[u32]) -> Index {
    let segment = Arc::new(Segment::from_bytes(bytes).unwrap());
    Index::new(vec![LiveSegment {
        segment,
        dead_documents: dead.iter().copied().collect(),
    }])
    .unwrap()
}

fn principals(names: &[&str]) -> Mask {
    Mask::Principals(names.iter().map(|name| (*name).to_owned()).collect())
}

fn titles(index: &Index, text: &str, mask: &Mask, mode: Mode) -> Vec<String> {
    let vector = vector(7);
    let query = Query {
        text: Some(text),
        vector: Some(&vector),
        mode,
        limit: 10,
        filter: None,
        mask,
    };
    let mut titles: Vec<String> = index
        .search(&query)
        .unwrap()
        .into_iter()
        .map(|hit| hit.title)
        .collect();
    titles.sort();
    titles.dedup();
    titles
}

#[test]
fn what_goes_in_comes_out() {
    let bytes = built();
    assert_eq!(bytes, built(), "the same documents give the same bytes");
    let segment = Segment::from_bytes(bytes).unwrap();
    assert_eq!((segment.document_count(), segment.passage_count()), (4, 5));
    assert_eq!(
        (segment.embedder(), segment.dimension()),
        ("model", DIMENSION)
    );
    assert_eq!(segment.find_document("space.secret"), Some(1));
    assert_eq!(segment.document(0).unwrap().passage_range, 0..2);
    assert_eq!(
        segment.passage(1).unwrap().text,
        "Granite cliffs rise above the sea."
    );
    assert!(segment.passage(5).is_err() && segment.document(4).is_err());
    let back = segment.to_documents(&[1].into()).unwrap();
    let expected = documents();
    assert_eq!(back.len(), 3);
    for (found, expected) in back.iter().zip([&expected[0], &expected[2], &expected[3]]) {
        assert_eq!(found.document_id, expected.document_id);
        for (found, expected) in found.passages.iter().zip(&expected.passages) {
            assert_eq!(found.passage, expected.passage);
        }
    }
}

#[test]
fn an_empty_segment_can_be_made_and_searched() {
    let index = index(build(DIMENSION, "model", &[]).unwrap(), &[]);
    assert!(titles(&index, "granite", &Mask::Everything, Mode::Hybrid).is_empty());
}

#[test]
fn a_file_is_mapped_and_named_by_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.seg");
    std::fs::write(&path, built()).unwrap();
    let segment = Segment::open(&path).unwrap();
    assert_eq!(segment.id(), Segment::from_bytes(built()).unwrap().id());
    std::fs::write(&path, []).unwrap();
    assert_eq!(Segment::open(&path).unwrap_err().name(), "SegmentTruncated");
    assert_eq!(
        Segment::open(&folder.path().join("none"))
            .unwrap_err()
            .name(),
        "SegmentUnreadable"
    );
}

#[test]
fn the_mask_comes_before_the_ranking() {
    let index = index(built(), &[]);
    let check = |mask: Mask, expected: &[&str]| {
        for mode in [Mode::Vector, Mode::Hybrid] {
            assert_eq!(
                titles(&index, "granite vault", &mask, mode),
                expected,
                "{mask:?} {mode:?}"
            );
        }
        let lexical = titles(&index, "granite basalt", &mask, Mode::Lexical);
        assert_eq!(lexical, expected, "{mask:?}");
    };
    check(principals(&["everyone"]), &["basalt", "granite"]);
    check(principals(&["user:ada"]), &["basalt", "secret"]);
    check(
        principals(&["user:ada", "everyone"]),
        &["basalt", "granite", "secret"],
    );
    check(principals(&["user:bob"]), &[]);
    check(principals(&[]), &[]);
    check(Mask::Everything, &["basalt", "granite", "orphan", "secret"]);
}

#[test]
fn the_dead_are_not_found_and_filters_hold() {
    let dead = index(built(), &[0]);
    let mask = principals(&["everyone"]);
    assert_eq!(titles(&dead, "granite", &mask, Mode::Hybrid), ["basalt"]);
    assert_eq!((dead.document_count(), dead.passage_count()), (3, 3));

    let all = index(built(), &[]);
    let filter =
        serde_json::from_value(json!({"greaterThan": {"key": "size", "value": 1}})).unwrap();
    let query = Query {
        text: Some("granite"),
        vector: None,
        mode: Mode::Hybrid,
        limit: 10,
        filter: Some(&filter),
        mask: &Mask::Everything,
    };
    assert!(
        all.search(&query)
            .unwrap()
            .iter()
            .all(|hit| hit.title == "granite")
    );
}

#[test]
fn a_passage_is_found_by_its_id_under_the_mask() {
    let index = index(built(), &[]);
    let everyone = principals(&["everyone"]);
    let query = Query {
        text: Some("cliffs"),
        vector: None,
        mode: Mode::Lexical,
        limit: 1,
        filter: None,
        mask: &everyone,
    };
    let hit = index.search(&query).unwrap().remove(0);
    let again = index.passage(&hit.passage_id, &everyone).unwrap();
    assert_eq!(
        (again.text, again.start, again.end),
        (hit.text, hit.start, hit.end)
    );
    let check = |id: &str, mask: &Mask| assert!(index.passage(id, mask).is_none(), "{id}");
    check(&hit.passage_id, &principals(&["user:ada"]));
    check(&hit.passage_id.replace(".1", ".2"), &everyone);
    check("space.granite.ffffffff.1", &everyone);
    check("nonsense", &everyone);
}

#[test]
fn scores_do_not_depend_on_the_spread_over_segments() {
    let all = documents();
    let one = Index::new(vec![live(&all)]).unwrap();
    let two = Index::new(vec![live(&all[..1]), live(&all[1..])]).unwrap();
    let vector = vector(3);
    for mode in [Mode::Lexical, Mode::Vector, Mode::Hybrid] {
        let query = Query {
            text: Some("granite cliffs above basalt"),
            vector: Some(&vector),
            mode,
            limit: 10,
            filter: None,
            mask: &Mask::Everything,
        };
        let (left, right) = (one.search(&query).unwrap(), two.search(&query).unwrap());
        let scores = |hits: &[crate::Hit]| -> Vec<(String, i64)> {
            hits.iter()
                .map(|hit| (hit.passage_id.clone(), (hit.score * 1e4).round() as i64))
                .collect()
        };
        assert_eq!(scores(&left), scores(&right), "{mode:?}");
    }
}

fn live(documents: &[SegmentDocument]) -> LiveSegment {
    let bytes = build(DIMENSION, "model", documents).unwrap();
    let segment = Arc::new(Segment::from_bytes(bytes).unwrap());
    LiveSegment {
        segment,
        dead_documents: Default::default(),
    }
}

#[test]
fn embedders_do_not_mix() {
    let other = build(DIMENSION, "other", &documents()).unwrap();
    let other = Arc::new(Segment::from_bytes(other).unwrap());
    let mixed = vec![
        live(&documents()),
        LiveSegment {
            segment: other,
            dead_documents: Default::default(),
        },
    ];
    assert_eq!(Index::new(mixed).unwrap_err().name(), "MixedEmbedders");
    let error = build(DIMENSION + 1, "model", &documents()).unwrap_err();
    assert_eq!(error.name(), "DimensionMismatch");
    let query = Query {
        text: None,
        vector: Some(&[1.0]),
        mode: Mode::Vector,
        limit: 1,
        filter: None,
        mask: &Mask::Everything,
    };
    let error = index(built(), &[]).search(&query).unwrap_err();
    assert!(matches!(
        error,
        SearchError::Dimension {
            expected: DIMENSION,
            found: 1
        }
    ));
}

#[test]
fn damage_is_named() {
    let good = built();
    let check = |change: &dyn Fn(&mut Vec<u8>), name: &str| {
        let mut bytes = good.clone();
        change(&mut bytes);
        assert_eq!(Segment::from_bytes(bytes).unwrap_err().name(), name);
    };
    check(&|bytes| bytes.truncate(0), "SegmentTruncated");
    check(&|bytes| bytes.truncate(31), "SegmentTruncated");
    check(&|bytes| bytes.truncate(bytes.len() - 1), "SegmentTruncated");
    check(&|bytes| bytes[0] = b'X', "NotASegment");
    check(&|bytes| bytes[8] = 3, "SegmentVersion");
    check(&|bytes| bytes[8] = 1, "SegmentOutdated");
    check(&|bytes| bytes[40] ^= 1, "SegmentCorrupt");
    check(&|bytes| bytes.push(0), "SegmentCorrupt");
    check(&|bytes| *bytes.last_mut().unwrap() ^= 1, "SegmentCorrupt");
}

#[test]
fn parts_come_back_and_damage_is_named() {
    let part = crate::part::encode(&documents()).unwrap();
    assert_eq!(crate::part::decode(&part).unwrap(), documents());
    let check = |change: &dyn Fn(&mut Vec<u8>), name: &str| {
        let mut bytes = part.clone();
        change(&mut bytes);
        assert_eq!(crate::part::decode(&bytes).unwrap_err().name(), name);
    };
    check(&|bytes| bytes.truncate(10), "SegmentTruncated");
    check(&|bytes| bytes[0] = b'X', "NotASegment");
    check(&|bytes| bytes[7] = b'2', "SegmentVersion");
    check(&|bytes| bytes[7] = b'0', "SegmentCorrupt");
    check(&|bytes| bytes[60] ^= 1, "SegmentCorrupt");
    check(&|bytes| bytes.truncate(bytes.len() - 1), "SegmentCorrupt");
}

static GOOD: LazyLock<Vec<u8>> = LazyLock::new(built);

proptest! {
    #[test]
    fn no_flipped_bit_goes_unnoticed(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = GOOD.clone();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(Segment::from_bytes(bytes).is_err(), "byte {}", at);
    }

    #[test]
    fn no_cut_goes_unnoticed(at in any::<prop::sample::Index>()) {
        let cut = at.index(GOOD.len());
        prop_assert!(Segment::from_bytes(GOOD[..cut].to_vec()).is_err());
    }

    #[test]
    fn noise_is_refused(noise in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Segment::from_bytes(noise.clone()).is_err());
        let mut with_magic = GOOD[..32].to_vec();
        with_magic.extend(noise);
        prop_assert!(Segment::from_bytes(with_magic).is_err());
    }
}
