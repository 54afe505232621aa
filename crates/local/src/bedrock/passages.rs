//! What a conversation gives the answerer: the question, and the passages it may answer from (search results,
//! documents, tool results, and numbered passages written into the text as `[1] title`, newline, text).
use std::sync::LazyLock;

use base64::Engine as _;
use regex::Regex;

use super::content::{
    ContentBlock, Document, DocumentSource, GuardContent, GuardText, Message, Qualifier, Role,
    SearchResult, SystemBlock, ToolResultPart,
};
use super::request::ConverseRequest;
use super::wire::WireError;

/// Largest document inside a request (bytes), AWS's 4.5 MB.
const MAX_DOCUMENT_BYTES: usize = 4_500_000;

/// A passage and how a citation points into it.
#[derive(Clone, Debug)]
pub(super) struct Passage {
    pub(super) title: String,
    pub(super) source: String,
    pub(super) parts: Vec<String>,
    pub(super) place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Position among all search results of the request, from 0.
    SearchResult {
        index: usize,
        cite: bool,
    },
    /// Position among all documents of the request, from 0; `chunks`: the document came as a list of parts.
    Document {
        index: usize,
        cite: bool,
        chunks: bool,
    },
    /// `[number]` in the text.
    Numbered {
        number: usize,
    },
    ToolResult,
}

/// The question and the passages of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Material {
    pub(super) question: String,
    pub(super) passages: Vec<Passage>,
    /// The request ends with tool results rather than with a question.
    pub(super) after_tools: bool,
    /// Passages came with the question, or in the system prompt.
    pub(super) brought: bool,
}

/// Collects the material of a request that passed its checks.
pub(super) fn collect(request: &ConverseRequest) -> Result<Material, WireError> {
    let mut material = Material::default();
    let mut counters = Counters::default();
    for block in &request.system {
        if let SystemBlock::Text(text) = block {
            material.passages.extend(numbered(text).passages);
        }
    }
    let of_system = material.passages.len();
    for (turn, message) in request.messages.iter().enumerate() {
        if message.role != Role::User {
            continue;
        }
        let before = material.passages.len();
        for (index, block) in message.content.iter().enumerate() {
            add_block(
                &mut material,
                &mut counters,
                block,
                &format!("messages.{turn}.content.{index}"),
            )?;
        }
        if let Some(question) = question_of(message) {
            material.question = question;
            let brought = &material.passages[before..];
            let mut brought = brought.iter().map(|passage| passage.place);
            material.brought = of_system > 0 || brought.any(|place| place != Place::ToolResult);
        }
    }
    material.after_tools = request.messages.last().is_some_and(has_tool_result);
    Ok(material)
}

#[derive(Default)]
struct Counters {
    search_results: usize,
    documents: usize,
}

impl Counters {
    fn search_result(&mut self, result: &SearchResult) -> Passage {
        let index = self.search_results;
        self.search_results += 1;
        of_search_result(result, index)
    }
}

/// A search result as a passage; `index` counts all search results of the request from 0.
pub(super) fn of_search_result(result: &SearchResult, index: usize) -> Passage {
    Passage {
        title: result.title.clone(),
        source: result.source.clone(),
        parts: result
            .content
            .iter()
            .map(|part| part.text.clone())
            .collect(),
        place: Place::SearchResult {
            index,
            cite: result.citations.enabled,
        },
    }
}

