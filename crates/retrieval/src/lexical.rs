//! BM25 by tantivy: one inverted index in each segment, statistics summed over all segments of a search.
//!
//! The statistics are summed so that a passage's score does not depend on how the passages are spread over segments.
//! Words are lowercased, folded to ASCII and stemmed by the document's language; a query's word is looked up under every
//! stem that a language gives it. Text without spaces between words (Chinese, Japanese) is indexed by pairs of characters.

mod analysis;
mod best;
mod masked;
mod sections;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tantivy::directory::RamDirectory;
use tantivy::indexer::SingleSegmentIndexWriter;
use tantivy::query::{
    Bm25StatisticsProvider, BooleanQuery, EnableScoring, Occur, Query, TermQuery,
};
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{PreTokenizedString, Token};
use tantivy::{Directory, Searcher, TantivyDocument, Term};

pub(crate) use analysis::Language;
use analysis::{Analysis, query_terms};
use best::Best;
pub(crate) use sections::SectionFile;
use sections::Sections;

use crate::bits::Bits;
use crate::segment::Source;

/// Memory that building an index may use before it spills; the least that tantivy takes is 15 MB.
const BUILD_BYTES: usize = 64 << 20;

/// Fewer than one in so many passages allowed: the mask leads rather than the block maxima.
const MASKED_BELOW: u64 = 2;

/// The postings of the only field begin after its number of words.
const POSTINGS_BEGIN: u64 = 8;

/// The files of one segment's inverted index, by name.
pub(crate) type Files = Vec<(String, Vec<u8>)>;

fn schema() -> (Schema, Field) {
    let mut builder = Schema::builder();
    let indexing = TextFieldIndexing::default()
        .set_index_option(IndexRecordOption::WithFreqs)
        .set_fieldnorms(true);
    let text = builder.add_text_field(
        "text",
        TextOptions::default().set_indexing_options(indexing),
    );
    (builder.build(), text)
}

/// Collects passages: tantivy's document ids are passage ordinals.
pub(crate) struct Writer {
    directory: RamDirectory,
    writer: SingleSegmentIndexWriter<TantivyDocument>,
    text: Field,
    analysis: Analysis,
}

impl Writer {
    pub(crate) fn new() -> tantivy::Result<Self> {
        let (schema, text) = schema();
        let directory = RamDirectory::create();
        let writer = tantivy::Index::builder()
            .schema(schema)
            .single_segment_index_writer(directory.clone(), BUILD_BYTES)?;
        Ok(Self {
            directory,
            writer,
            text,
            analysis: Analysis::new(),
        })
    }

    pub(crate) fn push(&mut self, passage: &str, language: Language) -> tantivy::Result<()> {
        let tokens = self
            .analysis
            .terms(passage, language)
            .into_iter()
            .enumerate();
        let tokens = tokens.map(|(position, text)| Token {
            position,
            text,
            ..Token::default()
        });
        let text = PreTokenizedString {
            text: String::new(),
            tokens: tokens.collect(),
        };
        let mut document = TantivyDocument::default();
        document.add_pre_tokenized_text(self.text, text);
        self.writer.add_document(document)
    }

    pub(crate) fn finish(self) -> tantivy::Result<Files> {
        let index = self.writer.finalize()?;
        let random = index
            .searchable_segment_ids()?
            .first()
            .map(tantivy::index::SegmentId::uuid_string)
            .unwrap_or_default();
        // tantivy keeps the list of the files it made in this file of its own.
        let list = self
            .directory
            .atomic_read(Path::new(".managed.json"))
            .map_err(tantivy::TantivyError::from)?;
        let names: BTreeSet<PathBuf> = serde_json::from_slice(&list)
            .map_err(|error| tantivy::TantivyError::InternalError(error.to_string()))?;
        let mut files = Files::new();
        for name in names {
            if !self.directory.exists(&name).unwrap_or(false) {
                continue;
            }
            let bytes = self
                .directory
                .atomic_read(&name)
                .map_err(tantivy::TantivyError::from)?;
            files.push(same_every_time(&name, bytes, &random));
        }
        files.sort();
        Ok(files)
    }
}

