//! BM25 of the allowed passages only, for masks that let few pass.
//!
//! Pruning by block maxima lives on a threshold that rises soon. Under such a mask few of the passages that it scores may
//! be kept, the threshold stays low, and most of what is scored is dropped. Here the mask leads: what it does not let pass
//! is never scored, and where a term's passages are many more than the allowed ones, its list is skipped through.

use std::ops::Range;

use tantivy::fieldnorm::FieldNormReader;
use tantivy::postings::BlockSegmentPostings;
use tantivy::query::{Bm25StatisticsProvider, Bm25Weight};
use tantivy::schema::IndexRecordOption;
use tantivy::{DocId, SegmentReader, Term};

use super::best::Best;
use crate::bits::Bits;

/// Passages whose sums are kept at a time: 64 KiB, to stay near the processor.
const WINDOW: u32 = 1 << 14;
/// A search within a list for one allowed passage costs about as much as reading this many of its passages.
const SEEK_COST: usize = 8;
/// The sum of a passage in which no term was found. Adding to it changes nothing, and a score of 0 is another value.
const NOT_FOUND: f32 = -0.0;

/// Offers every allowed passage with any of the terms.
pub(super) fn offer_all(
    reader: &SegmentReader,
    statistics: &dyn Bm25StatisticsProvider,
    terms: &[Term],
    mask: &Bits,
    best: &mut Best,
) -> tantivy::Result<()> {
    let Some(field) = terms.first().map(Term::field) else {
        return Ok(());
    };
    let allowed = mask.count();
    let mut lists = Vec::with_capacity(terms.len());
    for term in terms {
        lists.extend(List::open(reader, statistics, term, allowed)?);
    }
    let lengths = reader.get_fieldnorms_reader(field)?;
    let mut sums = vec![NOT_FOUND; WINDOW as usize];
    let mut next = mask.next(0);
    while let Some(first) = next {
        let end = first.saturating_add(WINDOW).min(reader.max_doc());
        for list in &mut lists {
            list.add(first..end, mask, &lengths, &mut sums);
        }
        while let Some(ordinal) = next.filter(|ordinal| *ordinal < end) {
            let sum = std::mem::replace(&mut sums[(ordinal - first) as usize], NOT_FOUND);
            if sum.is_sign_positive() {
                best.offer(sum, ordinal);
            }
            next = mask.next(ordinal + 1);
        }
        next = next.filter(|ordinal| *ordinal < reader.max_doc());
    }
    Ok(())
}

/// The passages of a term, read forwards.
struct List {
    block: BlockSegmentPostings,
    weight: Bm25Weight,
    /// Whether each allowed passage is sought in the list, rather than all of the list read.
    is_sought: bool,
}

impl List {
    /// `None`: no passage has the term.
    fn open(
        reader: &SegmentReader,
        statistics: &dyn Bm25StatisticsProvider,
        term: &Term,
        allowed: usize,
    ) -> tantivy::Result<Option<Self>> {
        let inverted = reader.inverted_index(term.field())?;
        let block = inverted.read_block_postings(term, IndexRecordOption::WithFreqs)?;
        let Some(block) = block else {
            return Ok(None);
        };
        let is_sought = allowed.saturating_mul(SEEK_COST) < block.doc_freq() as usize;
        let weight = Bm25Weight::for_terms(statistics, std::slice::from_ref(term))?;
        Ok(Some(Self {
            block,
            weight,
            is_sought,
        }))
    }

    /// Adds the term's part to the sums of the window's allowed passages. Windows come in ascending order.
    fn add(
        &mut self,
        window: Range<DocId>,
        mask: &Bits,
        lengths: &FieldNormReader,
        sums: &mut [f32],
    ) {
        let mut add = |ordinal: DocId, frequency: u32| {
            let score = self.weight.score(lengths.fieldnorm_id(ordinal), frequency);
            sums[(ordinal - window.start) as usize] += score;
        };
        if self.is_sought {
            seek(&mut self.block, window.clone(), mask, &mut add);
        } else {
            read(&mut self.block, window.clone(), mask, &mut add);
        }
    }
}

/// Finds the allowed passages of a window in a list: the list and the mask leap over each other.
fn seek(
    block: &mut BlockSegmentPostings,
    window: Range<DocId>,
    mask: &Bits,
    found: &mut impl FnMut(DocId, u32),
) {
    let mut next = mask.next(window.start);
    while let Some(wanted) = next.filter(|wanted| *wanted < window.end) {
        let at = block.seek(wanted);
        let ordinal = block.doc(at);
        if ordinal == wanted {
            found(ordinal, block.freq(at));
            next = mask.next(ordinal + 1);
        } else {
            // The list's end is above every window.
            next = mask.next(ordinal);
        }
    }
}

/// Reads all of a list's passages of a window.
fn read(
    block: &mut BlockSegmentPostings,
    window: Range<DocId>,
    mask: &Bits,
    found: &mut impl FnMut(DocId, u32),
) {
    let mut at = block.seek(window.start);
    while at < block.docs().len() {
        for (ordinal, frequency) in block.docs().iter().zip(block.freqs()).skip(at) {
            if *ordinal >= window.end {
                return;
            }
            if mask.contains(*ordinal) {
                found(*ordinal, *frequency);
            }
        }
        block.advance();
        at = 0;
    }
}
