//! BM25 by tantivy: one inverted index in each segment, statistics summed over all segments of a search.
//!
//! The statistics are summed so that a passage's score does not depend on how the passages are spread over segments.
//! Words are lowercased, folded to ASCII and stemmed by the document's language; a query's word is looked up under every
//! stem that a language gives it. Text without spaces between words (Chinese, Japanese) is indexed by pairs of characters.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rust_stemmers::{Algorithm, Stemmer};
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    DirectoryLock, FileHandle, Lock, OwnedBytes, RamDirectory, WatchCallback, WatchHandle, WritePtr,
};
use tantivy::query::{BooleanQuery, EnableScoring, Occur, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{
    AsciiFoldingFilter, LowerCaser, PreTokenizedString, RemoveLongFilter, SimpleTokenizer,
    TextAnalyzer, Token, TokenStream,
};
use tantivy::{Directory, Searcher, TantivyDocument, Term};

use crate::bits::Bits;

/// Words of more bytes are identifiers that nobody types; they are left out.
const WORD_BYTES: usize = 80;
/// Memory that building an index may use before it spills; the least that tantivy takes is 15 MB.
const BUILD_BYTES: usize = 64 << 20;

/// The files of one segment's inverted index, by name.
pub(crate) type Files = Vec<(String, Vec<u8>)>;

/// The language of a text, as far as stemming goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    Spanish,
    Other,
}

const LANGUAGES: [Language; 3] = [Language::English, Language::Spanish, Language::Other];

impl Language {
    /// Detected from the text; short and doubtful texts count as English.
    pub(crate) fn of(text: &str) -> Self {
        let mut end = text.len().min(4_000);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        match whatlang::detect(&text[..end]) {
            Some(found) if found.lang() == whatlang::Lang::Spa && found.is_reliable() => {
                Self::Spanish
            }
            Some(found) if found.lang() != whatlang::Lang::Eng && found.is_reliable() => {
                Self::Other
            }
            _ => Self::English,
        }
    }

    fn stemmer(self) -> Option<Stemmer> {
        match self {
            Self::English => Some(Stemmer::create(Algorithm::English)),
            Self::Spanish => Some(Stemmer::create(Algorithm::Spanish)),
            Self::Other => None,
        }
    }
}

/// The words of a text, folded, not stemmed.
fn words(text: &str) -> Vec<String> {
    let mut analyzer = TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(RemoveLongFilter::limit(WORD_BYTES))
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .build();
    let mut stream = analyzer.token_stream(text);
    let mut words = Vec::new();
    while let Some(token) = stream.next() {
        push_word(&mut words, &token.text);
    }
    words
}

/// A word, or the pairs of characters of a run without spaces.
fn push_word(words: &mut Vec<String>, word: &str) {
    let unspaced =
        |letter: char| matches!(letter as u32, 0x3040..=0x30FF | 0x3400..=0x9FFF | 0xF900..=0xFAFF);
    if !word.chars().any(unspaced) {
        words.push(word.to_owned());
        return;
    }
    let letters: Vec<char> = word.chars().collect();
    if letters.len() == 1 {
        words.push(word.to_owned());
    }
    words.extend(
        letters
            .windows(2)
            .map(|pair| pair.iter().collect::<String>()),
    );
}

fn stemmed(words: Vec<String>, language: Language) -> Vec<String> {
    match language.stemmer() {
        Some(stemmer) => words
            .into_iter()
            .map(|word| stemmer.stem(&word).into_owned())
            .collect(),
        None => words,
    }
}

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

