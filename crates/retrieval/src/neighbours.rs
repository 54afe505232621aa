//! Neighbouring passages of a document as one result: passages overlap, and an answer that spans two of them reads better whole.

use std::collections::BTreeSet;

use crate::{Hit, PageMark, passage_id};

/// The longest text that results are merged to, in bytes: about eight passages of 512 tokens.
const MERGED_BYTES: u64 = 16 << 10;

/// The longest parent that a result is answered with, in bytes.
const PARENT_BYTES: usize = 64 << 10;

/// Takes results, best first, and merges those of one version of one document whose byte ranges touch or overlap. The
/// better one stays where it is, with its id, ranks and score, and covers both ranges; so no merging changes the order of
/// what is left. A result that would become longer than 16 KiB is left as it is.
pub fn merge_neighbours(hits: Vec<Hit>) -> Vec<Hit> {
    let mut left: Vec<Option<Hit>> = hits.into_iter().map(Some).collect();
    let mut merged = Vec::new();
    for at in 0..left.len() {
        let Some(mut best) = left[at].take() else {
            continue;
        };
        // What was taken in may touch what did not touch before.
        while let Some(joined) = left[at + 1..].iter_mut().find_map(|place| {
            let joined = joined(&best, place.as_ref()?)?;
            place.take();
            Some(joined)
        }) {
            best = joined;
        }
        merged.push(best);
    }
    merged
}

/// A result as the larger passage that it is a part of; `sibling` finds the others by their ids. As it is where it is no
/// part, or one of the others is not there or does not touch the one before.
pub fn with_siblings(hit: Hit, sibling: impl Fn(&str) -> Option<Hit>) -> Hit {
    let Some(parent) = hit.parent else {
        return hit;
    };
    let mut text = String::new();
    let (mut first, mut pages): (Option<Hit>, Vec<PageMark>) = (None, Vec::new());
    for ordinal in (parent.first..).take(parent.count as usize) {
        let id = passage_id(&hit.document_id, &hit.content_hash, ordinal);
        let Some(next) = sibling(&id).filter(|next| next.parent == hit.parent) else {
            return hit;
        };
        let begins = first.as_ref().map_or(next.start, |first| first.start);
        if begins + text.len() as u64 != next.start || text.len() > PARENT_BYTES {
            return hit;
        }
        let so_far = Hit {
            pages,
            start: begins,
            ..next.clone()
        };
        pages = match first.is_some() {
            true => joined_pages(&so_far, &next),
            false => next.pages.clone(),
        };
        text.push_str(&next.text);
        first.get_or_insert(next);
    }
    let Some(first) = first else {
        return hit;
    };
    Hit {
        start: first.start,
        end: first.start + text.len() as u64,
        heading_path: first.heading_path,
        pages,
        text,
        ..hit
    }
}

/// Takes results, best first, and answers each with the larger passage that it is a part of, that once.
pub fn to_parents(hits: Vec<Hit>, sibling: impl Fn(&str) -> Option<Hit>) -> Vec<Hit> {
    let mut seen = BTreeSet::new();
    hits.into_iter()
        .filter(|hit| {
            let part = |first: u32| (hit.document_id.clone(), hit.content_hash.clone(), first);
            hit.parent
                .is_none_or(|parent| seen.insert(part(parent.first)))
        })
        .map(|hit| with_siblings(hit, &sibling))
        .collect()
}

/// The better result over both ranges; `None` when they are no neighbours.
fn joined(best: &Hit, other: &Hit) -> Option<Hit> {
    let same = (&best.document_id, &best.content_hash) == (&other.document_id, &other.content_hash);
    let touch = best.start <= other.end && other.start <= best.end;
    let (start, end) = (best.start.min(other.start), best.end.max(other.end));
    if !same || !touch || end - start > MERGED_BYTES {
        return None;
    }
    let (first, second) = match best.start <= other.start {
        true => (best, other),
        false => (other, best),
    };
    // The second may lie within the first.
    let repeated = usize::try_from(first.end - second.start).ok()?;
    let more = second.text.get(repeated..).unwrap_or_default();
    Some(Hit {
        pages: joined_pages(first, second),
        text: format!("{}{more}", first.text),
        start,
        end,
        ..best.clone()
    })
}

