//! A set of ordinals as bits: the mask that is applied before ranking.

/// A set of ordinals below a length, 64 to a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bits {
    words: Vec<u64>,
    length: u32,
}

impl Bits {
    pub(crate) fn none(length: u32) -> Self {
        Self {
            words: vec![0; (length as usize).div_ceil(64)],
            length,
        }
    }

    pub(crate) fn all(length: u32) -> Self {
        let mut all = Self {
            words: vec![u64::MAX; (length as usize).div_ceil(64)],
            length,
        };
        all.cut();
        all
    }

    /// The places of a slice of which `is_in` holds.
    pub(crate) fn from_slice<T>(items: &[T], is_in: impl Fn(&T) -> bool) -> Self {
        let word = |items: &[T]| {
            let bits = items.iter().enumerate();
            bits.fold(0, |word, (bit, item)| word | u64::from(is_in(item)) << bit)
        };
        Self {
            words: items.chunks(64).map(word).collect(),
            length: items.len() as u32,
        }
    }

    /// Bits beyond the length are never set.
    fn cut(&mut self) {
        if let Some(last) = self.words.last_mut()
            && !self.length.is_multiple_of(64)
        {
            *last &= (1 << (self.length % 64)) - 1;
        }
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    pub(crate) fn add(&mut self, at: u32) {
        if at < self.length {
            self.words[at as usize / 64] |= 1 << (at % 64);
        }
    }

    pub(crate) fn remove(&mut self, at: u32) {
        if at < self.length {
            self.words[at as usize / 64] &= !(1 << (at % 64));
        }
    }

    /// Adds the ordinals of a range that are below the length.
    pub(crate) fn add_range(&mut self, range: std::ops::Range<u32>) {
        let (start, end) = (range.start as usize, range.end.min(self.length) as usize);
        if start >= end {
            return;
        }
        let (first, last) = (start / 64, (end - 1) / 64);
        let (from, to) = (u64::MAX << (start % 64), u64::MAX >> (63 - (end - 1) % 64));
        if first == last {
            self.words[first] |= from & to;
            return;
        }
        self.words[first] |= from;
        self.words[first + 1..last].fill(u64::MAX);
        self.words[last] |= to;
    }

    /// Adds `start` and the 63 after it where a bit is set, those that are below the length.
    pub(crate) fn add_word(&mut self, start: u32, word: u64) {
        let (at, shift) = (start as usize / 64, start % 64);
        if let Some(low) = self.words.get_mut(at) {
            *low |= word << shift;
        }
        if let Some(high) = self.words.get_mut(at + 1) {
            *high |= word.checked_shr(64 - shift).unwrap_or(0);
        }
        if at + 2 >= self.words.len() {
            self.cut();
        }
    }

    /// Adds a set that is given as words.
    pub(crate) fn add_words(&mut self, words: impl Iterator<Item = u64>) {
        for (word, more) in self.words.iter_mut().zip(words) {
            *word |= more;
        }
        self.cut();
    }

    /// Keeps what is in the other set too.
    pub(crate) fn keep(&mut self, other: &Bits) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= other;
        }
    }

    pub(crate) fn contains(&self, at: u32) -> bool {
        self.words
            .get(at as usize / 64)
            .is_some_and(|word| word & (1 << (at % 64)) != 0)
    }

    /// The first ordinal of the set from `at` on.
    pub(crate) fn next(&self, at: u32) -> Option<u32> {
        let first = at as usize / 64;
        let mut left = self.words.get(first)? & (u64::MAX << (at % 64));
        let mut number = first;
        while left == 0 {
            number += 1;
            left = *self.words.get(number)?;
        }
        Some(number as u32 * 64 + left.trailing_zeros())
    }

    pub(crate) fn count(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.words.iter().enumerate().flat_map(|(number, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                (left != 0).then(|| {
                    let bit = left.trailing_zeros();
                    left &= left - 1;
                    number as u32 * 64 + bit
                })
            })
        })
    }
}

/// The ranges of set bits of a word, in ascending order.
pub(crate) fn runs(word: u64) -> impl Iterator<Item = std::ops::Range<u32>> {
    let mut left = word;
    std::iter::from_fn(move || {
        (left != 0).then(|| {
            let start = left.trailing_zeros();
            let end = start + (left >> start).trailing_ones();
            left &= u64::MAX.checked_shl(end).unwrap_or(0);
            start..end
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_are_a_set(length in 0u32..300, ranges in prop::collection::vec((0u32..320, 0u32..90), 0..6)) {
            let (mut bits, mut set) = (Bits::none(length), BTreeSet::new());
            for (start, size) in ranges {
                bits.add_range(start..start + size);
                set.extend((start..start + size).filter(|at| *at < length));
            }
            prop_assert_eq!(bits.iter().collect::<BTreeSet<_>>(), set.clone());
            prop_assert_eq!((bits.count(), bits.is_empty()), (set.len(), set.is_empty()));
            for at in 0..330 {
                prop_assert_eq!(bits.next(at), set.range(at..).next().copied());
            }
            let ordinals: Vec<u32> = (0..length).collect();
            prop_assert_eq!(&Bits::from_slice(&ordinals, |at| bits.contains(*at)), &bits);
            for (number, word) in bits.words().iter().enumerate() {
                let ordinals = runs(*word).flatten().map(|bit| number as u32 * 64 + bit);
                let wanted = set.range(number as u32 * 64..).take_while(|at| **at < number as u32 * 64 + 64);
                prop_assert_eq!(ordinals.collect::<Vec<_>>(), wanted.copied().collect::<Vec<_>>());
            }
            let mut all = Bits::all(length);
            prop_assert_eq!(all.count(), length as usize);
            all.keep(&bits);
            prop_assert_eq!(&all, &bits);
            all.add_words(vec![u64::MAX; 9].into_iter());
            prop_assert_eq!(all, Bits::all(length));
        }

        #[test]
        fn a_word_is_added_anywhere(length in 0u32..300, start in 0u32..320, word: u64) {
            let mut bits = Bits::none(length);
            bits.add_word(start, word);
            let wanted = (0..64).filter(|bit| word >> bit & 1 == 1).map(|bit| start + bit);
            prop_assert_eq!(bits.iter().collect::<Vec<_>>(), wanted.filter(|at| *at < length).collect::<Vec<_>>());
        }
    }
}
