//! The stream window: which part of a growing text may be shown, after which check.
//!
//! A text is checked and released piece by piece. A piece ends where a sentence or at least a word ends, and a check reads
//! on for [`Sizes::ahead`] bytes behind it and back for as much before it. So whatever the guard finds is seen whole before
//! its first byte is released, as long as it is one word, however long, or no longer than `ahead`. Should a longer find
//! reach back into what was released, the window says so and releases nothing more.

use std::ops::Range;

use super::verdict::{self, Edit};

/// The window's measures, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// What a check reads behind the last byte that it releases: the longest find of several words that never leaks. A
    /// postal address has about 100.
    pub ahead: usize,
    /// What a check reads again before the first byte that it releases.
    pub behind: usize,
    /// The least that is released at once, after the first sentence: fewer and larger checks.
    pub piece: usize,
    /// When so much waits without the end of a sentence, the end of a word will do.
    pub patience: usize,
    /// The most that one check reads.
    pub check: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            ahead: 128,
            behind: 400,
            piece: 240,
            patience: 600,
            check: 12_000,
        }
    }
}

/// A text that grows while it is released.
#[derive(Debug, Clone, Default)]
pub struct Window {
    sizes: Sizes,
    text: String,
    /// Everything before it was released, masked where it had to be.
    released: usize,
    /// The last place at which a check chose to release: `released` may lie behind it, inside of a word that is masked.
    boundary: usize,
    /// What was masked in the released part.
    masks: Vec<Range<usize>>,
}

/// What is to be checked next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Bytes of the text that the guard must read.
    pub reads: Range<usize>,
    /// Up to here text is released if the guard has nothing against it.
    upto: usize,
}

/// A released piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Bytes of the raw text.
    pub raw: Range<usize>,
    pub text: String,
    pub masked: bool,
}

/// A find reaches into text that was released unmasked: the end of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a finding reaches back into text that was released")]
pub struct TooLate;

/// White space, and the full stops of scripts that write none behind them.
fn is_break(c: char) -> bool {
    c.is_whitespace() || matches!(c, '。' | '！' | '？')
}

impl Window {
    pub fn new(sizes: Sizes) -> Self {
        Self {
            sizes,
            ..Self::default()
        }
    }

    /// The raw text so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Bytes of the raw text that were released.
    pub fn released(&self) -> usize {
        self.released
    }

    pub fn push(&mut self, delta: &str) {
        self.text.push_str(delta);
    }

    /// What to check now; nothing while there is too little, or everything is released. `ended`: no text will come.
    pub fn next(&self, ended: bool) -> Option<Probe> {
        let waiting = self.text.len() - self.released;
        if waiting == 0 {
            return None;
        }
        let from = self.reads_from();
        if ended && self.text.len() - from <= self.sizes.check.max(1) {
            return Some(Probe {
                reads: from..self.text.len(),
                upto: self.text.len(),
            });
        }
        // More than one check can read waits only when nobody asked in between.
        let end = self.floor(
            self.text
                .len()
                .min((from + self.sizes.check).max(self.released + 1)),
        );
        let upto = self.release_point(end).or_else(|| ended.then_some(end))?;
        Some(Probe {
            reads: from..end,
            upto,
        })
    }

    /// The last good place to release up to, `ahead` bytes before `end`.
    fn release_point(&self, end: usize) -> Option<usize> {
        let last = self.floor(end.saturating_sub(self.sizes.ahead));
        if last <= self.released {
            return None;
        }
        let least = if self.released == 0 {
            1
        } else {
            self.sizes.piece
        };
        let sentence = self
            .last_end(last, true)
            .filter(|at| at - self.released >= least);
        let impatient = last - self.released >= self.sizes.patience;
        sentence.or_else(|| impatient.then(|| self.last_end(last, false)).flatten())
    }