/// The page marks of both, counted from the first one's start.
fn joined_pages(first: &Hit, second: &Hit) -> Vec<PageMark> {
    let shift = second.start.saturating_sub(first.start) as u32;
    let mut pages = first.pages.clone();
    for mark in &second.pages {
        if pages.last().is_none_or(|last| last.page < mark.page) {
            let at = mark.at + shift;
            pages.push(PageMark { at, ..*mark });
        }
    }
    pages
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Siblings;

    const TEXT: &str = "Granite – hard. Basalt – dark. Chalk – soft. Slate – flat. Marble – white.";

    pub(crate) fn hit(document: &str, start: usize, end: usize, score: f32) -> Hit {
        Hit {
            passage_id: format!("{document}.{start}"),
            document_id: document.to_owned(),
            title: String::new(),
            uri: String::new(),
            content_hash: String::new(),
            heading_path: Vec::new(),
            pages: Vec::new(),
            parent: None,
            text: TEXT[start..end].to_owned(),
            start: start as u64,
            end: end as u64,
            score,
            lexical_rank: None,
            vector_rank: None,
        }
    }

    #[test]
    fn what_touches_is_one_result() {
        let check = |hits: &[(&str, usize, usize)], expected: &[(&str, usize, usize)]| {
            let hit = |(number, (document, start, end)): (usize, &(&str, usize, usize))| {
                hit(document, *start, *end, -(number as f32))
            };
            let merged = merge_neighbours(hits.iter().enumerate().map(hit).collect());
            let shown: Vec<_> = merged
                .iter()
                .map(|hit| {
                    (
                        hit.document_id.as_str(),
                        hit.start as usize,
                        hit.end as usize,
                    )
                })
                .collect();
            assert_eq!(shown, expected, "{hits:?}");
            for hit in merged {
                assert_eq!(hit.text, TEXT[hit.start as usize..hit.end as usize]);
            }
        };
        check(&[], &[]);
        check(&[("a", 0, 17)], &[("a", 0, 17)]);
        check(&[("a", 0, 17), ("a", 11, 32)], &[("a", 0, 32)]);
        check(
            &[("a", 11, 32), ("b", 0, 17), ("a", 0, 17)],
            &[("a", 0, 32), ("b", 0, 17)],
        );
        check(&[("a", 0, 17), ("a", 17, 32)], &[("a", 0, 32)]);
        check(
            &[("a", 0, 17), ("a", 18, 32)],
            &[("a", 0, 17), ("a", 18, 32)],
        );
        check(&[("a", 0, 17), ("a", 4, 8)], &[("a", 0, 17)]);
        check(&[("a", 4, 8), ("a", 0, 17)], &[("a", 0, 17)]);
        // The third makes neighbours of the first and the second.
        check(&[("a", 0, 8), ("a", 17, 32), ("a", 8, 18)], &[("a", 0, 32)]);
    }

    #[test]
    fn other_versions_and_long_texts_stay_apart() {
        let mut old = hit("a", 0, 17, 1.0);
        old.content_hash = "old".to_owned();
        assert_eq!(merge_neighbours(vec![old, hit("a", 0, 17, 0.5)]).len(), 2);
        let long = |start: u64| Hit {
            start,
            end: start + 10_000,
            text: "x".repeat(10_000),
            ..hit("a", 0, 0, 1.0)
        };
        assert_eq!(merge_neighbours(vec![long(0), long(9_000)]).len(), 2);
        assert_eq!(merge_neighbours(vec![long(0), long(6_000)]).len(), 1);
    }

    #[test]
    fn a_part_is_answered_with_its_whole() {
        let parent = Some(Siblings { first: 0, count: 3 });
        let part = |ordinal: u32, start: usize, end: usize| Hit {
            passage_id: passage_id("a", "", ordinal),
            heading_path: vec![format!("h{ordinal}")],
            pages: vec![PageMark {
                at: 0,
                page: ordinal / 2 + 1,
            }],
            parent,
            ..hit("a", start, end, 0.5)
        };
        let parts = [part(0, 0, 17), part(1, 17, 33), part(2, 33, 48)];
        let find = |id: &str| parts.iter().find(|part| part.passage_id == id).cloned();
        let whole = with_siblings(parts[1].clone(), find);
        assert_eq!(whole.text, TEXT[..48]);
        assert_eq!((whole.start, whole.end), (0, 48));
        assert_eq!(whole.passage_id, parts[1].passage_id);
        assert_eq!(whole.heading_path, ["h0"]);
        assert_eq!(
            whole.pages,
            [PageMark { at: 0, page: 1 }, PageMark { at: 33, page: 2 }]
        );
        // Each whole once, at the place of its best part; others stay as they are.
        let hits = vec![parts[2].clone(), hit("b", 0, 8, 0.4), parts[0].clone()];
        let shown = to_parents(hits, find);
        assert_eq!(shown.len(), 2);
        assert_eq!(shown[0].text, TEXT[..48]);
        assert_eq!(shown[1].document_id, "b");
        // A part that is not there, or may not be seen, leaves the others as they are.
        let lost = |id: &str| find(id).filter(|part| part.start > 0);
        assert_eq!(with_siblings(parts[1].clone(), lost), parts[1]);
    }

    proptest! {
        /// Every byte that was found is still there, once, and nothing else.
        #[test]
        fn nothing_is_lost_or_twice(ranges in prop::collection::vec((0usize..60, 1usize..14), 0..12)) {
            let ascii = |at: usize| (b'a' + (at % 26) as u8) as char;
            let hits: Vec<Hit> = ranges.iter().map(|(start, length)| Hit {
                start: *start as u64,
                end: (start + length) as u64,
                text: (*start..start + length).map(ascii).collect(),
                ..hit("a", 0, 0, 0.0)
            }).collect();
            let mut found = [0; 80];
            for at in hits.iter().flat_map(|hit| hit.start..hit.end) {
                found[at as usize] = 1;
            }
            let mut shown = [0; 80];
            for hit in merge_neighbours(hits) {
                let expected: String = (hit.start as usize..hit.end as usize).map(ascii).collect();
                prop_assert_eq!(&hit.text, &expected);
                (hit.start..hit.end).for_each(|at| shown[at as usize] += 1);
            }
            prop_assert_eq!(found, shown);
        }
    }
}
