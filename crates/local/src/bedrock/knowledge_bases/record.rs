//! What is kept of a knowledge base, its data sources, their jobs and their documents.
use std::collections::BTreeMap;

use retrieval::chunk::{Chunking, FixedSize};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::agents::rules;
use super::super::wire::WireError;

/// A knowledge base.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Base {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) role_arn: String,
    /// `knowledgeBaseConfiguration` as it was sent.
    pub(super) configuration: Value,
    pub(super) storage: Option<Value>,
    pub(super) client_token: Option<String>,
    pub(super) created_at: String,
    pub(super) updated_at: String,
    pub(super) sources: Vec<DataSource>,
}

/// A data source of a knowledge base.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DataSource {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) configuration: SourceConfiguration,
    pub(super) deletion_policy: DeletionPolicy,
    /// `vectorIngestionConfiguration` as it was sent.
    pub(super) ingestion: Option<Value>,
    pub(super) chunking: Chunking,
    pub(super) client_token: Option<String>,
    pub(super) created_at: String,
    pub(super) updated_at: String,
    /// In the order of their starts.
    pub(super) jobs: Vec<Job>,
    /// By [`Identifier::key`].
    pub(super) documents: BTreeMap<String, Document>,
}

/// Where a data source's documents are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SourceConfiguration {
    #[serde(rename = "type")]
    pub(super) kind: SourceKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) s3_configuration: Option<S3Configuration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum SourceKind {
    S3,
    Custom,
}

impl SourceKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::S3 => "S3",
            Self::Custom => "CUSTOM",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct S3Configuration {
    pub(super) bucket_arn: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) inclusion_prefixes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) bucket_owner_account_id: Option<String>,
}

impl S3Configuration {
    pub(super) fn bucket(&self) -> &str {
        self.bucket_arn.rsplit(':').next().unwrap_or_default()
    }

    pub(super) fn prefix(&self) -> &str {
        self.inclusion_prefixes
            .first()
            .map_or("", |prefix| prefix.as_str())
    }
}

/// What becomes of the passages when their data source is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum DeletionPolicy {
    #[default]
    Delete,
    Retain,
}

/// Bedrock's own chunking where a data source names none: 300 tokens with 20 % overlap.
pub(super) const DEFAULT_CHUNKING: Chunking = Chunking::FixedSize(FixedSize {
    max_tokens: 300,
    overlap_percent: 20,
});

/// An ingestion job.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) description: Option<String>,
    pub(super) status: JobStatus,
    pub(super) statistics: Statistics,
    pub(super) failure_reasons: Vec<String>,
    pub(super) client_token: Option<String>,
    pub(super) started_at: String,
    pub(super) updated_at: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum JobStatus {
    Starting,
    InProgress,
    Complete,
    Failed,
    Stopping,
    Stopped,
}

impl JobStatus {
    pub(super) fn is_final(self) -> bool {
        matches!(self, Self::Complete | Self::Failed | Self::Stopped)
    }
}

/// What a job has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Statistics {
    pub(super) number_of_documents_scanned: u64,
    pub(super) number_of_metadata_documents_scanned: u64,
    pub(super) number_of_new_documents_indexed: u64,
    pub(super) number_of_modified_documents_indexed: u64,
    pub(super) number_of_metadata_documents_modified: u64,
    pub(super) number_of_documents_deleted: u64,
    pub(super) number_of_documents_failed: u64,
    pub(super) number_of_documents_skipped: u64,
}

impl Job {
    pub(super) fn summary(&self, place: &(String, String)) -> Value {
        let (base, source) = place;
        let mut json = json!({
            "knowledgeBaseId": base, "dataSourceId": source, "ingestionJobId": self.id, "status": self.status,
            "startedAt": self.started_at, "updatedAt": self.updated_at, "statistics": self.statistics,
        });
        if let Some(description) = &self.description {
            json["description"] = json!(description);
        }
        json
    }

    pub(super) fn wire(&self, place: &(String, String)) -> Value {
        let mut json = self.summary(place);
        if !self.failure_reasons.is_empty() {
            json["failureReasons"] = json!(self.failure_reasons);
        }
        json!({ "ingestionJob": json })
    }
}

/// A document of a data source, as it was last brought in or sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) identifier: Identifier,
    pub(super) status: DocumentStatus,
    pub(super) reason: Option<String>,
    pub(super) updated_at: String,
    /// What the object and its metadata file were: changes when either does.
    pub(super) version: Option<String>,
    /// Sent directly and not read yet; `None` for deletions too, which their status tells.
    pub(super) sent: Option<SentDocument>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum DocumentStatus {
    Indexed,
    Failed,
    Ignored,
    NotFound,
    Starting,
    InProgress,
    Deleting,
    DeleteInProgress,
}

