//! Measures of a ranking against judged documents.

use std::collections::{BTreeMap, BTreeSet};

/// nDCG at `k`: Σ 1/log2(rank + 1) over relevant results, divided by the best possible sum. 0 where nothing is relevant.
///
/// Source: Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", 2002, with binary gains.
pub fn ndcg_at(ranking: &[&str], relevant: &BTreeSet<&str>, k: usize) -> f64 {
    let gain = |rank: usize| 1.0 / ((rank + 2) as f64).log2();
    let best: f64 = (0..relevant.len().min(k)).map(gain).sum();
    let got: f64 = ranking
        .iter()
        .take(k)
        .enumerate()
        .filter(|(_, document)| relevant.contains(*document))
        .map(|(rank, _)| gain(rank))
        .sum();
    if best == 0.0 { 0.0 } else { got / best }
}

/// nDCG at `k` for graded judgements: Σ grade/log2(rank + 1), divided by the best possible sum. 0 where nothing is relevant.
///
/// Source: as [`ndcg_at`], with the grade itself as gain, as `trec_eval` has it; with grades of 1 the two are one.
pub fn graded_ndcg_at(ranking: &[&str], grades: &BTreeMap<&str, u32>, k: usize) -> f64 {
    let sum = |gains: &mut dyn Iterator<Item = u32>| -> f64 {
        gains
            .take(k)
            .zip(2u32..)
            .map(|(gain, rank)| f64::from(gain) / f64::from(rank).log2())
            .sum()
    };
    let mut ideal: Vec<u32> = grades.values().copied().collect();
    ideal.sort_unstable_by(|left, right| right.cmp(left));
    let best = sum(&mut ideal.into_iter());
    let got = sum(&mut ranking
        .iter()
        .map(|document| grades.get(document).copied().unwrap_or(0)));
    if best == 0.0 { 0.0 } else { got / best }
}

/// The share of the relevant documents among the first `k` results. 0 where nothing is relevant.
pub fn recall_at(ranking: &[&str], relevant: &BTreeSet<&str>, k: usize) -> f64 {
    if relevant.is_empty() {
        return 0.0;
    }
    let found = ranking
        .iter()
        .take(k)
        .filter(|document| relevant.contains(*document))
        .count();
    found as f64 / relevant.len() as f64
}

/// One over the rank of the first relevant result among the first `k`; 0 where there is none.
pub fn reciprocal_rank_at(ranking: &[&str], relevant: &BTreeSet<&str>, k: usize) -> f64 {
    let first = ranking
        .iter()
        .take(k)
        .position(|document| relevant.contains(document));
    first.map_or(0.0, |rank| 1.0 / (rank + 1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_agree_with_the_arithmetic() {
        let relevant: BTreeSet<&str> = ["a", "c"].into();
        let check = |ranking: &[&str], ndcg: f64, recall: f64, rank: f64| {
            let close =
                |left: f64, right: f64| assert!((left - right).abs() < 1e-9, "{left} {right}");
            close(ndcg_at(ranking, &relevant, 3), ndcg);
            close(recall_at(ranking, &relevant, 3), recall);
            close(reciprocal_rank_at(ranking, &relevant, 3), rank);
        };
        let third = 1.0 / 4f64.log2();
        let best = 1.0 + 1.0 / 3f64.log2();
        let graded: BTreeMap<&str, u32> = relevant.iter().map(|document| (*document, 1)).collect();
        for ranking in [&["b", "d", "c"][..], &["a", "b", "c"], &[]] {
            let (binary, graded) = (
                ndcg_at(ranking, &relevant, 3),
                graded_ndcg_at(ranking, &graded, 3),
            );
            assert!((binary - graded).abs() < 1e-9, "{ranking:?}");
        }
        let graded = graded_ndcg_at(&["c", "b", "a"], &[("a", 3), ("c", 1)].into(), 3);
        let ideal = 3.0 + 1.0 / 3f64.log2();
        assert!((graded - (1.0 + 3.0 / 4f64.log2()) / ideal).abs() < 1e-9);
        check(&["a", "c", "b"], 1.0, 1.0, 1.0);
        check(&["a", "b", "c"], (1.0 + third) / best, 1.0, 1.0);
        check(&["b", "d", "c"], third / best, 0.5, 1.0 / 3.0);
        check(&["b", "d", "e", "a"], 0.0, 0.0, 0.0);
        check(&[], 0.0, 0.0, 0.0);
    }
}
