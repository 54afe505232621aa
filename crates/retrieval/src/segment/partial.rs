//! A segment's file that is here only in part: its blocks come in any order, each is checked before it is kept, and what
//! is read too early is noted for the one who fetches. A file that another process left here is one whose blocks are all
//! here, and each is checked when it is first read: a search reads a tenth of them.
//!
//! Reading never waits and never sees an unchecked byte: what is not here, or is damaged, refuses the reader with
//! [`SegmentError::Missing`], whoever fetches asks [`Partial::take_wanted`] what that was, and the reader tries again.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::SegmentError;
use super::format::{Head, Section};
use super::source::Fetch;

/// A smaller section of strings is read with the first bytes: ids decide between equal scores.
const STRINGS_BYTES: u64 = 4 << 20;

/// What is known of a block: nothing of it is in the file, or it is damaged there.
const ABSENT: u8 = 0;
/// It is in the file, and was not checked by this process.
const STORED: u8 = 1;
/// It is in the file as it was written.
const CHECKED: u8 = 2;

/// A segment's file on its way, or one that was left here.
#[derive(Debug)]
pub struct Partial {
    file: File,
    head: Head,
    blocks: Vec<AtomicU8>,
    /// Blocks that are not checked yet.
    unchecked: AtomicUsize,
    /// Blocks that are absent.
    absent: AtomicUsize,
    /// Blocks that a reader asked for and are absent.
    wanted: Mutex<BTreeSet<usize>>,
    writing: Mutex<()>,
}

impl Partial {
    /// Makes the file at `path`, which exists and is empty, as long as the segment will be. `prefix` are the segment's
    /// first bytes, its head at the least.
    ///
    /// # Errors
    /// Those of [`Head::parse`]; [`SegmentError::Corrupt`] for a damaged block; [`SegmentError::Io`].
    pub fn begin(path: &Path, prefix: &[u8]) -> Result<Self, SegmentError> {
        let head = Head::parse(prefix)?;
        let file = OpenOptions::new().write(true).open(path).map_err(io)?;
        file.set_len(head.file_length()).map_err(io)?;
        let head_bytes = prefix.get(..head.length()).unwrap_or_default();
        file.write_all_at(head_bytes, 0).map_err(io)?;
        let partial = Self::new(file, head, ABSENT);
        partial.add(0, prefix)?;
        Ok(partial)
    }

