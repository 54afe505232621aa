use std::collections::BTreeMap;
use std::sync::LazyLock;

use proptest::prelude::*;
use tantivy::directory::OwnedBytes;

use super::*;

fn build(texts: &[impl AsRef<str>]) -> Files {
    let mut writer = Writer::new().unwrap();
    for text in texts {
        writer.push(text.as_ref(), Language::English).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn the_same_passages_give_the_same_files() {
    let passages = ["granite cliffs", "basalt columns", "granite walls"];
    let once = build(&passages);
    assert_eq!(once, build(&passages));
    assert!(once.iter().any(|(name, _)| name == "meta.json"));
}

/// tantivy's block maxima are made with the segment's own mean length; a search sums lengths over all segments, so
/// that another passage of the block may be its best.
#[test]
fn the_best_is_found_when_another_segment_is_much_longer() {
    let filler = |count: usize| (0..count).map(|at| format!(" w{at}")).collect::<String>();
    let mut short = vec!["granite".to_owned(); 600];
    short[0] = format!("granite granite{}", filler(28));
    short[400] = format!("granite granite{}", filler(6));
    let (short, long) = (opened(&short), opened(&vec![filler(400); 400]));
    let (mut all, none) = (Bits::none(600), Bits::none(400));
    all.add_range(0..600);
    let best = |limit: usize| {
        let masks = [all.clone(), none.clone()];
        let found = search(&[&short, &long], &masks, "granite", limit).unwrap();
        found
            .into_iter()
            .max_by(|left, right| left.0.total_cmp(&right.0))
            .unwrap()
    };
    assert_eq!(best(600).2, 400);
    assert_eq!(best(1).2, 400);
}

fn opened(texts: &[String]) -> Lexicon {
    let (mut bytes, mut files) = (Vec::new(), Vec::new());
    for (name, file) in build(texts) {
        let start = bytes.len() as u64;
        bytes.extend(file);
        files.push(SectionFile {
            name,
            range: start..bytes.len() as u64,
        });
    }
    Lexicon::open(Source::new(OwnedBytes::new(bytes), None), files).unwrap()
}

/// Passages of several lists' blocks and of two windows; word `n` is in about every `n`-th, longer ones in between.
static CORPUS: LazyLock<Lexicon> = LazyLock::new(|| {
    let text = |number: u32| {
        let chance = number.wrapping_mul(2_654_435_761) >> 8;
        let words = [1, 2, 3, 7, 40, 900].into_iter();
        let mut text: String = words
            .filter(|word| (chance / word).is_multiple_of(*word))
            .map(|word| format!("word{word} ").repeat(1 + (chance as usize >> 5) % 3))
            .collect();
        text.push_str(&"filler ".repeat(chance as usize % 23));
        text
    };
    opened(&(0..20_000).map(text).collect::<Vec<_>>())
});

fn found_by(way: Way, mask: &Bits, text: &str, limit: usize) -> Vec<(f32, u32)> {
    let found = search_by(
        &[&CORPUS],
        std::slice::from_ref(mask),
        text,
        limit,
        |_, _| way,
    );
    let mut found: Vec<_> = found
        .unwrap()
        .into_iter()
        .map(|(score, _, ordinal)| (score, ordinal))
        .collect();
    found.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// One or two terms: their sum has the same bits in each order, so nothing may differ.
    #[test]
    fn both_ways_find_the_same(
        words in prop::sample::subsequence(vec![1, 2, 3, 7, 40, 900, 13], 1..=2),
        every in prop::sample::select(vec![1u32, 2, 3, 10, 97, 1_500]),
        ranges in prop::collection::vec((0u32..20_000, 1u32..600), 0..3),
        limit in prop::sample::select(vec![1usize, 10, 100, 30_000]),
    ) {
        let mut mask = Bits::from_each(20_000, (0..20_000).map(|at| at % every == every / 2));
        for (start, length) in ranges {
            (start..start + length).for_each(|at| mask.remove(at));
        }
        let text: String = words.iter().map(|word| format!("word{word} ")).collect();
        let masked = found_by(Way::Masked, &mask, &text, limit);
        prop_assert!(masked.iter().all(|(_, ordinal)| mask.contains(*ordinal)));
        prop_assert_eq!(masked, found_by(Way::Pruning, &mask, &text, limit));
    }

    /// Many terms: the sums may differ in their last bits.
    #[test]
    fn both_ways_score_many_terms_alike(every in 1u32..200) {
        let mask = Bits::from_each(20_000, (0..20_000).map(|at| at % every == 0));
        let by_ordinal = |way| -> BTreeMap<u32, f32> {
            let found = found_by(way, &mask, "word2 word3 word7 word40 word900 word13", 30_000);
            found.into_iter().map(|(score, ordinal)| (ordinal, score)).collect()
        };
        let (masked, pruned) = (by_ordinal(Way::Masked), by_ordinal(Way::Pruning));
        prop_assert!(masked.keys().eq(pruned.keys()));
        for (one, other) in masked.values().zip(pruned.values()) {
            prop_assert!((one - other).abs() <= one * 1e-4);
        }
    }
}

#[test]
fn the_mask_leads_where_it_lets_few_pass() {
    let mask = |every: u32| Bits::from_each(1_000, (0..1_000).map(|at| at % every == 0));
    assert_eq!(Way::of(&mask(1), 1_000), Way::Pruning);
    assert_eq!(Way::of(&mask(100), 1_000), Way::Masked);
}
