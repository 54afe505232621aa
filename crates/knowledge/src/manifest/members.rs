//! Which documents a segment may hold: a Bloom filter, so that a publisher opens the document list of those segments only
//! that hold what it replaces.
//!
//! Ten bits a document and seven probes let 0.8 % of the strangers through; they cost a read and nothing else.
//! Source: B. Bloom, "Space/time trade-offs in hash coding with allowable errors", 1970; probes from two hashes by
//! Kirsch and Mitzenmacher, "Less hashing, same performance", 2006.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const BITS_PER_DOCUMENT: usize = 10;
const PROBES: u64 = 7;

/// The documents of one segment. In JSON it is base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Members(Vec<u8>);

impl Members {
    /// The filter of these document ids.
    pub fn of<'a>(ids: impl ExactSizeIterator<Item = &'a str>) -> Self {
        let mut filter = Self(vec![0; (ids.len() * BITS_PER_DOCUMENT).div_ceil(8).max(8)]);
        for id in ids {
            for bit in filter.probes(id) {
                filter.0[bit / 8] |= 1 << (bit % 8);
            }
        }
        filter
    }

    /// False only when the segment certainly does not hold the document.
    pub fn may_hold(&self, id: &str) -> bool {
        self.probes(id)
            .all(|bit| self.0[bit / 8] & (1 << (bit % 8)) != 0)
    }

    fn probes(&self, id: &str) -> impl Iterator<Item = usize> + use<> {
        let digest = Sha256::digest(id.as_bytes());
        let half = |at: usize| {
            let bytes = digest[at..at + 8].iter();
            bytes.fold(0u64, |value, byte| value << 8 | u64::from(*byte))
        };
        // An odd step visits different bits even where the number of bits is a power of two.
        let (first, step) = (half(0), half(8) | 1);
        let bits = self.0.len() as u64 * 8;
        (0..PROBES).map(move |probe| (first.wrapping_add(probe.wrapping_mul(step)) % bits) as usize)
    }
}

impl From<Members> for String {
    fn from(members: Members) -> Self {
        STANDARD_NO_PAD.encode(members.0)
    }
}

impl TryFrom<String> for Members {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bytes = STANDARD_NO_PAD
            .decode(text)
            .map_err(|error| error.to_string())?;
        if bytes.is_empty() {
            return Err("a filter has at least one byte".into());
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_member_is_never_denied(ids in prop::collection::btree_set("[a-z0-9.]{1,24}", 0..200)) {
            let members = Members::of(ids.iter().map(String::as_str).collect::<Vec<_>>().into_iter());
            let written: String = members.clone().into();
            let read = Members::try_from(written).unwrap();
            prop_assert_eq!(&read, &members);
            prop_assert!(ids.iter().all(|id| read.may_hold(id)));
        }
    }

    #[test]
    fn few_strangers_pass() {
        let ids: Vec<String> = (0..2_000).map(|number| format!("s.{number}")).collect();
        let members = Members::of(ids.iter().map(String::as_str));
        let passed = (0..10_000)
            .filter(|number| members.may_hold(&format!("t.{number}")))
            .count();
        assert!(passed < 200, "{passed} of 10,000");
    }
}
