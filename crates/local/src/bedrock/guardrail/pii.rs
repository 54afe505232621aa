//! Personal data and keys in a text, by pattern and, where the pattern alone would cry wolf, by checksum or by the words
//! around it. An approximation of AWS's 31 entity types: it reads no meaning, so names, addresses and everything that a
//! person would know from the context are found in plain cases only.
mod checks;
mod kinds;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::super::wire::WireError;

/// A find in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: &'static str,
    pub(super) range: Range<usize>,
}

/// Every find of the wanted types, in order, none overlapping another: of two that overlap, the kind that stands first
/// in the table wins.
pub(super) fn find(text: &str, wanted: impl Fn(&str) -> bool) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for kind in kinds::KINDS.iter().filter(|kind| wanted(kind.name)) {
        for range in kind.find(text) {
            let free = found
                .iter()
                .all(|other| range.end <= other.range.start || range.start >= other.range.end);
            if free {
                found.push(Found {
                    name: kind.name,
                    range,
                });
            }
        }
    }
    found.sort_by_key(|hit| hit.range.start);
    found
}

/// Refuses a type that AWS has not.
pub(super) fn check_type(name: &str) -> Result<(), WireError> {
    match kinds::KINDS.iter().any(|kind| kind.name == name) {
        true => Ok(()),
        false => Err(WireError::validation(format!(
            "{name} is no type of a PII entity."
        ))),
    }
}
