use std::collections::BTreeMap;
use std::sync::LazyLock;

use proptest::prelude::*;
use tantivy::directory::OwnedBytes;
use tantivy::query::{BooleanQuery, EnableScoring, Occur, Query, TermQuery};

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

/// By ordinal, best first and equals in order.
fn found(mask: &Bits, text: &str, limit: usize) -> Vec<(f32, u32)> {
    let found = search(&[&CORPUS], std::slice::from_ref(mask), text, limit).unwrap();
    let mut found: Vec<_> = found
        .into_iter()
        .map(|(score, _, ordinal)| (score, ordinal))
        .collect();
    found.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
    found
}

/// Every passage's score by tantivy's own search.
fn scored_by_tantivy(text: &str) -> BTreeMap<u32, f32> {
    let clauses = query_terms(text).into_iter().map(|word| {
        let term = Term::from_field_text(CORPUS.field, &word);
        let query = TermQuery::new(term, IndexRecordOption::WithFreqs);
        (Occur::Should, Box::new(query) as Box<dyn Query>)
    });
    let query = BooleanQuery::new(clauses.collect());
    let weight = query
        .weight(EnableScoring::enabled_from_searcher(&CORPUS.searcher))
        .unwrap();
    let mut scores = BTreeMap::new();
    for reader in CORPUS.searcher.segment_readers() {
        let mut keep = |ordinal, score| {
            scores.insert(ordinal, score);
        };
        weight.for_each(reader, &mut keep).unwrap();
    }
    scores
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_best_allowed_are_found_with_tantivys_scores(
        words in prop::sample::subsequence(vec![1, 2, 3, 7, 40, 900, 13], 1..=6),
        every in prop::sample::select(vec![1u32, 2, 3, 10, 97, 1_500]),
        ranges in prop::collection::vec((0u32..20_000, 1u32..600), 0..3),
        limit in prop::sample::select(vec![1usize, 10, 100, 30_000]),
    ) {
        let ordinals: Vec<u32> = (0..20_000).collect();
        let mut mask = Bits::from_slice(&ordinals, |at| at % every == every / 2);
        for (start, length) in ranges {
            (start..start + length).for_each(|at| mask.remove(at));
        }
        let text: String = words.iter().map(|word| format!("word{word} ")).collect();
        let mut wanted: Vec<(f32, u32)> = scored_by_tantivy(&text)
            .into_iter()
            .filter(|(ordinal, _)| mask.contains(*ordinal))
            .map(|(ordinal, score)| (score, ordinal))
            .collect();
        wanted.sort_by(|left, right| right.0.total_cmp(&left.0));
        let all = found(&mask, &text, 30_000);
        prop_assert_eq!(all.len(), wanted.len());
        // The terms' order differs, so the last bits of the sums do.
        for ((one, _), (other, _)) in all.iter().zip(&wanted) {
            prop_assert!((one - other).abs() <= one * 1e-5);
        }
        // Pruned, the best and their equals have the very bits of the unpruned search.
        let least = all.get(limit - 1).map_or(f32::MIN, |last| last.0);
        let best: Vec<_> = all.into_iter().filter(|(score, _)| *score >= least).collect();
        prop_assert_eq!(found(&mask, &text, limit), best);
    }

    /// Cut anywhere into segments, the same passages are found with the same bits.
    #[test]
    fn segments_change_nothing(cut in 1usize..599, limit in 1usize..40) {
        let texts: Vec<String> = (0..600u32).map(|number| {
            let chance = number.wrapping_mul(2_654_435_761) >> 8;
            let words = [1u32, 2, 3, 7].into_iter().filter(|word| (chance / word).is_multiple_of(*word));
            words.map(|word| format!("word{word} ")).collect::<String>() + &"filler ".repeat(chance as usize % 23)
        }).collect();
        let find = |parts: &[&[String]]| {
            let lexicons: Vec<Lexicon> = parts.iter().map(|part| opened(part)).collect();
            let masks: Vec<Bits> = parts.iter().map(|part| Bits::all(part.len() as u32)).collect();
            let lexicons: Vec<&Lexicon> = lexicons.iter().collect();
            let found = search(&lexicons, &masks, "word1 word2 word3 word7 filler", limit).unwrap();
            let first = |segment: u32| if segment == 0 { 0 } else { parts[0].len() as u32 };
            let mut found: Vec<(u32, u32)> = found
                .into_iter()
                .map(|(score, segment, ordinal)| (score.to_bits(), first(segment) + ordinal))
                .collect();
            found.sort_unstable();
            found
        };
        prop_assert_eq!(find(&[&texts]), find(&[&texts[..cut], &texts[cut..]]));
    }
}
