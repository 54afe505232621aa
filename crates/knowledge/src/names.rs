//! Names of documents and where they stand in the bucket.
//!
//! A document is an object below `sources/<space>/`; its name is the rest of the key. Beside it may stand
//! `<name>.metadata.json` in the form that Bedrock Knowledge Bases read, with our `readers` and `owner` added.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::short_id;

/// The longest document name in bytes: S3 keys end at 1,024 bytes, the prefix and the sidecar's ending need room.
pub const NAME_BYTES: usize = 900;

/// The metadata list that tells a knowledge base who may read a document.
pub const READERS_KEY: &str = "readers";

pub(crate) const SIDECAR: &str = ".metadata.json";

/// Metadata and readers of a document, as they stand in its sidecar object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sidecar {
    /// Bedrock's own field: key to plain value.
    #[serde(default)]
    pub metadata_attributes: BTreeMap<String, Value>,
    /// Principals that may read the document.
    #[serde(default)]
    pub readers: Vec<String>,
    /// The principal that uploaded the document; may always read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Where people read the document, where that is not the object itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
}

impl Sidecar {
    /// Everyone who may read the document: the readers, those of the metadata list `readers` (the only place that a
    /// Bedrock knowledge base reads) and the owner; sorted, each once.
    pub fn effective_readers(&self) -> Vec<String> {
        let listed = self.metadata_attributes.get(READERS_KEY);
        let listed = listed.and_then(Value::as_array).into_iter().flatten();
        let listed = listed.filter_map(Value::as_str).map(str::to_owned);
        let named = self.readers.iter().chain(&self.owner).cloned();
        let mut readers: Vec<String> = named.chain(listed).collect();
        readers.sort();
        readers.dedup();
        readers
    }

    /// The metadata of the document itself, without the list of readers.
    pub fn metadata(&self) -> BTreeMap<String, Value> {
        let mut metadata = self.metadata_attributes.clone();
        metadata.remove(READERS_KEY);
        metadata
    }

    /// The same sidecar with its readers where a Bedrock knowledge base reads them too.
    pub fn with_listed_readers(mut self) -> Self {
        self.metadata_attributes.remove(READERS_KEY);
        let readers = self.effective_readers();
        if !readers.is_empty() {
            self.metadata_attributes
                .insert(READERS_KEY.to_owned(), readers.into());
        }
        self
    }
}

/// The id of the document `name` in `space`: the same name is always the same document.
pub fn document_id(space: &str, name: &str) -> String {
    format!("{space}.{}", short_id(&[space, name], 20))
}

/// The last component of a name.
pub fn file_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

pub fn source_prefix(space: &str) -> String {
    format!("sources/{space}/")
}

pub fn source_key(space: &str, name: &str) -> String {
    format!("sources/{space}/{name}")
}

/// The published texts of a space as the Bedrock knowledge base that it fills reads them.
pub fn knowledge_base_prefix(space: &str) -> String {
    format!("knowledge-base/{space}/")
}

/// The published text of a document there. Short: direct ingestion takes URIs of 128 characters at the most.
pub fn knowledge_base_key(document_id: &str) -> String {
    let space = aws::dynamo::keys::space_of(document_id).unwrap_or_default();
    let own = document_id.get(space.len() + 1..).unwrap_or_default();
    format!("{}{own}.txt", knowledge_base_prefix(space))
}

/// The document whose published text is the object `name` below [`knowledge_base_prefix`]; `None` for a sidecar, and
/// for what is none of ours.
pub fn knowledge_base_document(space: &str, name: &str) -> Option<String> {
    let id = format!("{space}.{}", name.strip_suffix(".txt")?);
    aws::dynamo::keys::space_of(&id)?;
    Some(id)
}

/// Where the bytes of an announced upload wait for the run that takes them over.
pub fn staging_key(space: &str, upload_id: &str) -> String {
    format!("uploads/{space}/{upload_id}")
}

