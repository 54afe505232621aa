//! What starts runs without a caller: changes of the bucket below `sources/`, and the schedule. Both come through one
//! queue, which gathers a burst of them into few invocations; each becomes at most one run over a space's source.

use std::collections::{BTreeMap, BTreeSet};

use aws::dynamo::keys;
use aws::{Aws, AwsError};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::access::Caller;
use crate::names;
use crate::runs::{self, Task};
use crate::sources;
use crate::spaces;
use crate::sync::rows::{DocumentRow, DocumentStatus, PublishedVersion};
use crate::{KnowledgeError, under_way};

/// Attempts at a start that meets runs which are just ending.
const ATTEMPTS: u32 = 4;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    message_id: String,
    body: String,
}

/// What a message says.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// An object below `sources/` was written or deleted.
    Object(ObjectEvent),
    /// It is time for these spaces.
    Spaces(Vec<String>),
}

#[derive(Debug, PartialEq, Eq)]
struct ObjectEvent {
    key: String,
    /// ETag and size of what was written; `None`: deleted.
    written: Option<(String, u64)>,
}

/// Whether a payload is a delivery of the queue.
pub fn is_delivery(payload: &Value) -> bool {
    payload["Records"][0]["eventSource"] == "aws:sqs"
}

/// Takes a delivery of the queue: starts a run in each space that something happened in. Answers which messages the
/// queue is to deliver again, in the form that it reads.
pub async fn take(aws: &Aws, payload: &Value) -> Value {
    let mut failed: Vec<String> = Vec::new();
    let mut wanted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in payload["Records"].as_array().into_iter().flatten() {
        let Ok(message) = Message::deserialize(record) else {
            continue;
        };
        match spaces_of(aws, &message.body, &wanted).await {
            Ok(spaces) => {
                for space in spaces {
                    let messages = wanted.entry(space).or_default();
                    messages.push(message.message_id.clone());
                }
            }
            Err(error) => {
                tracing::warn!(error = error.name(), "a message cannot be taken");
                failed.push(message.message_id);
            }
        }
    }
    for (space, messages) in wanted {
        match start_or_follow(aws, &space).await {
            Ok((run_id, started)) => {
                tracing::info!(run_id, started, "a space is brought up to date")
            }
            // Nothing that comes back later would change this.
            Err(error @ KnowledgeError::UnknownSpace { .. }) => {
                tracing::warn!(error = error.name(), space, "a space that was never made");
            }
            Err(error) => {
                tracing::warn!(error = error.name(), space, "no run could be started");
                failed.extend(messages);
            }
        }
    }
    failed.sort();
    failed.dedup();
    let failures = failed.into_iter().map(|id| json!({ "itemIdentifier": id }));
    json!({ "batchItemFailures": failures.collect::<Vec<_>>() })
}

/// The spaces that a message asks a run for. A space that is to have one needs no second look.
async fn spaces_of(
    aws: &Aws,
    body: &str,
    wanted: &BTreeMap<String, Vec<String>>,
) -> Result<BTreeSet<String>, KnowledgeError> {
    let event = match read(body)? {
        Said::Spaces(spaces) => return Ok(spaces.into_iter().collect()),
        Said::Object(event) => event,
    };
    let Some((space, object)) = place(&event.key) else {
        return Ok(BTreeSet::new());
    };
    if wanted.contains_key(space) {
        return Ok(BTreeSet::from([space.to_owned()]));
    }
    let name = object.strip_suffix(names::SIDECAR).unwrap_or(object);
    // What a run copied from a source is that run's own.
    if sources::holds(aws, space, name).await? {
        return Ok(BTreeSet::new());
    }
    let id = names::document_id(space, name);
    let row: Option<DocumentRow> = aws.table.get(&keys::document(&id)).await?;
    Ok(match is_known(row.as_ref(), &event) {
        true => BTreeSet::new(),
        false => BTreeSet::from([space.to_owned()]),
    })
}

/// The space of an object below `sources/`, and the rest of its key.
fn place(key: &str) -> Option<(&str, &str)> {
    let (space, name) = key.strip_prefix("sources/")?.split_once('/')?;
    (keys::is_space_name(space) && !name.is_empty()).then_some((space, name))
}

/// Starts a run over the whole source of a space, or has the one under way followed by another. Answers the run's id and
/// whether it was started.
///
/// # Errors
/// [`KnowledgeError::UnknownSpace`], or the services' errors.
pub async fn start_or_follow(aws: &Aws, space: &str) -> Result<(String, bool), KnowledgeError> {
    spaces::require(aws, space).await?;
    for _ in 0..ATTEMPTS {
        match runs::start(aws, space, &Caller::anybody(), Task::default()).await {
            Ok(run_id) => return Ok((run_id, true)),
            Err(KnowledgeError::RunUnderWay { run_id, .. }) => {
                if under_way::ask_again(aws, space, &run_id).await? {
                    return Ok((run_id, false));
                }
            }
            Err(error) => return Err(error),
        }
    }
    let detail = format!("the runs of {space}");
    Err(AwsError::Conflict { detail }.into())
}

/// After a run: starts the one that is to follow it. May be repeated.
pub(crate) async fn follow(aws: &Aws, space: &str, run_id: &str) -> Result<(), KnowledgeError> {
    if under_way::is_to_be_followed(aws, space, run_id).await? {
        start_or_follow(aws, space).await?;
    }
    Ok(())
}

