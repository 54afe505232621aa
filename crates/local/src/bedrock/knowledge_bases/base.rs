//! Knowledge bases themselves: CreateKnowledgeBase, GetKnowledgeBase, UpdateKnowledgeBase, DeleteKnowledgeBase,
//! ListKnowledgeBases.
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::agents::rules::{self, PageRequest};
use super::super::models::{self, Model};
use super::super::wire::{WireError, read_json};
use super::record::Base;
use super::store::Bases;
use crate::template::{ACCOUNT, REGION};

/// The embedding model of a managed knowledge base that names none.
const MANAGED_MODEL: &str = "amazon.titan-embed-text-v2:0";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BaseRequest {
    client_token: Option<String>,
    name: String,
    description: Option<String>,
    role_arn: String,
    knowledge_base_configuration: Value,
    storage_configuration: Option<Value>,
    tags: Option<Value>,
}

impl BaseRequest {
    fn check(&self) -> Result<(), WireError> {
        rules::unsupported(&[("tags", &self.tags)])?;
        rules::client_token(self.client_token.as_deref())?;
        rules::name("name", &self.name)?;
        rules::length("description", self.description.as_deref(), 1, 200)?;
        let configuration = &self.knowledge_base_configuration;
        let kind = configuration["type"].as_str().unwrap_or_default();
        match kind {
            "VECTOR" if self.storage_configuration.is_none() => {
                return Err(WireError::validation(
                    "A knowledge base of type VECTOR needs a storageConfiguration.",
                ));
            }
            "VECTOR" | "MANAGED" => {}
            "KENDRA" | "SQL" => {
                return Err(WireError::unsupported(format!(
                    "knowledgeBaseConfiguration.type {kind}"
                )));
            }
            _ => {
                return Err(WireError::validation(
                    "knowledgeBaseConfiguration.type must be VECTOR, KENDRA, SQL or MANAGED.",
                ));
            }
        }
        Embedder::of(configuration).map(|_| ())
    }
}

/// The embedding model of a knowledge base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Embedder {
    pub(super) model_id: String,
    pub(super) dimensions: Option<usize>,
}

impl Embedder {
    pub(super) fn of(configuration: &Value) -> Result<Self, WireError> {
        let managed = configuration["type"] == "MANAGED";
        let (member, own) = match managed {
            true => (
                "managedKnowledgeBaseConfiguration",
                &configuration["managedKnowledgeBaseConfiguration"],
            ),
            false => (
                "vectorKnowledgeBaseConfiguration",
                &configuration["vectorKnowledgeBaseConfiguration"],
            ),
        };
        let place = format!("knowledgeBaseConfiguration.{member}");
        if !own["supplementalDataStorageConfiguration"].is_null() {
            return Err(WireError::unsupported(format!(
                "{place}.supplementalDataStorageConfiguration"
            )));
        }
        let model_id = match own["embeddingModelArn"].as_str() {
            Some(arn) => arn.to_owned(),
            None if managed => MANAGED_MODEL.to_owned(),
            None => {
                return Err(WireError::validation(format!(
                    "{place}.embeddingModelArn is missing."
                )));
            }
        };
        if models::resolve(&model_id)? == Model::Text {
            return Err(WireError::validation(format!(
                "{place}.embeddingModelArn {model_id} is no embedding model."
            )));
        }
        let own = &own["embeddingModelConfiguration"]["bedrockEmbeddingModelConfiguration"];
        if own["embeddingDataType"] == "BINARY" {
            return Err(WireError::unsupported("embeddingDataType BINARY"));
        }
        let dimensions = own["dimensions"].as_u64().map(|number| number as usize);
        Ok(Self {
            model_id,
            dimensions,
        })
    }
}

impl Base {
    fn wire(&self, status: &str) -> Value {
        let mut json = json!({
            "knowledgeBaseId": self.id, "name": self.name,
            "knowledgeBaseArn": format!("arn:aws:bedrock:{REGION}:{ACCOUNT}:knowledge-base/{}", self.id),
            "roleArn": self.role_arn, "knowledgeBaseConfiguration": self.configuration, "status": status,
            "createdAt": self.created_at, "updatedAt": self.updated_at,
        });
        if let Some(description) = &self.description {
            json["description"] = json!(description);
        }
        if let Some(storage) = &self.storage {
            json["storageConfiguration"] = storage.clone();
        }
        json!({ "knowledgeBase": json })
    }
}

fn name_is_free<'a>(
    mut all: impl Iterator<Item = &'a Base>,
    own_id: &str,
    name: &str,
) -> Result<(), WireError> {
    match all.any(|other| other.id != own_id && other.name == name) {
        true => Err(rules::conflict(format!(
            "KnowledgeBase with name {name} already exists."
        ))),
        false => Ok(()),
    }
}

pub(super) fn create(bases: &Bases, body: &Bytes) -> Result<Value, WireError> {
    let request: BaseRequest = read_json(body)?;
    request.check()?;
    let token = &request.client_token;
    let before = |base: &Base| token.is_some() && base.client_token == *token;
    if let Some(base) = bases.all().into_iter().find(before) {
        return Ok(base.wire("ACTIVE"));
    }
    let base = bases.create(|all| {
        name_is_free(all.iter().copied(), "", &request.name)?;
        let at = rules::now();
        Ok(Base {
            id: rules::new_id(),
            name: request.name,
            description: request.description,
            role_arn: request.role_arn,
            configuration: request.knowledge_base_configuration,
            storage: request.storage_configuration,
            client_token: request.client_token,
            created_at: at.clone(),
            updated_at: at,
            sources: Vec::new(),
        })
    })?;
    Ok(base.wire("CREATING"))
}

pub(super) fn get(bases: &Bases, id: &str) -> Result<Value, WireError> {
    bases.look(id, |base| Ok(base.wire("ACTIVE")))
}

pub(super) fn update(bases: &Bases, id: &str, body: &Bytes) -> Result<Value, WireError> {
    let request: BaseRequest = read_json(body)?;
    request.check()?;
    name_is_free(bases.all().iter(), id, &request.name)?;
    bases.change(id, |base| {
        if base.configuration != request.knowledge_base_configuration {
            return Err(WireError::validation(
                "The knowledgeBaseConfiguration cannot be changed; make another knowledge base.",
            ));
        }
        base.name = request.name;
        base.description = request.description;
        base.role_arn = request.role_arn;
        base.updated_at = rules::now();
        Ok(base.wire("UPDATING"))
    })
}

pub(super) fn delete(bases: &Bases, id: &str) -> Result<Value, WireError> {
    bases.remove(id)?;
    Ok(json!({"knowledgeBaseId": id, "status": "DELETING"}))
}

pub(super) fn list(bases: &Bases, body: &Bytes) -> Result<Value, WireError> {
    let page: PageRequest = read_json(body)?;
    let rows = bases.all().into_iter().map(|base| {
        let mut json = json!({
            "knowledgeBaseId": base.id, "name": base.name, "status": "ACTIVE", "updatedAt": base.updated_at,
        });
        if let Some(description) = base.description {
            json["description"] = json!(description);
        }
        json
    });
    page.page("knowledgeBaseSummaries", rows.collect())
}
