//! The table of examples: lines of `TYPE⇥text with [[what is to be found]]`, or `-⇥text` where nothing is.
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const EXAMPLES: &str = include_str!("examples.tsv");

#[derive(Default)]
struct Count {
    found: usize,
    missed: usize,
    wrong: usize,
}

fn examples() -> impl Iterator<Item = (&'static str, String, Option<Range<usize>>)> {
    EXAMPLES
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(kind, marked)| {
            let range = marked.find("[[").zip(marked.find("]]"));
            let text = marked.replace("[[", "").replace("]]", "");
            (kind, text, range.map(|(start, end)| start..end - 2))
        })
}

/// Precision and recall over the table, type by type. Whoever changes a pattern sees here what it is worth.
#[test]
fn precision_and_recall_are_what_the_table_says() {
    let mut counts: BTreeMap<&str, Count> = BTreeMap::new();
    let mut misses = Vec::new();
    for (kind, text, expected) in examples() {
        let found = find(&text, |_| true);
        if let Some(expected) = &expected {
            let count = counts.entry(kind).or_default();
            match found
                .iter()
                .any(|hit| hit.name == kind && hit.range == *expected)
            {
                true => count.found += 1,
                false => {
                    count.missed += 1;
                    misses.push(format!("missed {kind}: {text}"));
                }
            }
        }
        for hit in found {
            if expected.as_ref() != Some(&hit.range) || hit.name != kind {
                counts.entry(hit.name).or_default().wrong += 1;
                misses.push(format!("wrong {}: {text}", hit.name));
            }
        }
    }
    let total = counts.values().fold((0, 0, 0), |sum, count| {
        (
            sum.0 + count.found,
            sum.1 + count.missed,
            sum.2 + count.wrong,
        )
    });
    let share =
        |part: usize, rest: usize| format!("{:.3}", part as f64 / (part + rest).max(1) as f64);
    let mut table = format!(
        "{} examples, {} with personal data\nprecision {} recall {}\n\n",
        examples().count(),
        examples().filter(|(_, _, range)| range.is_some()).count(),
        share(total.0, total.2),
        share(total.0, total.1),
    );
    for (kind, count) in &counts {
        table += &format!(
            "{kind}: found {}, missed {}, wrong {}\n",
            count.found, count.missed, count.wrong
        );
    }
    table += &format!("\n{}\n", misses.join("\n"));
    insta::assert_snapshot!(table);
    assert!(examples().count() >= 200);
}

#[test]
fn types_are_awss() {
    assert_eq!(kinds::KINDS.len(), 31);
    assert!(check_type("EMAIL").is_ok() && check_type("FAVOURITE_COLOUR").is_err());
}

#[test]
fn only_wanted_types_are_found() {
    let found = find("ann@example.com, 078-05-1120", |name| name == "EMAIL");
    assert_eq!(found.len(), 1);
}

proptest! {
    #[test]
    fn finds_are_in_order_and_apart(text in "(?s).{0,120}|[0-9 @.+-]{0,80}") {
        let found = find(&text, |_| true);
        for pair in found.windows(2) {
            prop_assert!(pair[0].range.end <= pair[1].range.start);
        }
        for hit in found {
            prop_assert!(text.get(hit.range).is_some_and(|part| !part.is_empty()));
        }
    }
}