    /// The last end of a sentence, or of a word, in what waits, not behind `last`.
    fn last_end(&self, last: usize, of_sentence: bool) -> Option<usize> {
        let waiting = &self.text[self.released..last];
        waiting
            .char_indices()
            .rev()
            .filter(|(_, c)| is_break(*c))
            .find(|(at, c)| {
                let before = waiting[..*at].trim_end_matches(['"', '\'', ')', ']', '”', '’']);
                let ends = matches!(c, '\n' | '。' | '！' | '？')
                    || before.ends_with(['.', '!', '?', '…', ':']);
                !of_sentence || ends
            })
            .map(|(at, c)| self.released + at + c.len_utf8())
    }

    /// Where a check begins to read: behind a word's end, so that no word is cut.
    fn reads_from(&self) -> usize {
        let back = self
            .released
            .saturating_sub(self.sizes.behind.max(self.sizes.ahead));
        let from = self.floor(back.min(self.boundary.saturating_sub(self.sizes.ahead)));
        let before = &self.text[..from];
        before
            .char_indices()
            .rev()
            .find(|(_, c)| is_break(*c))
            .map_or(0, |(at, c)| at + c.len_utf8())
    }

    fn floor(&self, at: usize) -> usize {
        (0..=at.min(self.text.len()))
            .rev()
            .find(|at| self.text.is_char_boundary(*at))
            .unwrap_or(0)
    }

    /// Releases what a probe allows, with `edits` made; their ranges count from the probe's first byte.
    ///
    /// # Errors
    /// [`TooLate`], and then nothing is released.
    pub fn release(&mut self, probe: &Probe, edits: &[Edit]) -> Result<Vec<Piece>, TooLate> {
        let absolute = |edit: &Edit| {
            let at = |offset: usize| (probe.reads.start + offset).min(self.text.len());
            Edit {
                range: self.floor(at(edit.range.start))..self.ceil(at(edit.range.end)),
                placeholder: edit.placeholder.clone(),
            }
        };
        let edits = verdict::merged(edits.iter().map(absolute).collect());
        let open: Vec<&Edit> = edits
            .iter()
            .filter(|edit| edit.range.end > self.released)
            .collect();
        let mut upto = probe.upto.max(self.released);
        for edit in &open {
            if edit.range.start < self.released && !self.was_masked(edit.range.start..self.released)
            {
                return Err(TooLate);
            }
            // A find is released whole, as its placeholder.
            if edit.range.start < upto {
                upto = upto.max(edit.range.end);
            }
        }
        let mut pieces = Vec::new();
        let mut at = self.released;
        for edit in open.into_iter().filter(|edit| edit.range.start < upto) {
            let start = edit.range.start.max(at);
            self.plain(at..start, &mut pieces);
            let goes_on = edit.range.start < self.released;
            pieces.push(Piece {
                raw: start..edit.range.end,
                // Its beginning was released as a placeholder already.
                text: if goes_on {
                    String::new()
                } else {
                    edit.placeholder.clone()
                },
                masked: true,
            });
            self.masks.push(start..edit.range.end);
            at = edit.range.end;
        }
        self.plain(at..upto, &mut pieces);
        self.boundary = probe.upto.max(self.boundary);
        self.released = upto;
        Ok(pieces)
    }

    fn plain(&self, raw: Range<usize>, pieces: &mut Vec<Piece>) {
        if !raw.is_empty() {
            pieces.push(Piece {
                text: self.text[raw.clone()].to_owned(),
                raw,
                masked: false,
            });
        }
    }

    fn ceil(&self, at: usize) -> usize {
        (at..=self.text.len())
            .find(|at| self.text.is_char_boundary(*at))
            .unwrap_or(self.text.len())
    }

    /// Whether every byte of a released range was masked.
    fn was_masked(&self, range: Range<usize>) -> bool {
        let mut at = range.start;
        for mask in &self.masks {
            if mask.start <= at && at < mask.end {
                at = mask.end;
            }
        }
        at >= range.end
    }
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