fn add_block(
    material: &mut Material,
    counters: &mut Counters,
    block: &ContentBlock,
    path: &str,
) -> Result<(), WireError> {
    match block {
        ContentBlock::SearchResult(result) => {
            material.passages.push(counters.search_result(result))
        }
        ContentBlock::Document(document) => {
            let parts = document_parts(document, path)?;
            let chunks = matches!(document.source, DocumentSource::Content(_));
            let place = Place::Document {
                index: counters.documents,
                cite: document.citations.enabled,
                chunks,
            };
            counters.documents += 1;
            material.passages.push(Passage {
                title: document.name.clone(),
                source: document.name.clone(),
                parts,
                place,
            });
        }
        ContentBlock::Text(text) => material.passages.extend(numbered(text).passages),
        // What the answer must rest on is there to be answered from.
        ContentBlock::GuardContent(GuardContent::Text(text)) if is_source(text) => {
            material.passages.push(tool_passage(text.text.clone()));
        }
        ContentBlock::ToolResult(result) => {
            for part in &result.content {
                match part {
                    ToolResultPart::SearchResult(result) => {
                        material.passages.push(counters.search_result(result))
                    }
                    ToolResultPart::Text(text) => {
                        material.passages.push(tool_passage(text.clone()))
                    }
                    ToolResultPart::Json(value) => {
                        material.passages.push(tool_passage(value.to_string()))
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
    Ok(())
}

fn is_source(text: &GuardText) -> bool {
    text.qualifiers.contains(&Qualifier::GroundingSource)
}

fn tool_passage(text: String) -> Passage {
    Passage {
        title: String::new(),
        source: String::new(),
        parts: vec![text],
        place: Place::ToolResult,
    }
}

fn has_tool_result(message: &Message) -> bool {
    message
        .content
        .iter()
        .any(|block| matches!(block, ContentBlock::ToolResult(_)))
}

/// The text parts of a document block. Formats: `txt`, `md`, `csv`, `html` as they are; others are refused by name.
pub(super) fn document_parts(document: &Document, path: &str) -> Result<Vec<String>, WireError> {
    let legal = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '(' | ')' | '[' | ']');
    if document.name.trim().is_empty()
        || document.name.chars().count() > 200
        || !document.name.chars().all(legal)
    {
        return Err(WireError::validation(format!(
            "The name at {path}.document.name must have 1 to 200 letters, digits, single spaces, hyphens, parentheses and square brackets."
        )));
    }
    let format = document.format.as_deref().unwrap_or("txt");
    if !matches!(format, "txt" | "md" | "csv" | "html") {
        return Err(WireError::unsupported(format!(
            "{path}.document.format {format}"
        )));
    }
    let parts = match &document.source {
        DocumentSource::S3Location(_) => {
            return Err(WireError::unsupported(format!(
                "{path}.document.source.s3Location"
            )));
        }
        DocumentSource::Text(text) => vec![text.clone()],
        DocumentSource::Content(parts) => parts.iter().map(|part| part.text.clone()).collect(),
        DocumentSource::Bytes(encoded) => vec![decode(encoded, path)?],
    };
    if parts.iter().map(String::len).sum::<usize>() > MAX_DOCUMENT_BYTES {
        return Err(WireError::validation(format!(
            "The document at {path} exceeds the maximum size of 4.5 MB."
        )));
    }
    Ok(parts)
}

fn decode(encoded: &str, path: &str) -> Result<String, WireError> {
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .map_err(|_| {
            WireError::validation(format!(
                "The value at {path}.document.source.bytes is not base64."
            ))
        })?;
    String::from_utf8(bytes)
        .map_err(|_| WireError::validation(format!("The document at {path} is not UTF-8 text.")))
}

/// The last text that is not a passage.
pub(super) fn question_of(message: &Message) -> Option<String> {
    let mut questions = message.content.iter().filter_map(|block| match block {
        ContentBlock::Text(text) => Some(numbered(text).question),
        ContentBlock::GuardContent(GuardContent::Text(text)) if !is_source(text) => {
            Some(text.text.clone())
        }
        _ => None,
    });
    questions.rfind(|question| !question.trim().is_empty())
}

/// A text taken apart.
struct Numbered {
    question: String,
    passages: Vec<Passage>,
}

static MARKER: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?m)^\[(\d{1,3})\][ \t]*(.*)$").ok());
static TAGGED: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?is)<question>(.+?)</question>").ok());
static LABELLED: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?im)^[ \t]*question:[ \t]*").ok());

/// A question that is marked as one, and where its mark begins. The last `Question:` counts: passages may hold others.
fn marked_question(text: &str) -> Option<(usize, String)> {
    let tagged = TAGGED.as_ref().and_then(|pattern| pattern.captures(text));
    if let Some((whole, question)) = tagged.and_then(|found| found.get(0).zip(found.get(1))) {
        return Some((whole.start(), question.as_str().trim().to_owned()));
    }
    let label = LABELLED
        .as_ref()
        .and_then(|pattern| pattern.find_iter(text).last())?;
    let question = text[label.end()..].trim();
    (!question.is_empty()).then(|| (label.start(), question.to_owned()))
}

/// Reads `[1] title` + text passages. The question is what stands after `Question:` (or in `<question>`), else what
/// stands before the first marker, else a last paragraph that ends with a question mark.
fn numbered(text: &str) -> Numbered {
    let marked = marked_question(text);
    let markers: Vec<_> = MARKER
        .iter()
        .flat_map(|pattern| pattern.captures_iter(text))
        .collect();
    let spans: Vec<(usize, usize)> = markers
        .iter()
        .filter_map(|found| found.get(0))
        .map(|m| (m.start(), m.end()))
        .collect();
    let Some((first, _)) = spans.first() else {
        return Numbered {
            question: marked.map_or_else(|| text.trim().to_owned(), |(_, question)| question),
            passages: Vec::new(),
        };
    };
    let end_of_all = marked
        .as_ref()
        .map(|(start, _)| *start)
        .filter(|start| start >= first)
        .unwrap_or(text.len());
    let mut bodies: Vec<&str> = Vec::new();
    for (at, (_, end)) in spans.iter().enumerate() {
        let next = spans.get(at + 1).map_or(end_of_all, |(start, _)| *start);
        bodies.push(text.get(*end..next.max(*end)).unwrap_or("").trim());
    }
    let before = text[..*first].trim();
    let question = match marked {
        Some((_, question)) => question,
        None if !before.is_empty() => before.to_owned(),
        None => take_last_question(&mut bodies),
    };
    let passages = markers.iter().zip(&bodies).filter_map(|(found, body)| {
        let title = found.get(2).map_or("", |m| m.as_str()).trim();
        let number = found.get(1)?.as_str().parse().ok()?;
        // A passage on one line: the text after the marker is the passage itself.
        let (title, body) = if body.is_empty() {
            ("", title)
        } else {
            (title, *body)
        };
        Some(Passage {
            title: title.to_owned(),
            source: String::new(),
            parts: vec![body.to_owned()],
            place: Place::Numbered { number },
        })
    });
    Numbered {
        question,
        passages: passages.collect(),
    }
}

fn take_last_question(bodies: &mut [&str]) -> String {
    let Some(last) = bodies.last_mut() else {
        return String::new();
    };
    match last.rsplit_once("\n\n") {
        Some((body, question)) if question.trim().ends_with('?') => {
            *last = body.trim();
            question.trim().to_owned()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, question: &str, passages: &[(usize, &str, &str)]) {
        let found = numbered(text);
        assert_eq!(found.question, question);
        let got: Vec<(usize, &str, &str)> = found
            .passages
            .iter()
            .map(|p| match p.place {
                Place::Numbered { number } => (number, p.title.as_str(), p.parts[0].as_str()),
                _ => unreachable!("numbered passages only"),
            })
            .collect();
        assert_eq!(got, passages);
    }

    #[test]
    fn numbered_passages_and_the_question_are_told_apart() {
        check("What is X?", "What is X?", &[]);
        check(
            "[1] A\nalpha.\n\n[2] B\nbeta.\n\nQuestion: what is A?",
            "what is A?",
            &[(1, "A", "alpha."), (2, "B", "beta.")],
        );
        check(
            "What is A?\n[1] A\nalpha.",
            "What is A?",
            &[(1, "A", "alpha.")],
        );
        check(
            "[1] A\nalpha.\n\nWhat is A?",
            "What is A?",
            &[(1, "A", "alpha.")],
        );
        check("[3] only a line", "", &[(3, "", "only a line")]);
        check(
            "<question>why?</question>\n[1] A\nalpha.",
            "why?",
            &[(1, "A", "alpha.")],
        );
    }
}
