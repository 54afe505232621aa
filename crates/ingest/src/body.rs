//! What a request brings: JSON with a typed form, or files in `multipart/form-data`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use knowledge::KnowledgeError;
use knowledge::digest::sha256_hex;
use knowledge::documents::NewDocument;
use knowledge::ledger::BudgetChange;
use knowledge::limits::LimitsChange;
use knowledge::orders::NewOrder;
use knowledge::problem::object;
use knowledge::roles::{self, RolesChange};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

/// A document as it came, with its bytes.
pub(crate) struct Upload {
    pub document: NewDocument,
    pub content: Bytes,
}

/// All that one upload request brings.
pub(crate) struct Uploads {
    pub space: Option<String>,
    pub uploads: Vec<Upload>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UploadForm {
    name: String,
    content: Option<String>,
    content_base64: Option<String>,
    space: Option<String>,
    #[serde(default, deserialize_with = "named")]
    metadata: BTreeMap<String, Value>,
    #[serde(default)]
    readers: Vec<String>,
}

/// `POST /v1/uploads`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinkForm {
    pub name: String,
    pub bytes: u64,
    pub space: Option<String>,
    #[serde(default, deserialize_with = "named")]
    pub metadata: BTreeMap<String, Value>,
    #[serde(default)]
    pub readers: Vec<String>,
}

/// `POST /v1/runs`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunForm {
    pub space: Option<String>,
    pub documents: Option<Vec<String>>,
    #[serde(default)]
    pub re_embed: bool,
    #[serde(default)]
    pub dry_run: bool,
    #[serde(default)]
    pub allow_deletions: bool,
}

/// `PUT /v1/spaces/{space}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpaceForm {
    /// Left out: as it is. Null: what the environment says.
    #[serde(default, deserialize_with = "roles::present")]
    pub retriever: Option<Option<String>>,
    /// The same.
    #[serde(default, deserialize_with = "roles::present")]
    pub model: Option<Option<String>>,
    /// The same.
    #[serde(default, deserialize_with = "roles::present")]
    pub rerank_model: Option<Option<String>>,
    #[serde(default)]
    pub strict: Option<bool>,
    #[serde(default)]
    pub chunking: Option<String>,
    #[serde(default)]
    pub batch_embedding: Option<String>,
    #[serde(default, deserialize_with = "object")]
    pub roles: RolesChange,
    #[serde(default, deserialize_with = "object")]
    pub limits: LimitsChange,
    #[serde(default, deserialize_with = "object")]
    pub budget: BudgetChange,
}

/// `POST /v1/orders`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrdersForm {
    pub space: Option<String>,
    pub orders: Vec<NewOrder>,
}

/// What uploads say, whatever the boundary between them is.
pub(crate) fn fingerprint(space: &str, uploads: &[Upload]) -> Vec<u8> {
    let told = uploads.iter().map(|upload| {
        let NewDocument {
            name,
            metadata,
            readers,
        } = &upload.document;
        json!([name, metadata, readers, sha256_hex(&upload.content)])
    });
    json!([space, told.collect::<Vec<_>>()])
        .to_string()
        .into_bytes()
}

/// Reads `POST /v1/documents` with a JSON body.
pub(crate) fn json_upload(body: &[u8]) -> Result<Uploads, KnowledgeError> {
    let form: UploadForm = knowledge::problem::parse_json(body)?;
    let content = match (form.content, form.content_base64) {
        (Some(text), None) => Bytes::from(text),
        (None, Some(encoded)) => Bytes::from(
            STANDARD
                .decode(encoded.trim())
                .map_err(|_| KnowledgeError::InvalidBase64)?,
        ),
        _ => {
            return Err(KnowledgeError::InvalidRequest {
                detail: "give exactly one of content and content_base64".into(),
            });
        }
    };
    let document = NewDocument {
        name: form.name,
        metadata: form.metadata,
        readers: form.readers,
    };
    Ok(Uploads {
        space: form.space,
        uploads: vec![Upload { document, content }],
    })
}

/// Reads `POST /v1/documents` with files: each part with a file name is a document; the fields `space`, `readers`
/// (comma-separated) and `metadata` (JSON) hold for all of them.
pub(crate) async fn multipart_upload(
    body: Bytes,
    content_type: &str,
) -> Result<Uploads, KnowledgeError> {
    let malformed = |error: multer::Error| KnowledgeError::InvalidRequest {
        detail: format!("multipart: {error}"),
    };
    let boundary = multer::parse_boundary(content_type).map_err(malformed)?;
    let stream = futures_util::stream::iter([Ok::<_, std::io::Error>(body)]);
    let mut parts = multer::Multipart::new(stream, boundary);
    let (mut files, mut space) = (Vec::new(), None);
    let (mut readers, mut metadata) = (Vec::new(), BTreeMap::new());
    while let Some(part) = parts.next_field().await.map_err(malformed)? {
        let (field, file) = (
            part.name().unwrap_or_default().to_owned(),
            part.file_name().map(str::to_owned),
        );
        let content = part.bytes().await.map_err(malformed)?;
        match (file, field.as_str()) {
            (Some(name), _) => files.push((name, content)),
            (None, "space") => space = Some(text(&content)?),
            (None, "readers") => {
                readers = text(&content)?
                    .split(',')
                    .map(|name| name.trim().to_owned())
                    .filter(|name| !name.is_empty())
                    .collect();
            }
            (None, "metadata") => {
                let Metadata(read) = knowledge::problem::parse_json(&content)?;
                metadata = read;
            }
            (None, other) => {
                return Err(KnowledgeError::UnknownField {
                    field: other.to_owned(),
                });
            }
        }
    }
    if files.is_empty() {
        let detail = "the form holds no file; send at least one part with a filename".into();
        return Err(KnowledgeError::InvalidRequest { detail });
    }
    let uploads = files
        .into_iter()
        .map(|(name, content)| Upload {
            document: NewDocument {
                name,
                metadata: metadata.clone(),
                readers: readers.clone(),
            },
            content,
        })
        .collect();
    Ok(Uploads { space, uploads })
}

/// Metadata as a form's part of its own.
#[derive(Deserialize)]
struct Metadata(#[serde(deserialize_with = "named")] BTreeMap<String, Value>);

/// Metadata whose keys all have names, for DynamoDB stores no attribute without one.
fn named<'de, D: Deserializer<'de>>(field: D) -> Result<BTreeMap<String, Value>, D::Error> {
    let metadata = BTreeMap::<String, Value>::deserialize(field)?;
    match metadata.contains_key("") || metadata.values().any(has_nameless) {
        true => Err(D::Error::custom("a key of the metadata is empty; name it")),
        false => Ok(metadata),
    }
}

fn has_nameless(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.contains_key("") || fields.values().any(has_nameless),
        Value::Array(items) => items.iter().any(has_nameless),
        _ => false,
    }
}

fn text(content: &[u8]) -> Result<String, KnowledgeError> {
    String::from_utf8(content.to_vec()).map_err(|_| KnowledgeError::InvalidUtf8)
}
