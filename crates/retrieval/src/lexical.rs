//! BM25 by tantivy: one inverted index in each segment, statistics summed over all segments of a search.
//!
//! The statistics are summed so that a passage's score does not depend on how the passages are spread over segments.
//! Words are lowercased, folded to ASCII and stemmed by the document's language; a query's word is looked up under every
//! stem that a language gives it. Text without spaces between words (Chinese, Japanese) is indexed by pairs of characters.

mod analysis;
mod maxscore;
mod sections;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tantivy::directory::RamDirectory;
use tantivy::indexer::SingleSegmentIndexWriter;
use tantivy::postings::TermInfo;
use tantivy::query::{Bm25StatisticsProvider, Bm25Weight};
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{PreTokenizedString, Token};
use tantivy::{Directory, Searcher, TantivyDocument, Term};

pub(crate) use analysis::Language;
use analysis::{Analysis, query_terms};
use maxscore::{List, Window};
pub(crate) use sections::SectionFile;
use sections::Sections;

use crate::best::{Best, Scored};
use crate::bits::Bits;
use crate::segment::Source;

/// Memory that building an index may use before it spills; the least that tantivy takes is 15 MB.
const BUILD_BYTES: usize = 64 << 20;

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
        for word in query_terms(text) {
            if let Some(info) = self.place(&word)? {
                let place = |at: usize| self.postings.start + POSTINGS_BEGIN + at as u64;
                ranges.push(place(info.postings_range.start)..place(info.postings_range.end));
            }
        }
        Ok(ranges)
    }

    pub(crate) fn passages(&self) -> u64 {
        self.searcher.num_docs()
    }

    /// Where the passages of a word stand; `None`: no passage has it. A segment's index has one part.
    fn place(&self, word: &str) -> tantivy::Result<Option<TermInfo>> {
        let Some(reader) = self.searcher.segment_readers().first() else {
            return Ok(None);
        };
        let term = Term::from_field_text(self.field, word);
        Ok(reader.inverted_index(self.field)?.get_term_info(&term)?)
    }
}

/// A word of a query: how it scores, by the statistics of all segments together, and where each has its passages.
struct Word {
    weight: Bm25Weight,
    places: Vec<Option<TermInfo>>,
}

/// The words of a query that any segment has, in descending order of the most that they add to a score.
fn words(lexicons: &[&Lexicon], text: &str) -> tantivy::Result<Vec<Word>> {
    let (mut passages, mut tokens, mut terms) = (0, 0, Vec::new());
    for lexicon in lexicons {
        passages += lexicon.passages();
        tokens += lexicon.searcher.total_num_tokens(lexicon.field)?;
    }
    for word in query_terms(text) {
        let place = |lexicon: &&Lexicon| lexicon.place(&word);
        let places = lexicons
            .iter()
            .map(place)
            .collect::<tantivy::Result<Vec<_>>>()?;
        let found = places
            .iter()
            .flatten()
            .map(|place| u64::from(place.doc_freq));
        let found: u64 = found.sum();
        if found > 0 {
            let mean = tokens as f32 / passages as f32;
            let weight = Bm25Weight::for_one_term_without_explain(found, passages, mean);
            terms.push(Word { weight, places });
        }
    }
    // The order of equals is that of the text, and so the same for every passage.
    terms.sort_by(|left, right| right.weight.max_score().total_cmp(&left.weight.max_score()));
    Ok(terms)
}

/// The best `limit` allowed passages of all segments and those that equal the last of them, in no order.
/// `masks[i]` belongs to `lexicons[i]`.
pub(crate) fn search(
    lexicons: &[&Lexicon],
    masks: &[Bits],
    text: &str,
    limit: usize,
) -> tantivy::Result<Vec<Scored>> {
    let words = words(lexicons, text)?;
    let (mut best, mut window) = (Best::new(limit, f32::MIN), Window::new());
    for (number, (lexicon, mask)) in lexicons.iter().zip(masks).enumerate() {
        let Some(reader) = lexicon.searcher.segment_readers().first() else {
            continue;
        };
        let inverted = reader.inverted_index(lexicon.field)?;
        let mut lists = Vec::with_capacity(words.len());
        for word in &words {
            if let Some(Some(place)) = word.places.get(number) {
                let option = IndexRecordOption::WithFreqs;
                lists.push(List {
                    block: inverted.read_block_postings_from_terminfo(place, option)?,
                    weight: &word.weight,
                    bound: word.weight.max_score(),
                });
            }
        }
        if !lists.is_empty() {
            let lengths = reader.get_fieldnorms_reader(lexicon.field)?;
            let number = number as u32;
            maxscore::offer_best(&mut lists, &lengths, mask, number, &mut window, &mut best);
        }
    }
    Ok(best.finish())
}

#[cfg(test)]
mod tests;