/// Whether a file holds the passages of the terms: the large one, of which a search reads a few places.
pub(crate) fn holds_postings(name: &str) -> bool {
    name.ends_with(".idx")
}

/// tantivy names an index's parts by chance; a segment is named by its content, so chance is taken out.
fn same_every_time(name: &Path, bytes: Vec<u8>, random: &str) -> (String, Vec<u8>) {
    let fixed = "0".repeat(random.len());
    let name = name.to_string_lossy().replace(random, &fixed);
    if name != "meta.json" || random.is_empty() {
        return (name, bytes);
    }
    let dashed = |plain: &str| {
        let cuts = [0..8, 8..12, 12..16, 16..20, 20..32];
        cuts.map(|cut| plain.get(cut).unwrap_or_default().to_owned())
            .join("-")
    };
    let text = String::from_utf8_lossy(&bytes).replace(&dashed(random), &dashed(&fixed));
    (name, text.replace(random, &fixed).into_bytes())
}

/// The inverted index of an opened segment.
pub(crate) struct Lexicon {
    /// The file of postings, in bytes of the segment's file.
    postings: std::ops::Range<u64>,
    searcher: Searcher,
    field: Field,
}

impl Lexicon {
    /// Opens an index over byte ranges of a segment's file.
    pub(crate) fn open(source: Source, files: Vec<SectionFile>) -> tantivy::Result<Self> {
        let postings = files.iter().find(|file| holds_postings(&file.name));
        let postings = postings.map(|file| file.range.clone()).unwrap_or_default();
        let directory = Sections {
            source,
            files: Arc::new(files),
        };
        let index = tantivy::Index::open(directory)?;
        let field = index.schema().get_field("text")?;
        let reader = index
            .reader_builder()
            .reload_policy(tantivy::ReloadPolicy::Manual)
            .try_into()?;
        Ok(Self {
            postings,
            searcher: reader.searcher(),
            field,
        })
    }

    /// Where the postings of a text's words stand in the segment's file. Where one is missed, tantivy's own reading
    /// brings it.
    pub(crate) fn postings(&self, text: &str) -> tantivy::Result<Vec<std::ops::Range<u64>>> {
        let mut ranges = Vec::new();
        for reader in self.searcher.segment_readers() {
            let inverted = reader.inverted_index(self.field)?;
            for term in query_terms(text) {
                let term = Term::from_field_text(self.field, &term);
                if let Some(info) = inverted.get_term_info(&term)? {
                    let place = |at: usize| self.postings.start + POSTINGS_BEGIN + at as u64;
                    ranges.push(place(info.postings_range.start)..place(info.postings_range.end));
                }
            }
        }
        Ok(ranges)
    }

    pub(crate) fn passages(&self) -> u64 {
        self.searcher.num_docs()
    }

    fn mean_length(&self) -> tantivy::Result<f32> {
        mean_length(&self.searcher, self.field)
    }
}

/// Statistics over all segments of a search.
struct Statistics<'a>(&'a [&'a Lexicon]);

impl Bm25StatisticsProvider for Statistics<'_> {
    fn total_num_tokens(&self, field: Field) -> tantivy::Result<u64> {
        self.0
            .iter()
            .map(|lexicon| lexicon.searcher.total_num_tokens(field))
            .sum()
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        self.0
            .iter()
            .map(|lexicon| lexicon.searcher.total_num_docs())
            .sum()
    }

    fn doc_freq(&self, term: &Term) -> tantivy::Result<u64> {
        self.0
            .iter()
            .map(|lexicon| Bm25StatisticsProvider::doc_freq(&lexicon.searcher, term))
            .sum()
    }
}

