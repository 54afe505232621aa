use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use retrieval::{EmbeddedPassage, LiveSegment, Passage, Segment, SegmentDocument};

use super::*;

fn hit(start: u64, text: &str) -> Hit {
    Hit {
        passage_id: "default.1.00000000.0".into(),
        document_id: "default.1".into(),
        title: "Title".into(),
        uri: "s3://bucket/title.txt".into(),
        content_hash: "00".into(),
        heading_path: Vec::new(),
        pages: Vec::new(),
        parent: None,
        text: text.into(),
        start,
        end: start + text.len() as u64,
        score: 1.0,
        lexical_rank: None,
        vector_rank: None,
    }
}

const TEXT: &str =
    "The lamp of the lighthouse burns all night. The keeper of the lighthouse sleeps by day.";

/// An index of one document that Ada alone may read, and the id of its one passage.
fn adas_index() -> (Index, String) {
    let hash = "0123456789abcdef".repeat(4);
    let passage = Passage {
        ordinal: 0,
        start: 7,
        end: 7 + TEXT.len() as u64,
        heading_path: Vec::new(),
        pages: Vec::new(),
        parent: None,
        text: TEXT.into(),
    };
    let document = SegmentDocument {
        document_id: "default.1".into(),
        title: "Lighthouse".into(),
        uri: "s3://bucket/lighthouse.txt".into(),
        content_hash: hash.clone(),
        readers: vec!["user:ada".into()],
        metadata: BTreeMap::new(),
        passages: vec![EmbeddedPassage {
            passage,
            vector: vec![0.5; 8],
        }],
    };
    let file = retrieval::segment::build(8, "m", &[document]).unwrap();
    let segment = Arc::new(Segment::from_bytes(file).unwrap());
    let live = LiveSegment {
        segment,
        dead_documents: BTreeSet::new(),
    };
    (
        Index::new(vec![live]).unwrap(),
        retrieval::passage_id("default.1", &hash, 0),
    )
}

#[test]
fn citations_get_their_markers_in_order_and_once() {
    let (index, id) = adas_index();
    let ada = Mask::Principals(vec!["user:ada".into()]);
    let sources = [Source::new(index.passage(&id, &ada).unwrap())];
    let mut citations = Citations::new(&sources, &index, &ada);
    let mut check = |start: usize, end: usize, expected: Option<(&str, bool)>| {
        let placed = citations.place(0, start, end);
        let found = placed
            .as_ref()
            .map(|(citation, new)| (citation.marker.as_str(), *new));
        assert_eq!(found, expected, "{start}..{end}");
    };
    check(1, 2, Some(("[1]", true)));
    check(0, 2, Some(("[2]", true)));
    check(1, 2, Some(("[1]", false)));
    check(1, 3, None);
    check(2, 2, None);
    assert!(citations.place(1, 0, 1).is_none(), "there is one source");
    assert_eq!(citations.unresolved, 3);
    let claimed = citations
        .place_claim(0, "By day the keeper sleeps")
        .unwrap();
    assert_eq!((claimed.0.marker.as_str(), claimed.1), ("[1]", false));
    let placed = citations.placed;
    assert_eq!(
        placed[0].quote,
        "The keeper of the lighthouse sleeps by day."
    );
    assert_eq!((placed[1].start, placed[1].end), (7, 7 + TEXT.len() as u64));
}

#[test]
fn nobody_is_quoted_what_they_may_not_read() {
    let (index, id) = adas_index();
    let sources = [Source::new(index.passage(&id, &Mask::Everything).unwrap())];
    let bob = Mask::Principals(vec!["user:bob".into(), "everyone".into()]);
    let mut citations = Citations::new(&sources, &index, &bob);
    assert!(citations.place(0, 0, 1).is_none());
    assert_eq!(citations.unresolved, 1);
}

#[test]
fn a_passage_is_cut_into_sentences() {
    let check = |text: &str, expected: &[&str]| {
        let found: Vec<&str> = sentences(text)
            .into_iter()
            .map(|range| &text[range])
            .collect();
        assert_eq!(found, expected, "{text:?}");
    };
    check("", &[]);
    check("  \n ", &[]);
    check(
        "One sentence stands alone here.",
        &["One sentence stands alone here."],
    );
    check(
        "The first sentence is long enough. The second sentence is long enough.",
        &[
            "The first sentence is long enough.",
            "The second sentence is long enough.",
        ],
    );
    check(
        "This one is long enough to stand. So.",
        &["This one is long enough to stand. So."],
    );
    check(
        "A sentence that an editor wrapped at its margin\r\ngoes on here. The next one begins here.",
        &[
            "A sentence that an editor wrapped at its margin\r\ngoes on here.",
            "The next one begins here.",
        ],
    );
    check(
        "- the first item of a list, long enough\n- the second item of a list, long enough",
        &[
            "- the first item of a list, long enough",
            "- the second item of a list, long enough",
        ],
    );
    check(
        "# A heading\n\nThe text below the heading says more.",
        &["# A heading", "The text below the heading says more."],
    );
}

