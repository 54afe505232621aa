use proptest::prelude::*;

use super::headings::HeadingPath;
use super::*;

#[test]
fn tokens_are_counted() {
    let check = |text: &str, tokens: usize| assert_eq!(count_tokens(text), tokens, "{text:?}");
    check("", 0);
    check("one two", 2);
    check("internationalisation", 2);
    check("a, b.", 4);
}

#[test]
fn passages_stand_below_their_headings() {
    let text = "# One\n\nfirst words\n\n## Two\n\nsecond words\n\n# Three\n\nthird words";
    let heading = |level, title: &str| Heading {
        level,
        title: title.into(),
        start: text.find(&format!(" {title}")).unwrap() + 1 - usize::from(level) - 1,
    };
    let headings = [heading(1, "One"), heading(2, "Two"), heading(1, "Three")];
    let check = |needle: &str, path: &[&str]| {
        let found = HeadingPath::new(&headings).at(text.find(needle).unwrap());
        assert_eq!(found, path);
    };
    check("first", &["One"]);
    check("second", &["One", "Two"]);
    check("third", &["Three"]);
    let mut walk = HeadingPath::new(&headings);
    for needle in ["first", "second", "third"] {
        let at = text.find(needle).unwrap();
        assert_eq!(walk.at(at), HeadingPath::new(&headings).at(at));
    }
}

#[test]
fn a_word_is_whole_and_a_monster_is_cut() {
    let text = format!("start {} end", "x".repeat(10_000));
    let passages = fixed_size(
        &text,
        &[],
        &FixedSize {
            max_tokens: 64,
            overlap_percent: 0,
        },
    );
    assert!(passages.len() > 10);
    assert_eq!(
        passages.last().unwrap().text.split(' ').next_back(),
        Some("end")
    );
}

proptest! {
    /// Runs long enough to be cut: bounds hold there too, and cuts are at characters' borders.
    #[test]
    fn monsters_keep_the_bounds(
        text in "(?s)([_a-zé東🪨.]{200,700} ?){0,6}",
        max_tokens in 300usize..400,
        overlap_percent in 0usize..60,
    ) {
        let passages = fixed_size(&text, &[], &FixedSize { max_tokens, overlap_percent });
        prop_assert_eq!(&passages, &fixed_size(&text, &[], &FixedSize { max_tokens, overlap_percent }));
        let mut covered = 0;
        for passage in &passages {
            let (start, end) = (passage.start as usize, passage.end as usize);
            prop_assert_eq!(text.get(start..end), Some(passage.text.as_str()));
            prop_assert!(start <= covered || text[covered..start].trim().is_empty());
            prop_assert!(count_tokens(&passage.text) <= max_tokens);
            covered = end;
        }
        prop_assert!(text[covered..].trim().is_empty());
    }

    #[test]
    fn nothing_is_lost_and_positions_are_exact(
        text in "(?s)([a-zé]{1,12}[ .\n]{1,3}|.{0,8}){0,120}",
        max_tokens in 1usize..60,
        overlap_percent in 0usize..60,
    ) {
        let passages = fixed_size(&text, &[], &FixedSize { max_tokens, overlap_percent });
        let mut covered = 0usize;
        for (ordinal, passage) in passages.iter().enumerate() {
            let (start, end) = (passage.start as usize, passage.end as usize);
            prop_assert_eq!(passage.ordinal as usize, ordinal);
            prop_assert_eq!(text.get(start..end), Some(passage.text.as_str()));
            prop_assert!(start < end);
            if start > covered {
                prop_assert!(text[covered..start].trim().is_empty(), "text between passages is lost");
            }
            prop_assert!(end > covered, "each passage brings something new");
            covered = end;
            // Words stay whole: on both sides of a cut there is white space or the text's end.
            prop_assert!(text[..start].chars().next_back().is_none_or(char::is_whitespace));
            prop_assert!(text[end..].chars().next().is_none_or(char::is_whitespace));
            let single = passage.text.split_whitespace().count() == 1;
            prop_assert!(single || count_tokens(&passage.text) <= max_tokens);
        }
        prop_assert!(text[covered..].trim().is_empty());
    }
}
