//! Data sources: CreateDataSource, GetDataSource, UpdateDataSource, DeleteDataSource, ListDataSources.
use std::collections::BTreeMap;

use bytes::Bytes;
use retrieval::chunk::{Chunking, FixedSize};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::agents::rules::{self, PageRequest};
use super::super::wire::{WireError, read_json};
use super::record::{
    DEFAULT_CHUNKING, DataSource, DeletionPolicy, SourceConfiguration, SourceKind,
};
use super::store::{Bases, Place};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SourceRequest {
    client_token: Option<String>,
    name: String,
    description: Option<String>,
    data_source_configuration: Value,
    #[serde(default)]
    data_deletion_policy: DeletionPolicy,
    vector_ingestion_configuration: Option<Value>,
    server_side_encryption_configuration: Option<Value>,
}

impl SourceRequest {
    fn check(&self) -> Result<(SourceConfiguration, Chunking), WireError> {
        rules::unsupported(&[(
            "serverSideEncryptionConfiguration",
            &self.server_side_encryption_configuration,
        )])?;
        rules::client_token(self.client_token.as_deref())?;
        rules::name("name", &self.name)?;
        rules::length("description", self.description.as_deref(), 1, 200)?;
        let configuration = configuration(&self.data_source_configuration)?;
        Ok((
            configuration,
            chunking(self.vector_ingestion_configuration.as_ref())?,
        ))
    }
}

fn configuration(sent: &Value) -> Result<SourceConfiguration, WireError> {
    let kind = sent["type"].as_str().unwrap_or_default();
    if !matches!(kind, "S3" | "CUSTOM") {
        return Err(WireError::unsupported(format!(
            "dataSourceConfiguration.type {kind}"
        )));
    }
    let read: SourceConfiguration = SourceConfiguration::deserialize(sent).map_err(|error| {
        WireError::validation(format!("The dataSourceConfiguration is not valid: {error}"))
    })?;
    match (&read.kind, &read.s3_configuration) {
        (SourceKind::S3, Some(s3)) => {
            let bucket = s3.bucket_arn.strip_prefix("arn:aws:s3:::");
            if bucket.is_none_or(|name| !(3..=63).contains(&name.len())) {
                return Err(WireError::validation(format!(
                    "s3Configuration.bucketArn {} is no ARN of a bucket.",
                    s3.bucket_arn
                )));
            }
            if s3.inclusion_prefixes.len() > 1 {
                return Err(WireError::validation(
                    "s3Configuration.inclusionPrefixes must have length less than or equal to 1.",
                ));
            }
            let prefix = s3.inclusion_prefixes.first().map(String::as_str);
            rules::length("inclusionPrefixes", prefix, 1, 300)?;
            Ok(read)
        }
        (SourceKind::Custom, None) => Ok(read),
        _ => Err(WireError::validation(
            "A data source of type S3 needs an s3Configuration, one of type CUSTOM none.",
        )),
    }
}

/// The chunking of a `vectorIngestionConfiguration`.
fn chunking(sent: Option<&Value>) -> Result<Chunking, WireError> {
    let Some(sent) = sent else {
        return Ok(DEFAULT_CHUNKING);
    };
    for member in [
        "customTransformationConfiguration",
        "parsingConfiguration",
        "contextEnrichmentConfiguration",
    ] {
        if !sent[member].is_null() {
            return Err(WireError::unsupported(format!(
                "vectorIngestionConfiguration.{member}"
            )));
        }
    }
    let sent = &sent["chunkingConfiguration"];
    match sent["chunkingStrategy"].as_str() {
        None if sent.is_null() => Ok(DEFAULT_CHUNKING),
        Some("NONE") => Ok(Chunking::None),
        Some("FIXED_SIZE") => {
            let own = &sent["fixedSizeChunkingConfiguration"];
            let number = |member: &str, least: u64, most: u64| {
                let found = own[member].as_u64();
                found
                    .filter(|number| (least..=most).contains(number))
                    .map(|number| number as usize)
                    .ok_or_else(|| {
                        WireError::validation(format!(
                            "fixedSizeChunkingConfiguration.{member} must be {least} to {most}."
                        ))
                    })
            };
            Ok(Chunking::FixedSize(FixedSize {
                max_tokens: number("maxTokens", 1, 8192)?,
                overlap_percent: number("overlapPercentage", 1, 99)?,
            }))
        }
        Some(other @ ("HIERARCHICAL" | "SEMANTIC")) => {
            Err(WireError::unsupported(format!("chunkingStrategy {other}")))
        }
        _ => Err(WireError::validation(
            "chunkingStrategy must be FIXED_SIZE, NONE, HIERARCHICAL or SEMANTIC.",
        )),
    }
}

