use proptest::prelude::*;

use super::*;

const LAMP: &str = "The lamp of the lighthouse burns all night. It was lit in 1874.";
const STAIRS: &str = "The keeper climbs 1,000 stairs every evening; the AWS office pays him.";

/// The sentences of an answer, each with the passages that it is linked to.
fn linked(answer: &str) -> Vec<(String, Vec<String>)> {
    let passages = [("lamp", LAMP), ("stairs", STAIRS)];
    let grounds = passages.map(|(passage_id, text)| Ground { passage_id, text });
    let cited = BTreeMap::from([("[1]", "lamp"), ("[2]", "stairs")]);
    let supports = check(answer, &cited, &grounds);
    let text = |support: &Support| answer[support.start as usize..support.end as usize].to_owned();
    supports
        .iter()
        .inspect(|support| assert_eq!(support.supported, !support.passage_ids.is_empty()))
        .map(|support| (text(support), support.passage_ids.clone()))
        .collect()
}

#[test]
fn sentences_are_linked_or_marked() {
    let check = |answer: &str, expected: &[(&str, &[&str])]| {
        let expected: Vec<_> = expected
            .iter()
            .map(|(text, ids)| {
                let ids = ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
                ((*text).to_owned(), ids)
            })
            .collect();
        assert_eq!(linked(answer), expected, "{answer:?}");
    };
    check("", &[]);
    check(
        "The lamp of the lighthouse burns all night. [1] The keeper climbs the stairs in the evening. [2]",
        &[
            ("The lamp of the lighthouse burns all night.", &["lamp"]),
            ("The keeper climbs the stairs in the evening.", &["stairs"]),
        ],
    );
    // In other words, but cited; and the same without the citation.
    check(
        "At night a lamp is burning in the lighthouse tower [1].",
        &[(
            "At night a lamp is burning in the lighthouse tower [1].",
            &["lamp"],
        )],
    );
    check(
        "Nobody sleeps while a lamp is burning in the lighthouse tower.",
        &[(
            "Nobody sleeps while a lamp is burning in the lighthouse tower.",
            &[],
        )],
    );
    check(
        "The keeper climbs stairs every evening, it is said.",
        &[(
            "The keeper climbs stairs every evening, it is said.",
            &["stairs"],
        )],
    );
    // A number that is not there, cited or not.
    check(
        "The keeper climbs 1000 stairs every evening. [2] The keeper climbs 100 stairs every evening. [2]",
        &[
            ("The keeper climbs 1000 stairs every evening.", &["stairs"]),
            ("The keeper climbs 100 stairs every evening.", &[]),
        ],
    );
    // The wrong passage is cited, another supports it.
    check(
        "The keeper climbs the stairs every evening. [1]",
        &[("The keeper climbs the stairs every evening.", &["stairs"])],
    );
    // Both together.
    check(
        "The keeper climbs the stairs and the lamp burns all night. [1][2]",
        &[(
            "The keeper climbs the stairs and the lamp burns all night.",
            &["lamp", "stairs"],
        )],
    );
    // A marker that stands for nothing, an invented sentence, a placeholder.
    check(
        "Penguins invented the telephone in Lisbon. [7]",
        &[("Penguins invented the telephone in Lisbon.", &[])],
    );
    check(
        "The lighthouse lamp burns all night for {EMAIL}. [1]",
        &[(
            "The lighthouse lamp burns all night for {EMAIL}.",
            &["lamp"],
        )],
    );
    // What claims nothing of its own belongs to its neighbour.
    check(
        "Yes. The lamp of the lighthouse burns all night. [1]",
        &[(
            "Yes. The lamp of the lighthouse burns all night.",
            &["lamp"],
        )],
    );
    check("Yes. [1]", &[("Yes.", &["lamp"])]);
    check("Yes.", &[("Yes.", &[])]);
    // The embedded answerer's and other models' words for no answer.
    check(
        "I could not find an answer in the documents.",
        &[("I could not find an answer in the documents.", &[])],
    );
}

#[test]
fn endings_do_not_matter_and_stems_do() {
    let check = |a: &str, b: &str, same: bool| assert_eq!(same_stem(a, b), same, "{a} {b}");
    check("climbs", "climbing", true);
    check("invoice", "invoices", true);
    check("answered", "answers", true);
    check("internal", "international", false);
    check("lighthouse", "lightning", false);
    check("über", "überallhin", false);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Sentences of a passage, as they stand, are supported by it whatever else was read.
    #[test]
    fn a_quote_is_supported(order in prop::collection::vec(0usize..4, 1..6), noise in "[a-zA-Z0-9 .\\[\\]{}]{0,80}") {
        let sentences = ["The lamp of the lighthouse burns all night.", "It was lit in 1874.",
            "The keeper climbs 1,000 stairs every evening.", "The office pays him on Fridays."];
        let text = sentences.join(" ");
        let answer: String = order.iter().map(|at| format!("{} [1] ", sentences[*at])).collect();
        let grounds = [Ground { passage_id: "noise", text: &noise }, Ground { passage_id: "p", text: &text }];
        let cited = BTreeMap::from([("[1]", "p")]);
        for support in check(&answer, &cited, &grounds) {
            prop_assert!(support.passage_ids.contains(&"p".to_owned()), "{support:?} of {answer:?}");
        }
    }

    /// Ranges are in order, apart, and at character boundaries, whatever a model writes.
    #[test]
    fn ranges_are_sentences(answer in "(?s).{0,200}", marked in "[a-zäб。{}\\[\\]0-9A-Z .]{0,120}") {
        let answer = format!("{answer}{marked}");
        let grounds = [Ground { passage_id: "p", text: LAMP }];
        let mut at = 0;
        for support in check(&answer, &BTreeMap::new(), &grounds) {
            let (start, end) = (support.start as usize, support.end as usize);
            prop_assert!(start >= at && end > start && answer.get(start..end).is_some());
            at = end;
        }
    }
}