/// Builds the index of passages in order: tantivy's document ids are passage ordinals.
pub(crate) fn build<'a>(
    passages: impl Iterator<Item = (String, Language)> + 'a,
) -> tantivy::Result<Files> {
    let (schema, text) = schema();
    let directory = RamDirectory::create();
    let mut writer = tantivy::Index::builder()
        .schema(schema)
        .single_segment_index_writer::<TantivyDocument>(directory.clone(), BUILD_BYTES)?;
    for (passage, language) in passages {
        let tokens = stemmed(words(&passage), language)
            .into_iter()
            .enumerate()
            .map(|(position, text)| Token {
                position,
                text,
                ..Token::default()
            })
            .collect();
        let mut document = TantivyDocument::default();
        document.add_pre_tokenized_text(
            text,
            PreTokenizedString {
                text: String::new(),
                tokens,
            },
        );
        writer.add_document(document)?;
    }
    let index = writer.finalize()?;
    let random = index
        .searchable_segment_ids()?
        .first()
        .map(tantivy::index::SegmentId::uuid_string)
        .unwrap_or_default();
    // tantivy keeps the list of the files it made in this file of its own.
    let list = directory
        .atomic_read(Path::new(".managed.json"))
        .map_err(tantivy::TantivyError::from)?;
    let names: BTreeSet<PathBuf> = serde_json::from_slice(&list)
        .map_err(|error| tantivy::TantivyError::InternalError(error.to_string()))?;
    let mut files = Files::new();
    for name in names {
        if !directory.exists(&name).unwrap_or(false) {
            continue;
        }
        let bytes = directory
            .atomic_read(&name)
            .map_err(tantivy::TantivyError::from)?;
        files.push(same_every_time(&name, bytes, &random));
    }
    files.sort();
    Ok(files)
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
    searcher: Searcher,
    field: Field,
}

impl Lexicon {
    /// Opens an index over byte ranges of a segment's file.
    pub(crate) fn open(
        bytes: OwnedBytes,
        files: Vec<(String, Range<usize>)>,
    ) -> tantivy::Result<Self> {
        let directory = Sections {
            bytes,
            files: Arc::new(files),
        };
        let index = tantivy::Index::open(directory)?;
        let field = index.schema().get_field("text")?;
        let reader = index
            .reader_builder()
            .reload_policy(tantivy::ReloadPolicy::Manual)
            .try_into()?;
        Ok(Self {
            searcher: reader.searcher(),
            field,
        })
    }

    pub(crate) fn passages(&self) -> u64 {
        self.searcher.num_docs()
    }
}

/// Statistics over all segments of a search.
struct Statistics<'a>(&'a [&'a Lexicon]);

impl tantivy::query::Bm25StatisticsProvider for Statistics<'_> {
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
            .map(|lexicon| {
                tantivy::query::Bm25StatisticsProvider::doc_freq(&lexicon.searcher, term)
            })
            .sum()
    }
}

/// The terms that a query looks for, each once.
fn query_terms(text: &str) -> BTreeSet<String> {
    let words = words(text);
    LANGUAGES
        .iter()
        .flat_map(|language| stemmed(words.clone(), *language))
        .collect()
}

/// The best `limit` allowed passages of each segment, merged: (score, segment, ordinal), best first, ties by place.
/// `masks[i]` belongs to `lexicons[i]`.
pub(crate) fn search(
    lexicons: &[&Lexicon],
    masks: &[Bits],
    text: &str,
    limit: usize,
) -> tantivy::Result<Vec<(f32, u32, u32)>> {
    let terms = query_terms(text);
    let statistics = Statistics(lexicons);
    let mut found = Vec::new();
    for (number, (lexicon, mask)) in lexicons.iter().zip(masks).enumerate() {
        if mask.count() == 0 || terms.is_empty() {
            continue;
        }
        let clauses = terms.iter().map(|term| {
            let term = Term::from_field_text(lexicon.field, term);
            let query: Box<dyn Query> =
                Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs));
            (Occur::Should, query)
        });
        let query = BooleanQuery::new(clauses.collect());
        let scoring =
            EnableScoring::enabled_from_statistics_provider(&statistics, &lexicon.searcher);
        let weight = query.weight(scoring)?;
        let mut best = Best::new(limit);
        for reader in lexicon.searcher.segment_readers() {
            weight.for_each_pruning(f32::MIN, reader, &mut |ordinal, score| {
                if mask.contains(ordinal) {
                    best.offer(score, ordinal);
                }
                best.threshold()
            })?;
        }
        found.extend(
            best.kept
                .into_iter()
                .map(|(score, ordinal)| (score, number as u32, ordinal)),
        );
    }
    found.sort_by(|left, right| {
        right
            .0
            .total_cmp(&left.0)
            .then((left.1, left.2).cmp(&(right.1, right.2)))
    });
    found.truncate(limit);
    Ok(found)
}