#[test]
fn markers_are_found_over_any_split() {
    let check = |deltas: &[&str], expected: &[Piece]| {
        let mut reader = MarkerReader::default();
        let mut pieces: Vec<Piece> = Vec::new();
        let found = deltas
            .iter()
            .flat_map(|delta| reader.push(delta))
            .collect::<Vec<_>>();
        for piece in found.into_iter().chain(reader.finish()) {
            match piece {
                Piece::Text(text) => push_text(&mut pieces, text),
                marker => pieces.push(marker),
            }
        }
        assert_eq!(pieces, expected, "{deltas:?}");
    };
    let text = |text: &str| Piece::Text(text.into());
    check(&["a [1] b"], &[text("a "), Piece::Marker(1), text(" b")]);
    check(
        &["a [", "1", "2", "] b"],
        &[text("a "), Piece::Marker(12), text(" b")],
    );
    check(&["[1][2]"], &[Piece::Marker(1), Piece::Marker(2)]);
    check(
        &["a [1, ", "2]"],
        &[text("a "), Piece::Marker(1), Piece::Marker(2)],
    );
    check(&["[1, x] [,] [ ]"], &[text("[1, x] [,] [ ]")]);
    check(&["see [note] and [", "x]"], &[text("see [note] and [x]")]);
    check(&["[1234]"], &[text("[1234]")]);
    check(&["open ["], &[text("open [")]);
    check(&["open [1"], &[text("open [1")]);
}

proptest! {
    #[test]
    fn sentences_are_slices_in_order(text in "(?s).{0,400}") {
        let mut last = 0;
        let ranges = sentences(&text);
        let kept: usize = ranges.iter().map(|range| text[range.clone()].split_whitespace().map(str::len).sum::<usize>()).sum();
        for range in ranges {
            prop_assert!(range.start >= last && range.end > range.start);
            last = range.end;
        }
        let all: usize = text.split_whitespace().map(str::len).sum();
        prop_assert_eq!(kept, all, "no text is lost");
    }

    #[test]
    fn no_text_is_lost_to_the_marker_reader(deltas in prop::collection::vec("[a\\[\\]0-9]{0,6}", 0..12)) {
        let mut reader = MarkerReader::default();
        let mut back = String::new();
        let mut pieces: Vec<Piece> = deltas.iter().flat_map(|delta| reader.push(delta)).collect();
        pieces.extend(reader.finish());
        for piece in pieces {
            match piece {
                Piece::Text(text) => back.push_str(&text),
                Piece::Marker(number) => back.push_str(&format!("[{number}]")),
            }
        }
        // A marker with leading zeros comes back without them.
        let plain = |text: &str| text.replace('0', "");
        prop_assert_eq!(plain(&back), plain(&deltas.concat()));
    }

    #[test]
    fn a_quote_is_the_documents_bytes(
        before in "(?s).{0,40}", text in "(?s)(.{0,60}[.!?\n] ?){1,6}",
        start in 0usize..8, end in 0usize..8,
    ) {
        let document = format!("{before}{text}");
        let hit = hit(before.len() as u64, &text);
        let source = Source::new(hit.clone());
        let quote = source.quote(&hit, start, end);
        prop_assert_eq!(quote.is_some(), start.max(end.saturating_sub(1)) < source.sentences.len());
        if let Some(quote) = quote {
            prop_assert_eq!(&document[quote.start as usize..quote.end as usize], quote.text);
            // Other bytes in the store, or the same bytes elsewhere: the citation does not resolve.
            let other = Hit { text: "#".repeat(text.len()), ..hit.clone() };
            prop_assert_eq!(quote.text.bytes().all(|byte| byte == b'#'), source.quote(&other, start, end).is_some());
            let moved = Hit { start: hit.start + 1, ..hit };
            prop_assert_eq!(source.quote(&moved, start, end), None);
        }
    }

    #[test]
    fn byte_ranges_lie_in_the_text(text in "(?s).{1,300}", start in 0usize..20, end in 0usize..20) {
        let ranges = sentences(&text);
        if let Some(range) = byte_range(&ranges, start, end) {
            prop_assert!(text.get(range).is_some_and(|quote| !quote.is_empty()));
        }
    }
}
