//! PrepareAgent: checks that the draft can run and freezes it for the test alias and for new versions.
use serde_json::{Value, json};

use super::super::models;
use super::super::wire::WireError;
use super::super::{AgentServices, Bedrock};
use super::action_group::{ApiSchema, State};
use super::agent::{Collaboration, Definition};
use super::rules;
use super::store::Prepared;
use super::{openapi, parse_alias_arn};

pub(super) async fn prepare(bedrock: &Bedrock, id: &str) -> Result<Value, WireError> {
    let mut definition = bedrock.agents.get(id)?.draft;
    check(bedrock, id, &definition)?;
    read_schemas(&bedrock.services, &mut definition).await?;
    let at = rules::now();
    bedrock.agents.change(id, |record| {
        record.prepared = Some(Prepared {
            at: at.clone(),
            definition,
        });
        record.dirty = false;
        Ok(())
    })?;
    Ok(json!({"agentId": id, "agentStatus": "PREPARED", "agentVersion": "DRAFT", "preparedAt": at}))
}

fn check(bedrock: &Bedrock, id: &str, definition: &Definition) -> Result<(), WireError> {
    let missing = |what: &str| {
        Err(WireError::validation(format!(
            "Agent {id} cannot be prepared: it has no {what}."
        )))
    };
    if definition.instruction.is_none() {
        return missing("instruction");
    }
    let Some(model) = &definition.foundation_model else {
        return missing("foundationModel");
    };
    models::resolve_text(model)?;
    let leads = definition.collaboration != Collaboration::Disabled;
    if leads && definition.collaborators.is_empty() {
        return missing("collaborator, and its agentCollaboration says that it leads some");
    }
    for collaborator in &definition.collaborators {
        let arn = &collaborator.alias_arn;
        let there = parse_alias_arn(arn).is_some_and(|(agent, alias)| {
            let known = bedrock.agents.get(agent);
            known.is_ok_and(|known| known.aliases.iter().any(|found| found.id == alias))
        });
        if !there {
            return Err(WireError::validation(format!(
                "Agent {id} cannot be prepared: the alias {arn} of its collaborator {} is gone.",
                collaborator.name
            )));
        }
    }
    Ok(())
}

/// Reads the OpenAPI documents of the enabled action groups, inline or from S3, and checks them.
async fn read_schemas(
    services: &AgentServices,
    definition: &mut Definition,
) -> Result<(), WireError> {
    let enabled = |state: State| state == State::Enabled;
    for group in &mut definition.action_groups {
        let text = match &group.api_schema {
            Some(ApiSchema::Payload(text)) => text.clone(),
            Some(ApiSchema::S3(object)) if enabled(group.state) => {
                let place = format!("s3://{}/{}", object.s3_bucket_name, object.s3_object_key);
                let read = (services.read_object)(
                    object.s3_bucket_name.clone(),
                    object.s3_object_key.clone(),
                );
                let bytes = read.await.map_err(WireError::validation)?;
                let bytes = bytes.ok_or_else(|| {
                    WireError::validation(format!("The apiSchema {place} does not exist."))
                })?;
                String::from_utf8(bytes.to_vec()).map_err(|_| {
                    WireError::validation(format!("The apiSchema {place} is not UTF-8 text."))
                })?
            }
            _ => continue,
        };
        openapi::read(&text)?;
        group.openapi = Some(text);
    }
    Ok(())
}
