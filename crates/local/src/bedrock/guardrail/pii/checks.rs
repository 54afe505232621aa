//! Checksums and plausibility of what a pattern matched.

fn digits(text: &str) -> Vec<u32> {
    text.chars().filter_map(|c| c.to_digit(10)).collect()
}

/// The Luhn sum (ISO/IEC 7812-1, annex B).
pub(super) fn has_luhn_sum(text: &str) -> bool {
    let sum: u32 = digits(text)
        .iter()
        .rev()
        .enumerate()
        .map(|(at, d)| match (at % 2, d * 2) {
            (0, _) => *d,
            (_, doubled) if doubled > 9 => doubled - 9,
            (_, doubled) => doubled,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// 13 to 19 digits with a right Luhn sum, not all the same.
pub(super) fn is_card(text: &str) -> bool {
    let digits = digits(text);
    (13..=19).contains(&digits.len())
        && has_luhn_sum(text)
        && digits.iter().any(|digit| *digit != digits[0])
}

/// ISO 13616: the remainder of the rearranged number by 97 is 1.
pub(super) fn is_iban(text: &str) -> bool {
    let compact: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
    if !(15..=34).contains(&compact.len()) {
        return false;
    }
    let turned = compact[4..].chars().chain(compact[..4].chars());
    let remainder = turned.fold(0u64, |remainder, c| match c.to_digit(36) {
        Some(value) if value < 10 => (remainder * 10 + u64::from(value)) % 97,
        Some(value) => (remainder * 100 + u64::from(value)) % 97,
        None => remainder,
    });
    remainder == 1
}

/// Area 000, 666 and 900–999, group 00 and serial 0000 are never issued (US Social Security Administration).
pub(super) fn is_ssn(text: &str) -> bool {
    let area = &text[..3];
    area != "000"
        && area != "666"
        && !area.starts_with('9')
        && &text[4..6] != "00"
        && &text[7..] != "0000"
}

/// Prefixes that HM Revenue & Customs does not give out.
pub(super) fn is_national_insurance(text: &str) -> bool {
    !["BG", "GB", "KN", "NK", "NT", "TN", "ZZ"].contains(&&text[..2])
}

/// Modulus 11 over ten digits (NHS Data Dictionary).
pub(super) fn is_nhs(text: &str) -> bool {
    let digits = digits(text);
    let sum: u32 = digits
        .iter()
        .take(9)
        .zip((2..=10).rev())
        .map(|(digit, weight)| digit * weight)
        .sum();
    let check = match 11 - sum % 11 {
        11 => 0,
        check => check,
    };
    digits.len() == 10 && check != 10 && digits[9] == check
}

/// The ninth character is the check digit (ISO 3779, 49 CFR 565).
pub(super) fn is_vehicle(text: &str) -> bool {
    const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    let value = |c: char| match c {
        '0'..='9' => c.to_digit(10),
        'A'..='H' => Some(c as u32 - 'A' as u32 + 1),
        'J'..='N' => Some(c as u32 - 'J' as u32 + 1),
        'P' => Some(7),
        'R' => Some(9),
        'S'..='Z' => Some(c as u32 - 'S' as u32 + 2),
        _ => None,
    };
    let sum: u32 = text
        .chars()
        .filter_map(value)
        .zip(WEIGHTS)
        .map(|(value, weight)| value * weight)
        .sum();
    let check = match sum % 11 {
        10 => 'X',
        digit => char::from_digit(digit, 10).unwrap_or('?'),
    };
    has_digit(text)
        && text.chars().any(|c| c.is_ascii_uppercase())
        && text.chars().nth(8) == Some(check)
}

/// Weights 3, 7, 1 over nine digits (American Bankers Association).
pub(super) fn is_routing(text: &str) -> bool {
    let sum: u32 = digits(text)
        .iter()
        .zip([3, 7, 1].iter().cycle())
        .map(|(digit, weight)| digit * weight)
        .sum();
    sum > 0 && sum.is_multiple_of(10)
}

/// 40 characters of base64 with letters of both cases and digits; a hexadecimal hash has one case only.
pub(super) fn is_secret_key(text: &str) -> bool {
    let has = |class: fn(&char) -> bool| text.chars().filter(class).count() >= 3;
    has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase) && has_digit(text)
}

/// Not a word of prose behind "password": a digit or a sign must be in it.
pub(super) fn is_password(text: &str) -> bool {
    let inner = text.trim_end_matches(['.', ')', '!', '?']);
    inner
        .chars()
        .any(|c| c.is_ascii_digit() || "!@#$%^&*+=~".contains(c))
}

pub(super) fn is_email(text: &str) -> bool {
    let (local, domain) = text.rsplit_once('@').unwrap_or_default();
    !local.starts_with('.')
        && !local.ends_with('.')
        && !domain.contains("..")
        && !domain.starts_with('-')
}

pub(super) fn is_ip(text: &str) -> bool {
    text.len() > 2 && text.parse::<std::net::IpAddr>().is_ok()
}

/// 8 to 15 digits (ITU-T E.164).
pub(super) fn is_phone(text: &str) -> bool {
    let digits = digits(text);
    (8..=15).contains(&digits.len()) && digits.iter().any(|digit| *digit != digits[0])
}

pub(super) fn is_age(text: &str) -> bool {
    text.parse().is_ok_and(|age: u32| (1..=120).contains(&age))
}

pub(super) fn has_digit(text: &str) -> bool {
    text.chars().any(|c| c.is_ascii_digit())
}

pub(super) fn is_upper(text: &str) -> bool {
    !text.chars().any(char::is_lowercase)
}

/// A word of prose behind "user name" is none.
pub(super) fn is_username(text: &str) -> bool {
    text.chars()
        .any(|c| c.is_ascii_digit() || matches!(c, '_' | '.' | '-'))
        && !text.ends_with('.')
}

/// Words that are capitalised behind a name and are none.
pub(super) fn is_name(text: &str) -> bool {
    let last = text.rsplit(' ').next().unwrap_or_default();
    ![
        "Street",
        "Avenue",
        "Road",
        "Bank",
        "University",
        "Hospital",
        "Airport",
        "Bridge",
        "Island",
        "Prize",
    ]
    .contains(&last)
}
