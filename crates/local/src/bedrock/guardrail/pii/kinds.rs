//! The table of entity types: AWS's name, patterns, and the check that a match must pass. A pattern with a group means
//! the group; the words before it only say what the group is.
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::checks;

pub(super) struct Kind {
    pub(super) name: &'static str,
    patterns: Vec<Regex>,
    check: fn(&str) -> bool,
}

impl Kind {
    pub(super) fn find<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
        let hits = self
            .patterns
            .iter()
            .flat_map(move |pattern| pattern.captures_iter(text));
        hits.filter_map(|hit| hit.get(1).or_else(|| hit.get(0)))
            .filter(|hit| (self.check)(hit.as_str()))
            .map(|hit| hit.range())
    }
}

const ANY: fn(&str) -> bool = |_| true;

/// Words that join a label to its value: `is`, `:`, `=`, `no.`, `#`.
const TO: &str = r"(?:\s*(?:is|was|number|no\.?|nr\.?|#|code|:|=))*\s*";

const NAME_WORD: &str = r"\p{Lu}[\p{Ll}'’-]+(?:-\p{Lu}\p{Ll}+)?";

/// In order of precedence.
pub(super) static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    let kind = |name, patterns: &[String], check| Kind {
        name,
        patterns: patterns
            .iter()
            .filter_map(|pattern| Regex::new(pattern).ok())
            .collect(),
        check,
    };
    let plain = |pattern: &str| vec![pattern.to_owned()];
    let labelled = |label: &str, value: &str| vec![format!(r"(?i)\b(?:{label})\b{TO}({value})\b")];
    let mut kinds = vec![
        kind(
            "AWS_ACCESS_KEY",
            &plain(r"\b(?:AKIA|ASIA)[A-Z2-7][A-Z0-9]{15}\b"),
            ANY,
        ),
        kind(
            "AWS_SECRET_KEY",
            &plain(r"(?:^|[^A-Za-z0-9/+=])([A-Za-z0-9/+]{40})(?:$|[^A-Za-z0-9/+=])"),
            checks::is_secret_key,
        ),
        kind(
            "PASSWORD",
            &[format!(
                r#"(?i)\b(?:password|passwd|pwd|passphrase|passwort)\b{TO}["'`]?([^\s"'`,;]{{6,64}})"#
            )],
            checks::is_password,
        ),
        kind(
            "INTERNATIONAL_BANK_ACCOUNT_NUMBER",
            &[
                r"\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?\b".to_owned(),
                r"(?i)\biban[ :]+([A-Z]{2}\d{2}[A-Z0-9]{11,30})\b".to_owned(),
            ],
            checks::is_iban,
        ),
        kind(
            "CREDIT_DEBIT_CARD_NUMBER",
            &plain(r"(?:^|[^\w+])(\d(?:[ -]?\d){12,18})\b"),
            checks::is_card,
        ),
        kind(
            "CREDIT_DEBIT_CARD_CVV",
            &labelled("cvv2?|cvc2?|security code", r"\d{3,4}"),
            ANY,
        ),
        kind(
            "CREDIT_DEBIT_CARD_EXPIRY",
            &labelled(
                "exp(?:iry|ires|\\.|iration)?(?: date)?|valid (?:thru|until)",
                r"(?:0[1-9]|1[0-2])\s?/\s?(?:20)?\d{2}",
            ),
            ANY,
        ),
        kind(
            "US_SOCIAL_SECURITY_NUMBER",
            &plain(r"\b\d{3}-\d{2}-\d{4}\b"),
            checks::is_ssn,
        ),
        kind(
            "US_INDIVIDUAL_TAX_IDENTIFICATION_NUMBER",
            &plain(r"\b9\d{2}-(?:5\d|6[0-5]|7\d|8[0-8]|9[0-24-9])-\d{4}\b"),
            ANY,
        ),
        kind(
            "UK_NATIONAL_INSURANCE_NUMBER",
            &plain(r"\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]\b"),
            checks::is_national_insurance,
        ),
        kind(
            "UK_NATIONAL_HEALTH_SERVICE_NUMBER",
            &labelled("nhs(?: number)?", r"\d{3}[ -]?\d{3}[ -]?\d{4}"),
            checks::is_nhs,
        ),
        kind(
            "CA_SOCIAL_INSURANCE_NUMBER",
            &plain(r"\b[1-79]\d{2}[ -]\d{3}[ -]\d{3}\b"),
            checks::has_luhn_sum,
        ),
        kind(
            "CA_HEALTH_NUMBER",
            &labelled("health (?:card|insurance)", r"\d{4}[ -]?\d{3}[ -]?\d{3}"),
            ANY,
        ),
        kind(
            "UK_UNIQUE_TAXPAYER_REFERENCE_NUMBER",
            &labelled("utr|unique taxpayer reference", r"\d{5} ?\d{5}"),
            ANY,
        ),
        kind(
            "VEHICLE_IDENTIFICATION_NUMBER",
            &plain(r"\b[A-HJ-NPR-Z0-9]{17}\b"),
            checks::is_vehicle,
        ),
        kind(
            "US_BANK_ROUTING_NUMBER",
            &labelled("routing|aba|rtn", r"\d{9}"),
            checks::is_routing,
        ),
        kind(
            "US_BANK_ACCOUNT_NUMBER",
            &labelled("(?:bank )?account|acct", r"\d{6,17}"),
            ANY,
        ),
        kind(
            "US_PASSPORT_NUMBER",
            &labelled("passport", r"[A-Z]?\d{8,9}"),
            ANY,
        ),
        kind(
            "DRIVER_ID",
            &labelled(
                "driver'?s? ?licen[cs]e|driving licen[cs]e",
                r"[A-Z0-9][A-Z0-9-]{5,18}",
            ),
            checks::has_digit,
        ),
        kind(
            "LICENSE_PLATE",
            &labelled(
                "licen[cs]e plate|number plate|registration plate",
                r"[A-Z0-9]{1,4}[ -]?[A-Z0-9]{1,4}(?:[ -]?[A-Z0-9]{1,4})?",
            ),
            checks::has_digit,
        ),
        kind(
            "SWIFT_CODE",
            &labelled("swift|bic", r"[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?"),
            checks::is_upper,
        ),
        kind("PIN", &labelled("pin", r"\d{4,6}"), ANY),
        kind(
            "EMAIL",
            &plain(
                r"[\p{L}\p{N}_][\p{L}\p{N}._%+'-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b",
            ),
            checks::is_email,
        ),
        kind(
            "URL",
            &plain(r#"\bhttps?://[^\s<>"')\]]+[^\s<>"')\].,;:!?]"#),
            ANY,
        ),
        kind(
            "MAC_ADDRESS",
            &plain(r"\b[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}\b"),
            ANY,
        ),
        kind(
            "IP_ADDRESS",
            &[
                r"(?:^|[^\w.])(\d{1,3}(?:\.\d{1,3}){3})(?:$|[^\w.]|\.(?:$|\D))".to_owned(),
                r"(?:^|[^\w:])((?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4})(?:$|[^\w:])".to_owned(),
            ],
            checks::is_ip,
        ),
        kind(
            "PHONE",
            &plain(
                r"(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){1,4}|\(\d{3}\) ?\d{3}[ .-]\d{4}|\b\d{3}[ .-]\d{3}[ .-]\d{4}|\b0\d{2,4}[ /-]\d{3,4}[ -]?\d{3,4})\b",
            ),
            checks::is_phone,
        ),
        kind(
            "ADDRESS",
            &plain(
                r"\b\d{1,5} (?:\p{Lu}[\p{L}'.-]+ ){1,3}(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Square|Sq|Way|Terrace|Place|Pl)\b\.?(?:,? (?:Apt|Suite|Unit|Flat)\.? ?\w+)?(?:, (?:\p{Lu}[\p{L}'.-]+ ?){1,3})?(?:,? [A-Z]{2})?(?: \d{5}(?:-\d{4})?)?",
            ),
            ANY,
        ),
        kind(
            "AGE",
            &[
                r"(?i)\b(\d{1,3})[ -]years?[ -]old\b".to_owned(),
                r"(?i)\baged? (?:of |is )?(\d{1,3})\b".to_owned(),
            ],
            checks::is_age,
        ),
        kind(
            "USERNAME",
            &labelled(
                "user ?name|login(?: name)?|user id",
                r"[A-Za-z0-9][\w.-]{2,31}",
            ),
            checks::is_username,
        ),
    ];
    let names = [
        format!(
            r"\b(?:Mr|Mrs|Ms|Mx|Dr|Prof|Herr|Frau|Mme|Sr|Sra)\.? ({NAME_WORD}(?: {NAME_WORD}){{0,2}})"
        ),
        format!(
            r"\b(?:[Mm]y name is|I am called|[Ii]ch heiße|[Ss]igned by|Sincerely,|Regards,)\s+({NAME_WORD}(?: {NAME_WORD}){{0,2}})"
        ),
        format!(
            r"\b((?:{})(?: [A-Z]\.)? {NAME_WORD})",
            GIVEN_NAMES.join("|")
        ),
    ];
    kinds.push(kind("NAME", &names, checks::is_name));
    kinds
});

