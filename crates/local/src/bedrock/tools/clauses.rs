//! A request taken apart into the things that it asks for.
use unicode_segmentation::UnicodeSegmentation as _;

use super::super::words::content_stems;

/// Words with which a new thing begins after an `and` or a comma.
const OPENERS: &str = " what how where when which who whose why is are was were can could does do did should would will \
 tell show find search explain create open add flag check look give list get make file raise let please also update send ";
const JOINTS: [&str; 7] = [", and ", "; and ", " and ", ", then ", " then ", "; ", ", "];

/// The clauses of a request, in order; what says nothing by itself stays with its neighbour.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut clauses: Vec<String> = Vec::new();
    for sentence in text.unicode_sentences() {
        for clause in at_joints(sentence) {
            let clause = clause.trim();
            if clause.is_empty() {
                continue;
            }
            match clauses.last_mut() {
                Some(last) if !speaks(clause) || !speaks(last) => {
                    last.push(' ');
                    last.push_str(clause);
                }
                _ => clauses.push(clause.to_owned()),
            }
        }
    }
    clauses
}

/// Two words with a meaning, so that a clause can be looked up by them.
fn speaks(clause: &str) -> bool {
    content_stems(clause).len() >= 2
}

fn at_joints(sentence: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < sentence.len() {
        let rest = &sentence[at..];
        let joint = JOINTS.iter().find(|joint| {
            rest.strip_prefix(**joint).is_some_and(|after| {
                let word = after.split(|c: char| !c.is_alphabetic()).next();
                word.is_some_and(|word| OPENERS.contains(&format!(" {} ", word.to_lowercase())))
            })
        });
        match joint {
            Some(joint) => {
                parts.push(&sentence[start..at]);
                at += joint.len();
                start = at;
            }
            None => at += rest.chars().next().map_or(1, char::len_utf8),
        }
    }
    parts.push(&sentence[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_request_is_taken_apart_where_a_new_thing_begins() {
        let check = |text: &str, expected: &[&str]| assert_eq!(split(text), expected, "{text}");
        check(
            "Where is my order ORD-1001, and how do I rotate API keys?",
            &["Where is my order ORD-1001", "how do I rotate API keys?"],
        );
        check(
            "My order is ORD-1001. Where is it?",
            &["My order is ORD-1001. Where is it?"],
        );
        check(
            "Compare apples and pears in the store",
            &["Compare apples and pears in the store"],
        );
        check(
            "Check order 12345 and tell me what the handbook says about refunds of payments",
            &[
                "Check order 12345",
                "tell me what the handbook says about refunds of payments",
            ],
        );
        check("", &[]);
    }
}