/// The best so far. Ties at the edge go to the smaller ordinal, which comes first.
struct Best {
    limit: usize,
    kept: Vec<(f32, u32)>,
    least: f32,
}

impl Best {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            kept: Vec::with_capacity(limit * 2),
            least: f32::MIN,
        }
    }

    fn offer(&mut self, score: f32, ordinal: u32) {
        if score <= self.least {
            return;
        }
        self.kept.push((score, ordinal));
        if self.kept.len() >= self.limit * 2 {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        self.kept
            .sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
        self.kept.truncate(self.limit);
        if let Some(last) = self.kept.last().filter(|_| self.kept.len() == self.limit) {
            self.least = last.0;
        }
    }

    fn threshold(&self) -> f32 {
        self.least
    }
}

/// A read-only directory over byte ranges of one file.
#[derive(Clone)]
struct Sections {
    bytes: OwnedBytes,
    files: Arc<Vec<(String, Range<usize>)>>,
}

impl std::fmt::Debug for Sections {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Sections")
            .field("files", &self.files.len())
            .finish()
    }
}

impl Sections {
    fn find(&self, path: &Path) -> Option<OwnedBytes> {
        let name = path.to_string_lossy();
        let (_, range) = self.files.iter().find(|(file, _)| *file == name)?;
        Some(self.bytes.slice(range.clone()))
    }
}

fn read_only() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "a segment is immutable")
}

impl Directory for Sections {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        let bytes = self
            .find(path)
            .ok_or_else(|| OpenReadError::FileDoesNotExist(path.to_owned()))?;
        Ok(Arc::new(bytes))
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        Err(DeleteError::IoError {
            io_error: Arc::new(read_only()),
            filepath: path.to_owned(),
        })
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        Ok(self.find(path).is_some())
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        Err(OpenWriteError::IoError {
            io_error: Arc::new(read_only()),
            filepath: path.to_owned(),
        })
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        let bytes = self
            .find(path)
            .ok_or_else(|| OpenReadError::FileDoesNotExist(path.to_owned()))?;
        Ok(bytes.as_slice().to_owned())
    }

    fn atomic_write(&self, path: &Path, _: &[u8]) -> io::Result<()> {
        // tantivy notes its managed files at open; a note about files that cannot change may be dropped.
        if path.to_string_lossy() == ".managed.json" {
            Ok(())
        } else {
            Err(read_only())
        }
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn acquire_lock(&self, _: &Lock) -> Result<DirectoryLock, LockError> {
        Ok(DirectoryLock::from(Box::new(())))
    }

    fn watch(&self, _: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_folded_and_stemmed_by_language() {
        let check = |text: &str, language: Language, expected: &[&str]| {
            assert_eq!(stemmed(words(text), language), expected, "{text}");
        };
        check("Running dogs", Language::English, &["run", "dog"]);
        check("canciones rápidas", Language::Spanish, &["cancion", "rap"]);
        check(
            "Größe der Häuser",
            Language::Other,
            &["grosse", "der", "hauser"],
        );
        check("東京都", Language::Other, &["東京", "京都"]);
        check("猫", Language::Other, &["猫"]);
    }

    #[test]
    fn the_language_is_detected() {
        let check = |text: &str, language| assert_eq!(Language::of(text), language, "{text}");
        check(
            "The quick brown fox jumps over the lazy dog and runs away into the forest.",
            Language::English,
        );
        check(
            "El perro corre por la calle mientras los niños juegan en el parque con una pelota grande.",
            Language::Spanish,
        );
        check(
            "Der Hund läuft durch die Straße, während die Kinder im Park mit einem Ball spielen.",
            Language::Other,
        );
        check("", Language::English);
    }

    #[test]
    fn the_same_passages_give_the_same_files() {
        let passages = || {
            ["granite cliffs", "basalt columns", "granite walls"]
                .into_iter()
                .map(|text| (text.to_owned(), Language::English))
        };
        let once = build(passages()).unwrap();
        assert_eq!(once, build(passages()).unwrap());
        assert!(once.iter().any(|(name, _)| name == "meta.json"));
    }
}