/// Given names that are seldom other words in English; with a capitalised word behind they count as a name.
const GIVEN_NAMES: [&str; 64] = [
    "Ada",
    "Aisha",
    "Alan",
    "Alice",
    "Alejandro",
    "Amina",
    "Andrea",
    "Anna",
    "Anthony",
    "Barbara",
    "Benjamin",
    "Carlos",
    "Charles",
    "Chen",
    "Christopher",
    "Claire",
    "Daniel",
    "David",
    "Elena",
    "Elizabeth",
    "Emma",
    "Fatima",
    "Francesca",
    "Grace",
    "Giovanni",
    "Hannah",
    "Hans",
    "Hiroshi",
    "Ingrid",
    "Isabella",
    "Ivan",
    "James",
    "Jane",
    "Jennifer",
    "Jessica",
    "Johan",
    "John",
    "Jose",
    "Joseph",
    "Julia",
    "Karen",
    "Katherine",
    "Laura",
    "Linda",
    "Lucas",
    "Maria",
    "Mary",
    "Matthew",
    "Michael",
    "Mohammed",
    "Nancy",
    "Olivia",
    "Patricia",
    "Paul",
    "Peter",
    "Priya",
    "Richard",
    "Robert",
    "Sarah",
    "Sofia",
    "Susan",
    "Thomas",
    "William",
    "Yuki",
];