impl DataSource {
    fn wire(&self, base: &str) -> Value {
        let mut json = json!({
            "knowledgeBaseId": base, "dataSourceId": self.id, "name": self.name, "status": "AVAILABLE",
            "dataSourceConfiguration": self.configuration, "dataDeletionPolicy": self.deletion_policy,
            "createdAt": self.created_at, "updatedAt": self.updated_at,
        });
        if let Some(description) = &self.description {
            json["description"] = json!(description);
        }
        if let Some(ingestion) = &self.ingestion {
            json["vectorIngestionConfiguration"] = ingestion.clone();
        }
        json!({ "dataSource": json })
    }
}

pub(super) fn create(bases: &Bases, base_id: &str, body: &Bytes) -> Result<Value, WireError> {
    let request: SourceRequest = read_json(body)?;
    let (configuration, chunking) = request.check()?;
    bases.change(base_id, |base| {
        let before = |source: &&DataSource| {
            request.client_token.is_some() && source.client_token == request.client_token
        };
        if let Some(source) = base.sources.iter().find(before) {
            return Ok(source.wire(base_id));
        }
        if base
            .sources
            .iter()
            .any(|source| source.name == request.name)
        {
            return Err(rules::conflict(format!(
                "DataSource with name {} already exists.",
                request.name
            )));
        }
        let at = rules::now();
        let source = DataSource {
            id: rules::new_id(),
            name: request.name,
            description: request.description,
            configuration,
            deletion_policy: request.data_deletion_policy,
            ingestion: request.vector_ingestion_configuration,
            chunking,
            client_token: request.client_token,
            created_at: at.clone(),
            updated_at: at,
            jobs: Vec::new(),
            documents: BTreeMap::new(),
        };
        let wire = source.wire(base_id);
        base.sources.push(source);
        Ok(wire)
    })
}

pub(super) fn get(bases: &Bases, place: &Place) -> Result<Value, WireError> {
    bases.look_at_source(place, |source| Ok(source.wire(&place.0)))
}

pub(super) fn update(bases: &Bases, place: &Place, body: &Bytes) -> Result<Value, WireError> {
    let request: SourceRequest = read_json(body)?;
    let (configuration, chunking) = request.check()?;
    bases.change_source(place, |source| {
        if source.configuration.kind != configuration.kind || source.chunking != chunking {
            return Err(WireError::validation(
                "The type and the chunking of a data source cannot be changed; make another one.",
            ));
        }
        source.name = request.name;
        source.description = request.description;
        source.configuration = configuration;
        source.deletion_policy = request.data_deletion_policy;
        source.updated_at = rules::now();
        Ok(source.wire(&place.0))
    })
}

pub(super) fn delete(bases: &Bases, place: &Place) -> Result<Value, WireError> {
    let policy = bases.change(&place.0, |base| {
        let at = base.sources.iter().position(|source| source.id == place.1);
        let at = at.ok_or_else(|| super::store::unknown_source(place))?;
        let source = &base.sources[at];
        if source.jobs.iter().any(|job| !job.status.is_final()) {
            return Err(rules::conflict(format!(
                "Data source {} has an ongoing ingestion job. Stop it first.",
                place.1
            )));
        }
        Ok(base.sources.remove(at).deletion_policy)
    })?;
    if policy == DeletionPolicy::Delete {
        bases.drop_passages(place, None);
        bases.keep(&place.0)?;
    }
    Ok(json!({"knowledgeBaseId": place.0, "dataSourceId": place.1, "status": "DELETING"}))
}

pub(super) fn list(bases: &Bases, base_id: &str, body: &Bytes) -> Result<Value, WireError> {
    let page: PageRequest = read_json(body)?;
    let rows = bases.look(base_id, |base| {
        let rows = base.sources.iter().map(|source| {
            let mut json = json!({
                "knowledgeBaseId": base_id, "dataSourceId": source.id, "name": source.name, "status": "AVAILABLE",
                "updatedAt": source.updated_at,
            });
            if let Some(description) = &source.description {
                json["description"] = json!(description);
            }
            json
        });
        Ok(rows.collect())
    })?;
    page.page("dataSourceSummaries", rows)
}
