//! A document's text to passages, as its space wants them cut. Only semantic chunking asks a model.

use aws::Aws;
use aws::bedrock::EmbedPurpose;
use extract::Extracted;
use retrieval::chunk::semantic::{self, Sentences};
use retrieval::chunk::{self, Chunking};
use retrieval::{Heading, Passage};

use super::StepError;

/// The passages, and the tokens that were embedded to find them.
///
/// # Errors
/// The embedding model's.
pub(super) async fn cut(
    aws: &Aws,
    chunking: &Chunking,
    extracted: &Extracted,
) -> Result<(Vec<Passage>, u64), StepError> {
    let headings: Vec<Heading> = extracted
        .headings
        .iter()
        .map(|heading| Heading {
            level: heading.level,
            title: heading.title.clone(),
            start: heading.start,
        })
        .collect();
    let text = &extracted.text;
    let (mut passages, tokens) = match *chunking {
        Chunking::Semantic {
            max_tokens,
            percentile,
        } => {
            let sentences = Sentences::new(text, max_tokens);
            let windows = sentences.windows();
            let (breaks, tokens) = match windows.is_empty() {
                true => (Vec::new(), 0),
                false => {
                    let embedded = aws.bedrock.embed(&windows, EmbedPurpose::Document).await?;
                    let breaks = semantic::breakpoints(&embedded.vectors, percentile);
                    (breaks, embedded.tokens)
                }
            };
            (sentences.cut(&headings, &breaks), tokens)
        }
        _ => (chunk::cut(text, &headings, chunking), 0),
    };
    retrieval::mark_pages(&mut passages, &extracted.pages);
    Ok((passages, tokens))
}
