//! The control operations: CreateGuardrail, CreateGuardrailVersion, GetGuardrail, ListGuardrails, UpdateGuardrail,
//! DeleteGuardrail. Shapes: botocore's model of `bedrock`.
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_smithy_types::date_time::{DateTime, Format};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::wire::{ErrorName, WireError, paging};
use super::arn;
use super::policy::Config;
use super::store::{DRAFT, Guardrails, Stored, Version, id_of, missing};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(in crate::bedrock) struct VersionRequest {
    description: Option<String>,
    #[serde(rename = "clientRequestToken")]
    _client_request_token: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(in crate::bedrock) struct ListQuery {
    guardrail_identifier: Option<String>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

/// Milliseconds since 1970.
pub(in crate::bedrock) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

fn time(epoch_ms: u64) -> String {
    let time = DateTime::from_millis(i64::try_from(epoch_ms).unwrap_or(i64::MAX));
    time.fmt(Format::DateTime).unwrap_or_default()
}

impl Guardrails {
    pub(in crate::bedrock) fn create(&self, config: Config) -> Result<Value, WireError> {
        config.check()?;
        let now = now_ms();
        // AWS's ids have twelve of [a-z0-9].
        let id = ulid::Ulid::new().to_string()[14..].to_lowercase();
        self.change(|stored| {
            if stored.values().any(|other| other.draft.config.name == config.name) {
                let words = format!("Another guardrail in your account already has the name {}.", config.name);
                return Err(WireError::new(ErrorName::Conflict, words));
            }
            let draft = Version { config, description: None, created_ms: now, updated_ms: now };
            stored.insert(id.clone(), Stored { draft, versions: BTreeMap::new(), next: 1 });
            Ok(json!({"guardrailId": id, "guardrailArn": arn(&id), "version": DRAFT, "createdAt": time(now)}))
        })
    }

    pub(in crate::bedrock) fn create_version(
        &self,
        identifier: &str,
        request: VersionRequest,
    ) -> Result<Value, WireError> {
        let (id, now) = (id_of(identifier), now_ms());
        self.change(|stored| {
            let guardrail = stored.get_mut(id).ok_or_else(missing)?;
            let number = guardrail.next;
            guardrail.next += 1;
            let version = Version {
                description: request.description,
                created_ms: now,
                updated_ms: now,
                ..guardrail.draft.clone()
            };
            guardrail.versions.insert(number, version);
            Ok(json!({"guardrailId": id, "version": number.to_string()}))
        })
    }

    pub(in crate::bedrock) fn get(
        &self,
        identifier: &str,
        version: Option<&str>,
    ) -> Result<Value, WireError> {
        let number = version.unwrap_or(DRAFT);
        let (id, version) = self.find(identifier, number)?;
        let mut told = version.config.told();
        if let Some(description) = &version.description {
            told.insert("description".into(), json!(description));
        }
        let about = json!({
            "guardrailId": id, "guardrailArn": arn(&id), "version": number, "status": "READY",
            "createdAt": time(version.created_ms), "updatedAt": time(version.updated_ms),
            "statusReasons": [], "failureRecommendations": []
        });
        told.extend(about.as_object().cloned().unwrap_or_default());
        Ok(Value::Object(told))
    }

    /// Without an identifier the drafts of all guardrails, else every version of one.
    pub(in crate::bedrock) fn list(&self, query: &ListQuery) -> Result<Value, WireError> {
        let (from, page) = paging(query.max_results, query.next_token.as_deref())?;
        let rows = self.read(|stored| match &query.guardrail_identifier {
            None => Ok(stored
                .iter()
                .map(|(id, guardrail)| row(id, DRAFT, &guardrail.draft))
                .collect::<Vec<_>>()),
            Some(identifier) => {
                let id = id_of(identifier);
                let guardrail = stored.get(id).ok_or_else(missing)?;
                let draft = row(id, DRAFT, &guardrail.draft);
                let versions = guardrail
                    .versions
                    .iter()
                    .map(|(number, version)| row(id, &number.to_string(), version));
                Ok(std::iter::once(draft).chain(versions).collect())
            }
        })?;
        let total = rows.len();
        let shown: Vec<Value> = rows.into_iter().skip(from).take(page).collect();
        let mut reply = json!({ "guardrails": shown });
        if from.saturating_add(page) < total {
            reply["nextToken"] = json!((from + page).to_string());
        }
        Ok(reply)
    }

    pub(in crate::bedrock) fn update(
        &self,
        identifier: &str,
        config: Config,
    ) -> Result<Value, WireError> {
        config.check()?;
        let (id, now) = (id_of(identifier), now_ms());
        self.change(|stored| {
            let guardrail = stored.get_mut(id).ok_or_else(missing)?;
            guardrail.draft.config = config;
            guardrail.draft.updated_ms = now;
            Ok(json!({"guardrailId": id, "guardrailArn": arn(id), "version": DRAFT, "updatedAt": time(now)}))
        })
    }

    /// Deletes one version, or without a version the guardrail with all of them.
    pub(in crate::bedrock) fn delete(
        &self,
        identifier: &str,
        version: Option<&str>,
    ) -> Result<Value, WireError> {
        let id = id_of(identifier);
        self.change(|stored| {
            let guardrail = stored.get_mut(id).ok_or_else(missing)?;
            match version {
                None => {
                    stored.remove(id);
                }
                Some(DRAFT) => {
                    return Err(WireError::validation(
                        "The version DRAFT cannot be deleted; delete the guardrail.",
                    ));
                }
                Some(number) => {
                    let number: Option<u32> = number.parse().ok();
                    number
                        .and_then(|number| guardrail.versions.remove(&number))
                        .ok_or_else(missing)?;
                }
            }
            Ok(json!({}))
        })
    }
}

fn row(id: &str, number: &str, version: &Version) -> Value {
    let mut row = json!({
        "id": id, "arn": arn(id), "status": "READY", "name": version.config.name, "version": number,
        "createdAt": time(version.created_ms), "updatedAt": time(version.updated_ms)
    });
    if let Some(description) = version
        .description
        .as_ref()
        .or(version.config.description.as_ref())
    {
        row["description"] = json!(description);
    }
    row
}
