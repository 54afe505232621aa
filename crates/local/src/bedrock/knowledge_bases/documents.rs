//! Direct ingestion: IngestKnowledgeBaseDocuments, DeleteKnowledgeBaseDocuments, GetKnowledgeBaseDocuments,
//! ListKnowledgeBaseDocuments. Documents are taken at once and read one after the other.
use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Bedrock;
use super::super::agents::rules::{self, PageRequest};
use super::super::wire::{WireError, read_json};
use super::job::{held, manner};
use super::limits::Limited;
use super::reading::{self, METADATA_ENDING, Manner, Raw, Refusal};
use super::record::{
    CustomContent, CustomSource, Document, DocumentStatus, Identifier, InlineKind, MetadataKind,
    SentContent, SentDocument, SentMetadata, SourceKind,
};
use super::store::{Bases, Place};

/// Documents of one call. Source: Amazon Bedrock API Reference.
const DOCUMENTS: usize = 10;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct IngestRequest {
    client_token: Option<String>,
    documents: Vec<SentDocument>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NamedRequest {
    client_token: Option<String>,
    document_identifiers: Vec<Identifier>,
}

fn number(member: &str, count: usize) -> Result<(), WireError> {
    match (1..=DOCUMENTS).contains(&count) {
        true => Ok(()),
        false => Err(WireError::validation(format!(
            "1 validation error detected: Value at '{member}' failed to satisfy constraint: Member must have length between 1 and {DOCUMENTS}"
        ))),
    }
}

pub(super) fn ingest(bedrock: &Bedrock, place: &Place, body: &Bytes) -> Result<Value, WireError> {
    bedrock
        .bases
        .limits
        .count(Limited::Ingest, Instant::now())?;
    let request: IngestRequest = read_json(body)?;
    rules::client_token(request.client_token.as_deref())?;
    number("documents", request.documents.len())?;
    let details = bedrock.bases.change_source(place, |source| {
        let mut details = Vec::new();
        for sent in request.documents {
            let identifier = check(&sent, source.configuration.kind)?;
            let key = identifier.key().to_owned();
            let document = Document {
                sent: Some(sent),
                ..Document::new(identifier, DocumentStatus::Starting)
            };
            details.push(document.wire(place));
            source.documents.insert(key, document);
        }
        Ok(details)
    })?;
    spawn(bedrock, place.clone());
    Ok(json!({ "documentDetails": details }))
}

pub(super) fn delete(bedrock: &Bedrock, place: &Place, body: &Bytes) -> Result<Value, WireError> {
    bedrock
        .bases
        .limits
        .count(Limited::Delete, Instant::now())?;
    let request: NamedRequest = read_json(body)?;
    rules::client_token(request.client_token.as_deref())?;
    number("documentIdentifiers", request.document_identifiers.len())?;
    let details = bedrock.bases.change_source(place, |source| {
        let mut details = Vec::new();
        for identifier in request.document_identifiers {
            identifier.check(source.configuration.kind)?;
            let detail = match source.documents.get_mut(identifier.key()) {
                Some(document) => {
                    *document = Document::new(identifier, DocumentStatus::Deleting);
                    document.wire(place)
                }
                None => Document::new(identifier, DocumentStatus::NotFound).wire(place),
            };
            details.push(detail);
        }
        Ok(details)
    })?;
    spawn(bedrock, place.clone());
    Ok(json!({ "documentDetails": details }))
}

pub(super) fn get(bases: &Bases, place: &Place, body: &Bytes) -> Result<Value, WireError> {
    bases.limits.count(Limited::Get, Instant::now())?;
    let request: NamedRequest = read_json(body)?;
    number("documentIdentifiers", request.document_identifiers.len())?;
    bases.look_at_source(place, |source| {
        let mut details = Vec::new();
        for identifier in request.document_identifiers {
            identifier.check(source.configuration.kind)?;
            details.push(match source.documents.get(identifier.key()) {
                Some(document) => document.wire(place),
                None => Document::new(identifier, DocumentStatus::NotFound).wire(place),
            });
        }
        Ok(json!({ "documentDetails": details }))
    })
}

pub(super) fn list(bases: &Bases, place: &Place, body: &Bytes) -> Result<Value, WireError> {
    bases.limits.count(Limited::List, Instant::now())?;
    let page: PageRequest = read_json(body)?;
    let rows = bases.look_at_source(place, |source| {
        let documents = source.documents.values();
        Ok(documents.map(|document| document.wire(place)).collect())
    })?;
    page.page("documentDetails", rows)
}

/// The identifier of a document that was sent; refuses what does not fit together.
fn check(sent: &SentDocument, kind: SourceKind) -> Result<Identifier, WireError> {
    let SentContent {
        data_source_type,
        s3,
        custom,
    } = &sent.content;
    let identifier = match (s3, custom) {
        (Some(s3), None) => Identifier::s3(s3.s3_location.uri.clone()),
        (None, Some(custom)) => {
            check_custom(custom)?;
            Identifier::custom(custom.custom_document_identifier.id.clone())
        }
        _ => {
            return Err(WireError::validation(
                "The content of a document has one of the members s3 and custom.",
            ));
        }
    };
    if *data_source_type != identifier.data_source_type {
        return Err(WireError::validation(
            "The dataSourceType of a document does not fit its content.",
        ));
    }
    identifier.check(kind)?;
    if let Some(metadata) = &sent.metadata {
        check_metadata(metadata, kind)?;
    }
    Ok(identifier)
}

fn check_custom(custom: &CustomContent) -> Result<(), WireError> {
    let fits = match (
        custom.source_type,
        &custom.s3_location,
        &custom.inline_content,
    ) {
        (CustomSource::S3Location, Some(location), None) => {
            rules::s3_uri("s3Location.uri", &location.uri)?;
            true
        }
        (CustomSource::InLine, None, Some(inline)) => {
            if inline.kind == InlineKind::Byte {
                return Err(WireError::unsupported("inlineContent of type BYTE"));
            }
            inline.text_content.is_some() && inline.byte_content.is_none()
        }
        _ => false,
    };
    match fits {
        true => Ok(()),
        false => Err(WireError::validation(
            "The content of a custom document does not fit its sourceType.",
        )),
    }
}

/// A document of an S3 data source has its metadata in a file. Source: Amazon Bedrock User Guide, direct ingestion.
fn check_metadata(metadata: &SentMetadata, kind: SourceKind) -> Result<(), WireError> {
    if metadata.access_control_list.is_some() {
        return Err(WireError::unsupported("accessControlList"));
    }
    let attributes = &metadata.inline_attributes;
    match (metadata.kind, &metadata.s3_location) {
        (MetadataKind::S3Location, Some(location)) if attributes.is_empty() => {
            rules::s3_uri("metadata.s3Location.uri", &location.uri)
        }
        (MetadataKind::InLineAttribute, None) if kind == SourceKind::S3 => {
            Err(WireError::validation(
                "Metadata of a document of an S3 data source must be of type S3_LOCATION.",
            ))
        }
        (MetadataKind::InLineAttribute, None) => {
            if attributes.is_empty() || attributes.len() > 50 {
                return Err(WireError::validation(
                    "inlineAttributes must have 1 to 50 items.",
                ));
            }
            match attributes.iter().find(|one| one.value.plain().is_none()) {
                Some(one) => Err(WireError::validation(format!(
                    "The attribute {} has no value of its type.",
                    one.key
                ))),
                None => Ok(()),
            }
        }
        _ => Err(WireError::validation(
            "The metadata of a document does not fit its type.",
        )),
    }
}

/// Begins to work off what was sent to a data source.
pub(super) fn spawn(bedrock: &Bedrock, place: Place) {
    let bedrock = bedrock.clone();
    tokio::spawn(async move {
        loop {
            let _turn = bedrock.bases.turn().await;
            let Some(document) = next(&bedrock.bases, &place) else {
                break;
            };
            settle(&bedrock, &place, document).await;
        }
        if let Err(error) = bedrock.bases.keep(&place.0) {
            tracing::error!(%error, "documents that were sent could not be kept");
        }
    });
}

/// Goes on after the process ended: what somebody worked on is worked on by nobody.
pub(super) fn resume(bedrock: &Bedrock, place: Place) {
    bedrock.bases.note(&place, |source| {
        for document in source.documents.values_mut() {
            document.status = match document.status {
                DocumentStatus::DeleteInProgress => DocumentStatus::Deleting,
                DocumentStatus::InProgress if document.sent.is_some() => DocumentStatus::Starting,
                status => status,
            };
        }
    });
    spawn(bedrock, place);
}

/// A document that nobody works on; notes that somebody does now.
fn next(bases: &Bases, place: &Place) -> Option<Document> {
    let mut found = None;
    bases.note(place, |source| {
        let mut documents = source.documents.values_mut();
        if let Some(document) = documents.find(|document| document.is_waiting()) {
            found = Some(document.clone());
            document.status = match document.status {
                DocumentStatus::Deleting => DocumentStatus::DeleteInProgress,
                _ => DocumentStatus::InProgress,
            };
        }
    });
    found
}

async fn settle(bedrock: &Bedrock, place: &Place, document: Document) {
    let key = document.identifier.key().to_owned();
    let struck = held(bedrock, "IngestDocument", || false).await;
    let Some(sent) = document.sent.clone() else {
        if struck.is_ok() {
            bedrock.bases.drop_passages(place, Some(&key));
        }
        bedrock.bases.note(place, |source| {
            // Sent again meanwhile, it stays.
            let current = source.documents.get_mut(&key);
            let Some(current) =
                current.filter(|one| one.status == DocumentStatus::DeleteInProgress)
            else {
                return;
            };
            match struck {
                Ok(()) => {
                    source.documents.remove(&key);
                }
                Err(words) => {
                    current.status = DocumentStatus::Failed;
                    current.reason = Some(words);
                }
            }
        });
        return;
    };
    let read = match (struck, manner(&bedrock.bases, place)) {
        (Err(words), _) => Err(Refusal::failed(words)),
        (_, Err(error)) => Err(Refusal::failed(error.message)),
        (Ok(()), Ok((_, manner))) => read(bedrock, &manner, &sent).await,
    };
    let mut after = Document::new(document.identifier, DocumentStatus::Indexed);
    match read {
        Ok((passages, version)) => {
            bedrock.bases.put_passages(place, &key, passages);
            after.version = version;
        }
        Err(refusal) => {
            after.status = refusal.status;
            after.reason = Some(refusal.reason);
        }
    }
    bedrock.bases.note(place, |source| {
        // Another call about it may have come meanwhile: that one counts.
        let current = source.documents.get(&key).map(|document| document.status);
        if current == Some(DocumentStatus::InProgress) {
            source.documents.insert(key, after);
        }
    });
}

async fn read(
    bedrock: &Bedrock,
    manner: &Manner,
    sent: &SentDocument,
) -> Result<(retrieval::SegmentDocument, Option<String>), Refusal> {
    let location = match &sent.content {
        SentContent { s3: Some(s3), .. } => Some(s3.s3_location.uri.clone()),
        SentContent {
            custom: Some(custom),
            ..
        } => custom.s3_location.as_ref().map(|at| at.uri.clone()),
        _ => None,
    };
    let custom_id = sent.content.custom.as_ref();
    let custom_id = custom_id.map(|custom| custom.custom_document_identifier.id.clone());
    let (bytes, etag) = match (&location, sent.content.custom.as_ref()) {
        (Some(uri), _) => {
            let (bytes, etag) = reading::object(bedrock, uri).await?;
            (bytes, Some(etag))
        }
        (None, custom) => {
            let inline = custom.and_then(|custom| custom.inline_content.as_ref());
            let text = inline.and_then(|inline| inline.text_content.as_ref());
            let text = text.map(|text| text.data.clone()).unwrap_or_default();
            (Bytes::from(text), None)
        }
    };
    let (metadata, metadata_etag) = metadata(bedrock, sent, location.as_deref()).await?;
    let uri = custom_id.or(location).unwrap_or_default();
    let raw = Raw {
        bytes,
        uri,
        metadata,
    };
    let version = etag.map(|etag| format!("{etag}-{}", metadata_etag.as_deref().unwrap_or("none")));
    Ok((reading::read(bedrock, manner, raw).await?, version))
}

/// The metadata that was sent; else that of the file beside the object.
async fn metadata(
    bedrock: &Bedrock,
    sent: &SentDocument,
    location: Option<&str>,
) -> Result<(BTreeMap<String, Value>, Option<String>), Refusal> {
    let file = match &sent.metadata {
        Some(metadata) if metadata.kind == MetadataKind::InLineAttribute => {
            let attributes = metadata.inline_attributes.iter();
            let plain = attributes
                .filter_map(|attribute| Some((attribute.key.clone(), attribute.value.plain()?)));
            return Ok((plain.collect(), None));
        }
        Some(metadata) => metadata.s3_location.as_ref().map(|at| at.uri.clone()),
        None => location.map(|uri| format!("{uri}{METADATA_ENDING}")),
    };
    let Some(file) = file else {
        return Ok((BTreeMap::new(), None));
    };
    let attributes = reading::metadata(bedrock, &file).await?;
    let etag = match attributes.is_empty() {
        true => None,
        false => Some(reading::object(bedrock, &file).await?.1),
    };
    if etag.is_none() && sent.metadata.is_some() {
        return Err(Refusal::failed(format!(
            "The metadata file {file} does not exist, or says nothing."
        )));
    }
    Ok((attributes, etag))
}