/// Words of a passage, on average; 0 where there are none.
fn mean_length(statistics: &dyn Bm25StatisticsProvider, field: Field) -> tantivy::Result<f32> {
    let passages = statistics.total_num_docs()?.max(1);
    Ok(statistics.total_num_tokens(field)? as f32 / passages as f32)
}

/// How far a passage may score above its block's stored maximum. tantivy picks the best of a block by the segment's own
/// mean length `a`; with the mean `b` of all segments another may be best. A score changes by a factor of at most
/// max(a/b, b/a) from one mean to the other, because each term of BM25's denominator does; so does the bound.
fn slack(own: f32, all: f32) -> f32 {
    if own > 0.0 && all > 0.0 {
        (own / all).max(all / own)
    } else {
        1.0
    }
}

/// The best `limit` allowed passages of each segment and all that equal the last of them: (score, segment, ordinal), in
/// no order. `masks[i]` belongs to `lexicons[i]`.
pub(crate) fn search(
    lexicons: &[&Lexicon],
    masks: &[Bits],
    text: &str,
    limit: usize,
) -> tantivy::Result<Vec<(f32, u32, u32)>> {
    search_by(lexicons, masks, text, limit, Way::of)
}

/// How a segment is searched; both ways find the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By block maxima, dropping what the mask does not let pass.
    Pruning,
    /// The allowed passages only.
    Masked,
}

impl Way {
    fn of(mask: &Bits, passages: u64) -> Self {
        if mask.count() as u64 * MASKED_BELOW < passages {
            Self::Masked
        } else {
            Self::Pruning
        }
    }
}

fn search_by(
    lexicons: &[&Lexicon],
    masks: &[Bits],
    text: &str,
    limit: usize,
    way: impl Fn(&Bits, u64) -> Way,
) -> tantivy::Result<Vec<(f32, u32, u32)>> {
    let words = query_terms(text);
    let statistics = Statistics(lexicons);
    let mut found = Vec::new();
    for (number, (lexicon, mask)) in lexicons.iter().zip(masks).enumerate() {
        if mask.is_empty() || words.is_empty() {
            continue;
        }
        let field = lexicon.field;
        let terms: Vec<Term> = words
            .iter()
            .map(|word| Term::from_field_text(field, word))
            .collect();
        let mean = mean_length(&statistics, field)?;
        let mut best = Best::new(limit, slack(lexicon.mean_length()?, mean));
        match way(mask, lexicon.passages()) {
            Way::Pruning => offer_pruned(lexicon, &statistics, &terms, mask, &mut best)?,
            Way::Masked => {
                for reader in lexicon.searcher.segment_readers() {
                    masked::offer_all(reader, &statistics, &terms, mask, &mut best)?;
                }
            }
        }
        let kept = best.finish().into_iter();
        found.extend(kept.map(|(score, ordinal)| (score, number as u32, ordinal)));
    }
    Ok(found)
}

/// Offers the allowed passages with any of the terms, without those that block maxima rule out.
fn offer_pruned(
    lexicon: &Lexicon,
    statistics: &Statistics<'_>,
    terms: &[Term],
    mask: &Bits,
    best: &mut Best,
) -> tantivy::Result<()> {
    let scoring = EnableScoring::enabled_from_statistics_provider(statistics, &lexicon.searcher);
    let weight = any_of(terms).weight(scoring)?;
    for reader in lexicon.searcher.segment_readers() {
        weight.for_each_pruning(f32::MIN, reader, &mut |ordinal, score| {
            if mask.contains(ordinal) {
                best.offer(score, ordinal);
            }
            best.threshold()
        })?;
    }
    Ok(())
}

/// A passage with any of the terms.
fn any_of(terms: &[Term]) -> BooleanQuery {
    let clauses = terms.iter().map(|term| {
        let query = TermQuery::new(term.clone(), IndexRecordOption::WithFreqs);
        (Occur::Should, Box::new(query) as Box<dyn Query>)
    });
    BooleanQuery::new(clauses.collect())
}

#[cfg(test)]
mod tests;
