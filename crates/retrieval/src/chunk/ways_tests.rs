//! What every way of chunking promises: no text lost, positions exact, bounds kept.

use proptest::prelude::*;

use super::*;
use crate::Siblings;

/// A text with headings at the starts of some of its words, levels as they come.
fn documents() -> impl Strategy<Value = (String, Vec<Heading>)> {
    let text = "(?s)([a-zé]{1,12}[ .\n]{1,3}|.{0,8}){0,120}";
    (text, prop::collection::vec((0usize..200, 1u8..7), 0..12)).prop_map(|(text, places)| {
        let words: Vec<usize> = words(&text).iter().map(|word| word.start).collect();
        let mut headings: Vec<Heading> = places
            .into_iter()
            .filter_map(|(word, level)| {
                let start = *words.get(word)?;
                let title = format!("h{start}");
                Some(Heading {
                    level,
                    title,
                    start,
                })
            })
            .collect();
        headings.sort_by_key(|heading| heading.start);
        headings.dedup_by_key(|heading| heading.start);
        (text, headings)
    })
}

/// Positions are exact, nothing that can be seen is missing, and nothing is there twice.
fn whole(text: &str, passages: &[Passage], max_tokens: usize) -> Result<(), TestCaseError> {
    let mut covered = 0;
    for (ordinal, passage) in passages.iter().enumerate() {
        let (start, end) = (passage.start as usize, passage.end as usize);
        prop_assert_eq!(passage.ordinal as usize, ordinal);
        prop_assert_eq!(text.get(start..end), Some(passage.text.as_str()));
        prop_assert!(covered <= start && start < end);
        prop_assert!(text[covered..start].trim().is_empty(), "text is lost");
        prop_assert!(!passage.text.trim().is_empty());
        let single = passage.text.split_whitespace().count() == 1;
        prop_assert!(single || count_tokens(&passage.text) <= max_tokens);
        covered = end;
    }
    prop_assert!(text[covered..].trim().is_empty());
    Ok(())
}

proptest! {
    #[test]
    fn by_heading_keeps_sections_apart((text, headings) in documents(), max_tokens in 1usize..80) {
        let passages = by_heading(&text, &headings, max_tokens);
        whole(&text, &passages, max_tokens)?;
        for passage in &passages {
            let inside = headings.iter().filter(|heading| {
                (passage.start..passage.end).contains(&(heading.start as u64))
            });
            // Short openings alone share a passage with what they open: of deeper and deeper levels.
            let levels: Vec<u8> = inside.map(|heading| heading.level).collect();
            let begins = headings.iter().any(|heading| heading.start as u64 == passage.start);
            prop_assert!(levels.is_sorted_by(|above, below| above < below), "{levels:?}");
            prop_assert!(levels.len() < 2 || begins);
        }
    }

    #[test]
    fn children_are_their_parents(
        (text, headings) in documents(),
        parent_tokens in 20usize..100,
        child_tokens in 1usize..20,
    ) {
        let passages = hierarchical(&text, &headings, parent_tokens, child_tokens);
        whole(&text, &passages, child_tokens)?;
        let mut at = 0;
        while at < passages.len() {
            let siblings = passages[at].parent.unwrap_or(Siblings { first: at as u32, count: 1 });
            prop_assert_eq!(siblings.first as usize, at);
            let children = &passages[at..at + siblings.count as usize];
            prop_assert!(children.iter().all(|child| child.parent == passages[at].parent));
            let joined: String = children.iter().map(|child| child.text.as_str()).collect();
            let (start, end) = (children[0].start as usize, children[children.len() - 1].end as usize);
            prop_assert_eq!(&joined, &text[start..end]);
            let single = joined.split_whitespace().count() == 1;
            prop_assert!(single || count_tokens(&joined) <= parent_tokens);
            at += children.len();
        }
    }

    #[test]
    fn semantic_keeps_all(
        (text, headings) in documents(),
        max_tokens in 1usize..80,
        breaks in prop::collection::btree_set(0usize..60, 0..8),
    ) {
        let sentences = semantic::Sentences::new(&text, max_tokens);
        let breaks: Vec<usize> = breaks.into_iter().collect();
        whole(&text, &sentences.cut(&headings, &breaks), max_tokens)?;
        let windows = sentences.windows();
        prop_assert!(windows.iter().all(|window| text.contains(window.as_str())));
    }

    #[test]
    fn a_document_that_is_not_cut_is_one_passage((text, headings) in documents()) {
        let passages = cut(&text, &headings, &Chunking::None);
        prop_assert_eq!(passages.len(), usize::from(!text.trim().is_empty()));
        whole(&text, &passages, usize::MAX)?;
    }
}

#[test]
fn sections_begin_at_their_headings() {
    let text = "Title\n\nOne\n\nfirst words\n\nTwo\n\nsecond words";
    let heading = |level, title: &str| Heading {
        level,
        title: title.into(),
        start: text.find(title).unwrap(),
    };
    let headings = [heading(1, "Title"), heading(2, "One"), heading(2, "Two")];
    let passages = by_heading(text, &headings, 512);
    let shown: Vec<(&str, Vec<&str>)> = passages
        .iter()
        .map(|passage| {
            let path = passage.heading_path.iter().map(String::as_str).collect();
            (passage.text.as_str(), path)
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("Title\n\nOne\n\nfirst words", vec!["Title"]),
            ("Two\n\nsecond words", vec!["Title", "Two"]),
        ]
    );
}