    /// Takes the file at `path`, which was whole when it was left there. Only its head is checked now.
    ///
    /// # Errors
    /// Those of [`Head::parse`]; [`SegmentError::Truncated`] or [`SegmentError::Corrupt`] when the file is not as long as
    /// its head says; [`SegmentError::Io`].
    pub fn resume(path: &Path) -> Result<Self, SegmentError> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let mut prefix = vec![0; length.min(Head::FIXED_BYTES as u64) as usize];
        file.read_exact_at(&mut prefix, 0).map_err(io)?;
        let head_bytes = Head::length_of(&prefix)? as u64;
        prefix.resize(length.min(head_bytes) as usize, 0);
        file.read_exact_at(&mut prefix, 0).map_err(io)?;
        let head = Head::parse(&prefix)?;
        head.check_length(length)?;
        Ok(Self::new(file, head, STORED))
    }

    fn new(file: File, head: Head, state: u8) -> Self {
        let count = head.block_count();
        Self {
            file,
            blocks: (0..count).map(|_| AtomicU8::new(state)).collect(),
            unchecked: AtomicUsize::new(count),
            absent: AtomicUsize::new(if state == ABSENT { count } else { 0 }),
            head,
            wanted: Mutex::default(),
            writing: Mutex::new(()),
        }
    }

    /// What the opener of such a file takes.
    pub fn fetch(self: &Arc<Self>) -> Fetch {
        let partial = self.clone();
        Arc::new(move |file, ranges| partial.need(file, ranges))
    }

    /// Takes the bytes that stand at `start` of the file. Blocks that they hold whole are checked and kept, the rest is
    /// dropped.
    ///
    /// # Errors
    /// [`SegmentError::Corrupt`] for a damaged block, of which nothing is kept; [`SegmentError::Io`].
    pub fn add(&self, start: u64, bytes: &[u8]) -> Result<(), SegmentError> {
        let all = start..start.saturating_add(bytes.len() as u64);
        let of = |range: &Range<u64>| {
            bytes
                .get((range.start - start) as usize..(range.end - start) as usize)
                .unwrap_or_default()
        };
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut run: Option<(Range<usize>, Range<u64>)> = None;
        for block in self.head.blocks_in(&all) {
            let Some(range) = self.head.block_range(block) else {
                continue;
            };
            // INVARIANT: a block that is checked is not written again, for somebody may read it.
            if range.start < all.start || range.end > all.end || self.state(block) != ABSENT {
                continue;
            }
            self.head.verify(block, of(&range))?;
            run = match run {
                Some((blocks, bytes)) if blocks.end == block && bytes.end == range.start => {
                    Some((blocks.start..block + 1, bytes.start..range.end))
                }
                before => {
                    self.keep(before, of)?;
                    Some((block..block + 1, range))
                }
            };
        }
        self.keep(run, of)
    }

    fn keep<'a>(
        &self,
        run: Option<(Range<usize>, Range<u64>)>,
        of: impl Fn(&Range<u64>) -> &'a [u8],
    ) -> Result<(), SegmentError> {
        if let Some((blocks, range)) = run {
            self.file
                .write_all_at(of(&range), range.start)
                .map_err(io)?;
            self.absent.fetch_sub(blocks.len(), Ordering::AcqRel);
            for block in blocks.clone() {
                self.blocks[block].store(CHECKED, Ordering::Release);
            }
            self.unchecked.fetch_sub(blocks.len(), Ordering::AcqRel);
        }
        Ok(())
    }

    fn need(&self, file: &[u8], ranges: &[Range<u64>]) -> Result<(), SegmentError> {
        if self.is_checked() {
            return Ok(());
        }
        let blocks = ranges.iter().flat_map(|range| self.head.blocks_in(range));
        let missing: Vec<usize> = blocks.filter(|block| !self.check(*block, file)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.extend(missing);
        Err(SegmentError::Missing)
    }

    /// Whether a block is as it was written; what was left here is checked now. A damaged one is absent from then on.
    fn check(&self, block: usize, file: &[u8]) -> bool {
        match self.state(block) {
            CHECKED => return true,
            ABSENT => return false,
            _ => {}
        }
        let range = self.head.block_range(block).unwrap_or_default();
        let bytes = file.get(range.start as usize..range.end as usize);
        let good = self.head.verify(block, bytes.unwrap_or_default()).is_ok();
        let state = if good { CHECKED } else { ABSENT };
        let first =
            self.blocks[block].compare_exchange(STORED, state, Ordering::AcqRel, Ordering::Acquire);
        match first {
            Ok(_) if good => {
                self.unchecked.fetch_sub(1, Ordering::AcqRel);
            }
            Ok(_) => {
                self.absent.fetch_add(1, Ordering::AcqRel);
            }
            // Another reader was faster.
            Err(_) => return self.state(block) == CHECKED,
        }
        good
    }

    /// The ranges of the file that readers asked for and are not here, in order; two with less than `gap` bytes between
    /// them are one.
    pub fn take_wanted(&self, gap: u64) -> Vec<Range<u64>> {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = std::mem::take(&mut *wanted);
        self.joined(wanted.into_iter(), gap)
    }

    /// All ranges of the file that are not here, in order.
    pub fn missing(&self) -> Vec<Range<u64>> {
        self.joined(0..self.blocks.len(), 0)
    }

    /// Whether every block is here, as far as is known.
    pub fn is_whole(&self) -> bool {
        self.absent.load(Ordering::Acquire) == 0
    }

    /// Whether every block is here and was checked.
    pub fn is_checked(&self) -> bool {
        self.unchecked.load(Ordering::Acquire) == 0
    }

    fn joined(&self, blocks: impl Iterator<Item = usize>, gap: u64) -> Vec<Range<u64>> {
        let mut joined: Vec<Range<u64>> = Vec::new();
        let missing = blocks.filter(|block| self.state(*block) == ABSENT);
        for range in missing.filter_map(|block| self.head.block_range(block)) {
            match joined.last_mut() {
                Some(last) if range.start <= last.end.saturating_add(gap) => last.end = range.end,
                _ => joined.push(range),
            }
        }
        joined
    }

    fn state(&self, block: usize) -> u8 {
        self.blocks[block].load(Ordering::Acquire)
    }
}

impl Head {
    /// What to read of a segment before it is opened in part, as ranges of the file: everything that a search needs to
    /// know which rows and postings it wants.
    pub fn first_ranges(&self) -> Vec<Range<u64>> {
        // With the zeros after the last section: they are under its last checksum.
        let codes_end = self.range(Section::Scales).end;
        let last = self.whole_blocks(&(codes_end.saturating_sub(1)..codes_end));
        let begin = 0..last.map_or(codes_end, |block| block.end);
        let opening = self.opening_ranges().into_iter();
        let opening = opening.flat_map(|range| self.whole_blocks(&range));
        let mut ranges: Vec<Range<u64>> = std::iter::once(begin).chain(opening).collect();
        let strings = self.range(Section::Strings);
        if strings.end - strings.start <= STRINGS_BYTES {
            ranges.extend(self.whole_blocks(&strings));
        }
        ranges.sort_by_key(|range| range.start);
        let mut joined: Vec<Range<u64>> = Vec::new();
        for range in ranges {
            match joined.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => joined.push(range),
            }
        }
        joined
    }

    /// The bytes of all blocks that a range touches.
    fn whole_blocks(&self, range: &Range<u64>) -> Option<Range<u64>> {
        let blocks = self.blocks_in(range);
        let first = self.block_range(blocks.start)?;
        let last = self.block_range(blocks.end.checked_sub(1)?)?;
        (!blocks.is_empty()).then_some(first.start..last.end)
    }
}

fn io(error: std::io::Error) -> SegmentError {
    SegmentError::Io {
        detail: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
