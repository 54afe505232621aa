//! A set of passage ordinals as bits: the mask that is applied before ranking.

#[derive(Debug, Clone)]
pub(crate) struct Bits {
    words: Vec<u64>,
    count: usize,
}

impl Bits {
    pub(crate) fn none(length: u32) -> Self {
        Self {
            words: vec![0; (length as usize).div_ceil(64)],
            count: 0,
        }
    }

    pub(crate) fn add_range(&mut self, range: std::ops::Range<u32>) {
        for at in range {
            let (word, bit) = (at as usize / 64, 1u64 << (at % 64));
            if self.words[word] & bit == 0 {
                self.words[word] |= bit;
                self.count += 1;
            }
        }
    }

    pub(crate) fn contains(&self, at: u32) -> bool {
        self.words
            .get(at as usize / 64)
            .is_some_and(|word| word & (1 << (at % 64)) != 0)
    }

    pub(crate) fn count(&self) -> usize {
        self.count
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
