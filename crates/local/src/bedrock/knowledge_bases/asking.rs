//! Passages of a knowledge base for `Retrieve`.
use std::collections::BTreeMap;

use retrieval::{Hit, Index, Mask, Mode, Query};
use serde_json::{Value, json};

use super::super::Bedrock;
use super::super::wire::{ErrorName, WireError};
use super::base::Embedder;
use super::reading;
use super::record::SourceKind;

/// A passage that was found, with all its metadata and where it comes from.
pub(in crate::bedrock) struct Asked {
    pub(in crate::bedrock) hit: Hit,
    pub(in crate::bedrock) metadata: BTreeMap<String, Value>,
    pub(in crate::bedrock) location: Value,
    pub(in crate::bedrock) document_id: String,
}

/// The whole ranking of a knowledge base for a text: filters are applied to what it gives.
pub(in crate::bedrock) async fn ask(
    bedrock: &Bedrock,
    id: &str,
    text: &str,
    mode: Mode,
) -> Result<Vec<Asked>, WireError> {
    let Some(index) = bedrock.bases.index(id)? else {
        return Ok(Vec::new());
    };
    let configuration = bedrock
        .bases
        .look(id, |base| Ok(base.configuration.clone()))?;
    let embedder = Embedder::of(&configuration)?;
    let failed = |words: String| WireError::new(ErrorName::InternalServer, words);
    let vectors = reading::vectors(bedrock, &embedder, vec![text.to_owned()], true).await;
    let vectors = vectors.map_err(|refusal| failed(refusal.reason))?;
    let query = Query {
        text: (mode != Mode::Vector).then_some(text),
        vector: vectors.first().map(Vec::as_slice),
        mode,
        limit: usize::try_from(index.passage_count()).unwrap_or(usize::MAX),
        filter: None,
        mask: &Mask::Everything,
    };
    let hits = index
        .search(&query)
        .map_err(|error| failed(error.to_string()))?;
    let kinds = bedrock.bases.look(id, |base| {
        let kinds = base.sources.iter();
        let kinds = kinds.map(|source| (source.id.clone(), source.configuration.kind));
        Ok(kinds.collect::<BTreeMap<_, _>>())
    })?;
    Ok(hits
        .into_iter()
        .filter_map(|hit| described(&index, &kinds, hit))
        .collect())
}

fn described(index: &Index, kinds: &BTreeMap<String, SourceKind>, hit: Hit) -> Option<Asked> {
    let mut metadata = index.document(&hit.document_id)?.metadata;
    let (source, key) = hit.document_id.split_once('/')?;
    let location = match kinds.get(source) {
        Some(SourceKind::Custom) => {
            json!({"type": "CUSTOM", "customDocumentLocation": {"id": key}})
        }
        _ => json!({"type": "S3", "s3Location": {"uri": key}}),
    };
    let own = [
        ("x-amz-bedrock-kb-source-uri", json!(key)),
        ("x-amz-bedrock-kb-chunk-id", json!(hit.passage_id)),
        ("x-amz-bedrock-kb-data-source-id", json!(source)),
    ];
    metadata.extend(own.map(|(name, value)| (name.to_owned(), value)));
    let document_id = key.to_owned();
    Some(Asked {
        hit,
        metadata,
        location,
        document_id,
    })
}