/// Reads EventBridge's event of S3, or the schedule's own message.
fn read(body: &str) -> Result<Said, KnowledgeError> {
    let unreadable = |detail: &str| KnowledgeError::InvalidRequest {
        detail: detail.to_owned(),
    };
    let value: Value =
        serde_json::from_str(body).map_err(|_| unreadable("the message is no JSON"))?;
    if let Some(spaces) = value["schedule"]["spaces"].as_str() {
        let names = spaces.split(',').map(str::trim);
        let names = names.filter(|name| !name.is_empty()).map(str::to_owned);
        return Ok(Said::Spaces(names.collect()));
    }
    let object = &value["detail"]["object"];
    let key = object["key"]
        .as_str()
        .filter(|_| value["source"] == "aws.s3");
    let key = key.ok_or_else(|| unreadable("the message is no event of S3 and no schedule's"))?;
    let written = match value["detail-type"].as_str() {
        Some("Object Created") => Some((
            object["etag"].as_str().unwrap_or_default().to_owned(),
            object["size"].as_u64().unwrap_or_default(),
        )),
        Some("Object Deleted") => None,
        _ => {
            return Err(unreadable(
                "the event of S3 is of a kind that starts nothing",
            ));
        }
    };
    Ok(Said::Object(ObjectEvent {
        key: key.to_owned(),
        written,
    }))
}

/// Whether the index holds what an event tells of: then the change came through the API, or was seen by a run already.
fn is_known(row: Option<&DocumentRow>, event: &ObjectEvent) -> bool {
    let of_sidecar = names::is_sidecar(&event.key);
    let live = row.filter(|row| row.status == DocumentStatus::Published);
    let live = live.and_then(|row| row.published.as_ref());
    let version = live.map(|live: &PublishedVersion| live.source_version.as_str());
    match (&event.written, of_sidecar) {
        (Some((etag, bytes)), false) => {
            version.is_some_and(|version| version.starts_with(&format!("{etag}-{bytes}-")))
        }
        (Some((etag, _)), true) => {
            version.is_some_and(|version| version.ends_with(&format!("-{etag}")))
        }
        (None, true) if live.is_some() => version.is_some_and(|version| version.ends_with("-none")),
        (None, _) => row.is_none_or(|row| row.status == DocumentStatus::Deleted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: &str, key: &str, etag: &str) -> String {
        let object = json!({"key": key, "size": 7, "etag": etag});
        let event = json!({"source": "aws.s3", "detail-type": kind, "detail": {"object": object}});
        event.to_string()
    }

    #[test]
    fn messages_are_read() {
        let check = |body: &str, expected: Option<Said>| assert_eq!(read(body).ok(), expected);
        let event = |key: &str, written: Option<(&str, u64)>| {
            Some(Said::Object(ObjectEvent {
                key: key.into(),
                written: written.map(|(etag, bytes)| (etag.to_owned(), bytes)),
            }))
        };
        check(
            &object("Object Created", "sources/s/a", "e"),
            event("sources/s/a", Some(("e", 7))),
        );
        check(
            &object("Object Deleted", "sources/s/a b", ""),
            event("sources/s/a b", None),
        );
        check(&object("Object Restore Completed", "sources/s/a", ""), None);
        check(
            r#"{"schedule": {"spaces": "default, team-7,"}}"#,
            Some(Said::Spaces(vec!["default".into(), "team-7".into()])),
        );
        check("{}", None);
        check("no json", None);
    }

    #[test]
    fn only_objects_below_sources_have_a_place() {
        let check = |key: &str, expected: Option<(&str, &str)>| assert_eq!(place(key), expected);
        check("sources/team/a/b.md", Some(("team", "a/b.md")));
        check("sources/team/", None);
        check("sources/Team/a", None);
        check("texts/team/a", None);
    }

    #[test]
    fn what_the_index_holds_starts_nothing() {
        let row = |status, version: Option<&str>| {
            let mut row = DocumentRow::new("s.1".into(), "a".into(), 0);
            row.status = status;
            row.published = version.map(|version| PublishedVersion {
                content_hash: "h".into(),
                source_version: version.into(),
                title: "a".into(),
                uri: String::new(),
                passages: 1,
                readers: None,
                vectors: None,
                chunking: Default::default(),
            });
            row
        };
        use DocumentStatus::{Deleted, Pending, Published};
        let check = |row: Option<DocumentRow>, key: &str, written: Option<&str>, known: bool| {
            let event = ObjectEvent {
                key: key.into(),
                written: written.map(|etag| (etag.to_owned(), 7)),
            };
            assert_eq!(is_known(row.as_ref(), &event), known, "{row:?} {event:?}");
        };
        let side = "a.metadata.json";
        check(None, "a", Some("e"), false);
        check(Some(row(Published, Some("e-7-s"))), "a", Some("e"), true);
        check(Some(row(Published, Some("e-8-s"))), "a", Some("e"), false);
        check(Some(row(Pending, Some("e-7-s"))), "a", Some("e"), false);
        check(Some(row(Published, Some("e-7-s"))), side, Some("s"), true);
        check(
            Some(row(Published, Some("e-7-none"))),
            side,
            Some("s"),
            false,
        );
        check(Some(row(Published, Some("e-7-none"))), side, None, true);
        check(Some(row(Published, Some("e-7-s"))), side, None, false);
        check(Some(row(Published, Some("e-7-s"))), "a", None, false);
        check(Some(row(Deleted, None)), "a", None, true);
        check(Some(row(Deleted, None)), side, None, true);
        check(None, "a", None, true);
    }
}