impl DocumentStatus {
    pub(super) fn is_pending(self) -> bool {
        matches!(
            self,
            Self::Starting | Self::InProgress | Self::Deleting | Self::DeleteInProgress
        )
    }
}

/// What names a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Identifier {
    pub(super) data_source_type: SourceKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) s3: Option<S3Uri>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) custom: Option<CustomId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct S3Uri {
    pub(super) uri: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CustomId {
    pub(super) id: String,
}

impl Identifier {
    pub(super) fn s3(uri: String) -> Self {
        Self {
            data_source_type: SourceKind::S3,
            s3: Some(S3Uri { uri }),
            custom: None,
        }
    }

    pub(super) fn custom(id: String) -> Self {
        Self {
            data_source_type: SourceKind::Custom,
            s3: None,
            custom: Some(CustomId { id }),
        }
    }

    /// What tells it from others of its data source.
    pub(super) fn key(&self) -> &str {
        let uri = self.s3.as_ref().map(|s3| s3.uri.as_str());
        uri.or(self.custom.as_ref().map(|custom| custom.id.as_str()))
            .unwrap_or_default()
    }

    /// Refuses what names nothing, or nothing of such a data source.
    pub(super) fn check(&self, kind: SourceKind) -> Result<(), WireError> {
        if self.data_source_type != kind {
            return Err(WireError::validation(format!(
                "The dataSourceType {} is not that of the data source, {}.",
                self.data_source_type.name(),
                kind.name()
            )));
        }
        match (&self.s3, &self.custom, kind) {
            (Some(s3), None, SourceKind::S3) => rules::s3_uri("s3.uri", &s3.uri),
            (None, Some(custom), SourceKind::Custom) => {
                rules::length("custom.id", Some(&custom.id), 1, 2048)
            }
            _ => Err(WireError::validation(format!(
                "A document of a data source of type {0} is named by the member {0} and no other.",
                kind.name().to_lowercase()
            ))),
        }
    }
}

impl Document {
    pub(super) fn new(identifier: Identifier, status: DocumentStatus) -> Self {
        Self {
            identifier,
            status,
            reason: None,
            updated_at: rules::now(),
            version: None,
            sent: None,
        }
    }

    /// Whether it was sent or deleted directly, and nobody works on that yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.status == DocumentStatus::Deleting
            || (self.status == DocumentStatus::Starting && self.sent.is_some())
    }

    pub(super) fn wire(&self, place: &(String, String)) -> Value {
        let (base, source) = place;
        let mut json = json!({
            "knowledgeBaseId": base, "dataSourceId": source, "status": self.status, "identifier": self.identifier,
            "updatedAt": self.updated_at,
        });
        if let Some(reason) = &self.reason {
            json["statusReason"] = json!(reason);
        }
        json
    }
}

/// A document as IngestKnowledgeBaseDocuments takes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SentDocument {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) metadata: Option<SentMetadata>,
    pub(super) content: SentContent,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SentContent {
    pub(super) data_source_type: SourceKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) s3: Option<S3Content>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) custom: Option<CustomContent>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct S3Content {
    pub(super) s3_location: S3Uri,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CustomContent {
    pub(super) custom_document_identifier: CustomId,
    pub(super) source_type: CustomSource,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) s3_location: Option<OwnedLocation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) inline_content: Option<InlineContent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum CustomSource {
    InLine,
    S3Location,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct OwnedLocation {
    pub(super) uri: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) bucket_owner_account_id: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct InlineContent {
    #[serde(rename = "type")]
    pub(super) kind: InlineKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) text_content: Option<TextContent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) byte_content: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum InlineKind {
    Byte,
    Text,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TextContent {
    pub(super) data: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SentMetadata {
    #[serde(rename = "type")]
    pub(super) kind: MetadataKind,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) inline_attributes: Vec<InlineAttribute>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) s3_location: Option<OwnedLocation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) access_control_list: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum MetadataKind {
    InLineAttribute,
    S3Location,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InlineAttribute {
    pub(super) key: String,
    pub(super) value: AttributeValue,
}

/// A typed value, in direct ingestion and in metadata files.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AttributeValue {
    #[serde(rename = "type")]
    pub(super) kind: AttributeKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) number_value: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) boolean_value: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) string_value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) string_list_value: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum AttributeKind {
    Boolean,
    Number,
    String,
    StringList,
}

impl AttributeValue {
    /// The plain value; `None` where the member of its type is missing.
    pub(super) fn plain(&self) -> Option<Value> {
        match self.kind {
            AttributeKind::Boolean => self.boolean_value.map(|value| json!(value)),
            AttributeKind::Number => self.number_value.map(|value| json!(value)),
            AttributeKind::String => self.string_value.as_ref().map(|value| json!(value)),
            AttributeKind::StringList => self.string_list_value.as_ref().map(|value| json!(value)),
        }
    }
}
