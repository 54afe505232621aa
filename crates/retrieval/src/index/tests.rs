//! Searches at their door: order, ties, limits and what a forged request gets.

use proptest::prelude::*;

use super::*;
use crate::passage::{EmbeddedPassage, Passage, SegmentDocument};
use crate::segment::build;

const DIMENSION: usize = 4;

fn document(id: &str, text: &str) -> SegmentDocument {
    let passage = Passage {
        ordinal: 0,
        start: 0,
        end: text.len() as u64,
        heading_path: Vec::new(),
        pages: Vec::new(),
        parent: None,
        text: text.to_owned(),
    };
    let vector = vec![1.0, 2.0, 3.0, text.len() as f32];
    SegmentDocument {
        document_id: id.to_owned(),
        title: "Stone".to_owned(),
        uri: format!("s3://bucket/{id}"),
        content_hash: "0123456789abcdef".to_owned(),
        readers: vec!["everyone".to_owned()],
        metadata: Default::default(),
        passages: vec![EmbeddedPassage { passage, vector }],
    }
}

fn live(documents: &[SegmentDocument], dead: &[u32]) -> LiveSegment {
    let bytes = build(DIMENSION, "model", documents).unwrap();
    LiveSegment {
        segment: Arc::new(Segment::from_bytes(bytes).unwrap()),
        dead_documents: dead.iter().copied().collect(),
    }
}

fn search(index: &Index, text: &str, mode: Mode, limit: usize) -> Vec<Hit> {
    let query = Query {
        text: Some(text),
        vector: Some(&[1.0, 2.0, 3.0, 16.0]),
        mode,
        limit,
        filter: None,
        mask: &Mask::Everything,
    };
    index.search(&query).unwrap()
}

#[test]
fn a_text_is_a_bag_of_words() {
    let index = Index::new(vec![live(&[document("a", "granite cliffs")], &[])]).unwrap();
    let check = |text: &str, found: usize| {
        let hits = search(&index, text, Mode::Lexical, 10);
        assert_eq!(hits.len(), found, "{text:?}");
    };
    check("granite", 1);
    check("GRANITE Cliff", 1);
    check("+granite -cliffs", 1);
    check("title:granite AND (", 1);
    check("\"granite", 1);
    check("granite^1e9 OR *", 1);
    check("basalt", 0);
    check("", 0);
    check("  \u{0}\t", 0);
    check("*:* [a TO b] !!", 0);
}

#[test]
fn a_limit_of_any_size_is_served() {
    let index = Index::new(vec![live(
        &[document("a", "granite"), document("b", "granite")],
        &[],
    )])
    .unwrap();
    for mode in [Mode::Lexical, Mode::Vector, Mode::Hybrid] {
        let check = |limit: usize, found: usize| {
            assert_eq!(search(&index, "granite", mode, limit).len(), found);
        };
        check(0, 0);
        check(1, 1);
        check(1_000, 2);
        check(usize::MAX, 2);
    }
}

#[test]
fn a_manifest_that_buries_what_was_never_there_is_harmless() {
    let index = Index::new(vec![live(&[document("a", "granite")], &[0, 7, u32::MAX])]).unwrap();
    assert_eq!((index.document_count(), index.passage_count()), (0, 0));
}

#[test]
fn only_a_whole_passage_id_names_a_passage() {
    let index = Index::new(vec![live(&[document("space.a", "granite")], &[])]).unwrap();
    let check = |id: &str, found: bool| {
        assert_eq!(
            index.passage(id, &Mask::Everything).is_some(),
            found,
            "{id}"
        );
    };
    check("space.a.01234567.0", true);
    check("space.a.0.0", false);
    check("space.a.0123456789.0", false);
    check("space.a.01234567.+0", false);
    check("space.a.01234567.00", false);
    check("space.a.01234567.4294967295", false);
}

#[test]
fn a_passage_is_read_under_the_mask_until_its_document_is_dead() {
    let documents = [document("a", "granite")];
    let check = |dead: &[u32], principals: &[&str], found: bool| {
        let index = Index::new(vec![live(&documents, dead)]).unwrap();
        let mask = Mask::Principals(principals.iter().map(|&name| name.to_owned()).collect());
        assert_eq!(index.passage("a.01234567.0", &mask).is_some(), found);
    };
    check(&[], &["everyone"], true);
    check(&[], &["user:ada", "everyone"], true);
    check(&[], &["user:ada"], false);
    check(&[], &[], false);
    check(&[0], &["everyone"], false);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Equal passages stand in the order of their ids, also at the edge of a ranking, however they are spread.
    #[test]
    fn ties_are_broken_by_id_whatever_the_spread(
        texts in prop::collection::vec(0usize..3, 2..24),
        cut in any::<prop::sample::Index>(),
        limit in 1usize..8,
    ) {
        let kinds = ["granite cliffs above", "granite walls", "granite granite cliffs of the sea"];
        let documents: Vec<SegmentDocument> = texts
            .iter()
            .enumerate()
            .map(|(number, kind)| document(&format!("d{number:02}"), kinds[*kind]))
            .collect();
        let turned: Vec<SegmentDocument> = documents.iter().rev().cloned().collect();
        let (left, right) = turned.split_at(cut.index(turned.len()));
        let one = Index::new(vec![live(&documents, &[])]).unwrap();
        let two = Index::new(vec![live(left, &[]), live(right, &[])]).unwrap();
        for mode in [Mode::Lexical, Mode::Vector, Mode::Hybrid] {
            let order = |index: &Index| -> Vec<_> {
                search(index, "granite cliffs", mode, limit)
                    .into_iter()
                    .map(|hit| (hit.passage_id, hit.lexical_rank, hit.vector_rank))
                    .collect()
            };
            prop_assert_eq!(order(&one), order(&two), "{:?}", mode);
        }
    }
}