pub fn sidecar_key(source_key: &str) -> String {
    format!("{source_key}{SIDECAR}")
}

pub fn is_sidecar(key: &str) -> bool {
    key.ends_with(SIDECAR)
}

/// The extracted texts of a document, one object for each version. Not shared between documents of the same content,
/// so that deleting one document cannot take another's text.
pub fn texts_prefix(document_id: &str) -> String {
    let space = aws::dynamo::keys::space_of(document_id).unwrap_or_default();
    format!("texts/{space}/{document_id}/")
}

/// The extracted text of a document version.
pub fn text_key(document_id: &str, content_hash: &str) -> String {
    format!("{}{content_hash}.txt", texts_prefix(document_id))
}

/// Why `name` cannot name a document, in words for the caller; `None` when it can.
pub fn name_problem(name: &str) -> Option<&'static str> {
    if name.trim().is_empty() {
        return Some("the name is empty");
    }
    if name.len() > NAME_BYTES {
        return Some("the name is longer than 900 bytes");
    }
    if name.chars().any(char::is_control) || name.contains('\\') {
        return Some("the name holds a control character or a backslash");
    }
    if name
        .split('/')
        .any(|part| part.is_empty() || part == "." || part == "..")
    {
        return Some("the name has an empty, '.' or '..' path component");
    }
    // A file system, on which the laptop keeps its objects, allows 255 bytes for each component.
    if name.split('/').any(|part| part.len() > 200) {
        return Some("a path component of the name is longer than 200 bytes");
    }
    is_sidecar(name).then_some("names that end in .metadata.json are kept for metadata")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        let check = |name: &str, ok: bool| assert_eq!(name_problem(name).is_none(), ok, "{name:?}");
        check("handbook/limits.md", true);
        check("größe.txt", true);
        check("", false);
        check("  ", false);
        check("/etc/passwd", false);
        check("a/../b", false);
        check("a//b", false);
        check("a\nb", false);
        check("a\\b", false);
        check("x.md.metadata.json", false);
        check(&"x".repeat(201), false);
        check(&"x/".repeat(451), false);
    }

    #[test]
    fn documents_are_found_again_where_a_knowledge_base_reads_them() {
        let id = document_id("team-7", "handbook/limits.md");
        let key = knowledge_base_key(&id);
        let name = key.strip_prefix(&knowledge_base_prefix("team-7")).unwrap();
        assert_eq!(knowledge_base_document("team-7", name), Some(id));
        for wrong in ["a.txt.metadata.json", "a", "../a.txt", ".txt", "A.txt"] {
            assert_eq!(knowledge_base_document("team-7", wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_owner_is_a_reader() {
        let sidecar = Sidecar {
            readers: vec!["group:b".into(), "everyone".into()],
            owner: Some("user:a".into()),
            ..Sidecar::default()
        };
        assert_eq!(
            sidecar.effective_readers(),
            ["everyone", "group:b", "user:a"]
        );
        assert!(Sidecar::default().effective_readers().is_empty());
    }

    #[test]
    fn readers_stand_where_a_knowledge_base_reads_them() {
        let sidecar: Sidecar = serde_json::from_value(serde_json::json!({
            "metadataAttributes": {"team": "search", "readers": ["group:b"]}
        }))
        .unwrap();
        assert_eq!(sidecar.effective_readers(), ["group:b"]);
        assert_eq!(sidecar.metadata().keys().collect::<Vec<_>>(), ["team"]);
        let uploaded = Sidecar {
            owner: Some("user:a".into()),
            readers: vec!["everyone".into()],
            ..sidecar
        };
        let written = uploaded.with_listed_readers();
        let listed = serde_json::json!(["everyone", "user:a"]);
        assert_eq!(written.metadata_attributes[READERS_KEY], listed);
        assert_eq!(written.effective_readers(), ["everyone", "user:a"]);
    }
}
