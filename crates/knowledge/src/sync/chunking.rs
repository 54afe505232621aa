//! A document's text to passages, as its space wants them cut. Only semantic chunking asks a model.

use std::time::Instant;

use aws::Aws;
use extract::Extracted;
use retrieval::chunk::semantic::{self, Sentences};
use retrieval::chunk::{self, Chunking};
use retrieval::{Heading, Passage};

use super::StepError;
use super::rows::{PlannedDocument, objects};
use super::waves::{self, Embedded, Texts};
use crate::ledger::Account;

/// The passages of a document, and the tokens that were embedded to find them.
pub(super) struct Cut {
    pub passages: Vec<Passage>,
    pub tokens: u64,
}

/// Cuts a document; `None` where the time of the step that began at `begun` does not suffice, and another is to go on.
///
/// # Errors
/// Those of [`waves::embed`].
pub(super) async fn cut(
    aws: &Aws,
    run_id: &str,
    item: &PlannedDocument,
    extracted: &Extracted,
    begun: Instant,
    account: &Account<'_>,
) -> Result<Option<Cut>, StepError> {
    let Chunking::Semantic {
        max_tokens,
        percentile,
    } = item.chunking
    else {
        return Ok(Some(Cut {
            passages: plain(extracted, &item.chunking),
            tokens: 0,
        }));
    };
    let sentences = Sentences::new(&extracted.text, max_tokens);
    let windows = sentences.windows();
    let asked = Texts {
        texts: &windows,
        key: &objects::windows(run_id, &item.document_id),
        // A document that comes later in the batch may need the step made again.
        keep_all: true,
        begun,
        account,
    };
    let Embedded::All { vectors, billed } = waves::embed(aws, &asked).await? else {
        return Ok(None);
    };
    let breaks = semantic::breakpoints(&vectors, percentile);
    let mut passages = sentences.cut(&headings(extracted), &breaks);
    retrieval::mark_pages(&mut passages, &extracted.pages);
    let tokens = billed.tokens;
    Ok(Some(Cut { passages, tokens }))
}

/// What [`cut`] comes to, without a model: a document to be cut where its meaning turns is cut by size alone, and the tokens
/// are counted and not billed.
pub(super) fn estimated(extracted: &Extracted, chunking: &Chunking) -> Cut {
    let tokens = match *chunking {
        Chunking::Semantic { max_tokens, .. } => {
            let windows = Sentences::new(&extracted.text, max_tokens).windows();
            let counted = windows.iter().map(|one| chunk::count_tokens(one) as u64);
            counted.sum()
        }
        _ => 0,
    };
    let passages = plain(extracted, chunking);
    Cut { passages, tokens }
}

/// Whether cutting asks a model.
pub(super) fn embeds(chunking: &Chunking) -> bool {
    matches!(chunking, Chunking::Semantic { .. })
}

fn plain(extracted: &Extracted, chunking: &Chunking) -> Vec<Passage> {
    let mut passages = chunk::cut(&extracted.text, &headings(extracted), chunking);
    retrieval::mark_pages(&mut passages, &extracted.pages);
    passages
}

fn headings(extracted: &Extracted) -> Vec<Heading> {
    let headings = extracted.headings.iter();
    let heading = headings.map(|heading| Heading {
        level: heading.level,
        title: heading.title.clone(),
        start: heading.start,
    });
    heading.collect()
}
