//! Content blocks of Converse as AWS names them. A block that exists at AWS and not here is read, so that it can be
//! refused by its name and its place; anything else that is not named here does not parse.
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    pub(super) role: Role,
    pub(super) content: Vec<ContentBlock>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Role {
    User,
    Assistant,
    System,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum ContentBlock {
    Text(String),
    SearchResult(SearchResult),
    Document(Document),
    GuardContent(GuardContent),
    CachePoint(CachePoint),
    ToolUse(ToolUse),
    ToolResult(ToolResult),
    CitationsContent(CitationsContent),
    Image(Value),
    Video(Value),
    Audio(Value),
    ReasoningContent(Value),
    ToolAddition(Value),
    ToolRemoval(Value),
}

impl ContentBlock {
    /// The name of a block that AWS has and this emulator has not.
    pub(super) fn unsupported(&self) -> Option<&'static str> {
        match self {
            Self::Image(_) => Some("image"),
            Self::Video(_) => Some("video"),
            Self::Audio(_) => Some("audio"),
            Self::ReasoningContent(_) => Some("reasoningContent"),
            Self::ToolAddition(_) => Some("toolAddition"),
            Self::ToolRemoval(_) => Some("toolRemoval"),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum SystemBlock {
    Text(String),
    GuardContent(GuardContent),
    CachePoint(CachePoint),
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TextPart {
    pub(super) text: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CitationsConfig {
    pub(super) enabled: bool,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchResult {
    pub(super) source: String,
    pub(super) title: String,
    pub(super) content: Vec<TextPart>,
    #[serde(default)]
    pub(super) citations: CitationsConfig,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    #[serde(default)]
    pub(super) format: Option<String>,
    pub(super) name: String,
    pub(super) source: DocumentSource,
    #[serde(default)]
    pub(super) context: Option<String>,
    #[serde(default)]
    pub(super) citations: CitationsConfig,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum DocumentSource {
    /// Base64, as restJson1 carries blobs.
    Bytes(String),
    Text(String),
    Content(Vec<TextPart>),
    S3Location(Value),
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum GuardContent {
    Text(GuardText),
    Image(Value),
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GuardText {
    pub(super) text: String,
    #[serde(default)]
    pub(super) qualifiers: Vec<Qualifier>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Qualifier {
    GroundingSource,
    Query,
    GuardContent,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CachePoint {
    pub(super) r#type: CacheType,
    #[serde(default)]
    pub(super) ttl: CacheTtl,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum CacheType {
    Default,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(super) enum CacheTtl {
    #[default]
    #[serde(rename = "5m")]
    FiveMinutes,
    #[serde(rename = "1h")]
    OneHour,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ToolUse {
    pub(super) tool_use_id: String,
    pub(super) name: String,
    pub(super) input: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) r#type: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ToolResult {
    pub(super) tool_use_id: String,
    pub(super) content: Vec<ToolResultPart>,
    #[serde(default)]
    pub(super) status: Option<ToolResultStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) r#type: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum ToolResultStatus {
    Success,
    Error,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum ToolResultPart {
    Text(String),
    Json(Value),
    SearchResult(SearchResult),
    Image(Value),
    Document(Value),
    Video(Value),
}

impl ToolResultPart {
    /// The name of a part that AWS has and this emulator has not.
    pub(super) fn unsupported(&self) -> Option<&'static str> {
        match self {
            Self::Image(_) => Some("image"),
            Self::Document(_) => Some("document"),
            Self::Video(_) => Some("video"),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CitationsContent {
    #[serde(default)]
    pub(super) content: Vec<TextPart>,
    #[serde(default)]
    pub(super) citations: Vec<Citation>,
}

/// A citation, in replies, in stream deltas and in the history of a conversation.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Citation {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<String>,
    #[serde(default)]
    pub(super) source_content: Vec<TextPart>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) location: Option<Location>,
}

/// Where a citation points; every `end` is exclusive.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum Location {
    #[serde(rename = "searchResultLocation")]
    SearchResult {
        search_result_index: usize,
        start: usize,
        end: usize,
    },
    DocumentChar {
        document_index: usize,
        start: usize,
        end: usize,
    },
    DocumentChunk {
        document_index: usize,
        start: usize,
        end: usize,
    },
    DocumentPage {
        document_index: usize,
        start: usize,
        end: usize,
    },
    Web(Value),
}
