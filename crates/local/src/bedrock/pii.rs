//! Personal data and keys in a text, by pattern and, where the pattern alone would cry wolf, by check.
use std::sync::LazyLock;

use regex::Regex;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PiiAction {
    Block,
    Anonymize,
}

/// One kind of personal data: AWS's name for it, what the guardrail does, the pattern and its check.
struct Kind {
    name: &'static str,
    action: PiiAction,
    pattern: Option<Regex>,
    check: fn(&str) -> bool,
}

/// A find in a text, as a byte range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: &'static str,
    pub(super) action: PiiAction,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// In order of precedence: of two finds that overlap, the kind named first wins.
static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    use PiiAction::{Anonymize, Block};
    let kind = |name, action, pattern: &str, check| Kind {
        name,
        action,
        pattern: Regex::new(pattern).ok(),
        check,
    };
    vec![
        kind(
            "AWS_ACCESS_KEY",
            Block,
            r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
            |_| true,
        ),
        kind(
            "CREDIT_DEBIT_CARD_NUMBER",
            Block,
            r"\b\d(?:[ -]?\d){12,18}\b",
            is_card,
        ),
        kind(
            "US_SOCIAL_SECURITY_NUMBER",
            Anonymize,
            r"\b\d{3}-\d{2}-\d{4}\b",
            is_ssn,
        ),
        kind(
            "EMAIL",
            Anonymize,
            r"\b[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b",
            |_| true,
        ),
        kind(
            "IP_ADDRESS",
            Anonymize,
            r"\b\d{1,3}(?:\.\d{1,3}){3}\b|\b(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}\b",
            is_ip,
        ),
        kind(
            "PHONE",
            Anonymize,
            r"(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){1,4}|\(\d{3}\) ?\d{3}[ .-]\d{4}|\b\d{3}[ .-]\d{3}[ .-]\d{4})\b",
            is_phone,
        ),
    ]
});

/// Every find, in order, none overlapping another.
pub(super) fn find(text: &str) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for kind in KINDS.iter() {
        for hit in kind
            .pattern
            .iter()
            .flat_map(|pattern| pattern.find_iter(text))
        {
            let free = found
                .iter()
                .all(|other| hit.end() <= other.start || hit.start() >= other.end);
            if free && (kind.check)(hit.as_str()) {
                found.push(Found {
                    name: kind.name,
                    action: kind.action,
                    start: hit.start(),
                    end: hit.end(),
                });
            }
        }
    }
    found.sort_by_key(|hit| hit.start);
    found
}

/// 13 to 19 digits with a right Luhn sum (ISO/IEC 7812), not all the same.
fn is_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, d)| match (at % 2, d * 2) {
            (0, _) => *d,
            (_, doubled) if doubled > 9 => doubled - 9,
            (_, doubled) => doubled,
        })
        .sum();
    (13..=19).contains(&digits.len())
        && sum.is_multiple_of(10)
        && digits.iter().any(|d| *d != digits[0])
}

/// Area 000, 666 and 900–999, group 00 and serial 0000 are never issued.
fn is_ssn(text: &str) -> bool {
    let area = &text[..3];
    area != "000"
        && area != "666"
        && !area.starts_with('9')
        && &text[4..6] != "00"
        && &text[7..] != "0000"
}

fn is_ip(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
}

/// 8 to 15 digits (E.164).
fn is_phone(text: &str) -> bool {
    (8..=15).contains(&text.chars().filter(char::is_ascii_digit).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let found = find(text);
        let got: Vec<(&str, &str)> = found
            .iter()
            .map(|hit| (hit.name, &text[hit.start..hit.end]))
            .collect();
        assert_eq!(got, expected, "{text}");
    }

    #[test]
    fn kinds_are_found_and_lookalikes_are_not() {
        check(
            "write to ann@example.com now",
            &[("EMAIL", "ann@example.com")],
        );
        check(
            "card 4111 1111 1111 1111.",
            &[("CREDIT_DEBIT_CARD_NUMBER", "4111 1111 1111 1111")],
        );
        check("order 4111 1111 1111 1112.", &[]);
        check(
            "ssn 078-05-1120",
            &[("US_SOCIAL_SECURITY_NUMBER", "078-05-1120")],
        );
        check("not an ssn 000-05-1120", &[]);
        check(
            "key AKIAIOSFODNN7EXAMPLE here",
            &[("AWS_ACCESS_KEY", "AKIAIOSFODNN7EXAMPLE")],
        );
        check("host 10.0.0.1 and 999.1.1.1", &[("IP_ADDRESS", "10.0.0.1")]);
        check(
            "call +1 555-010-9999 or (555) 010-9999",
            &[("PHONE", "+1 555-010-9999"), ("PHONE", "(555) 010-9999")],
        );
        check("released 2025-11-23, limit 10,240 MB", &[]);
    }
}
