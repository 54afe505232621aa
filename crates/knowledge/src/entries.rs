//! What starts runs without a caller: changes of the bucket below `sources/`, and the schedule. Both come through one
//! queue, which gathers a burst of them into few invocations; each becomes at most one run over a space's source.

use std::collections::BTreeMap;
use std::time::Duration;

use aws::dynamo::keys;
use aws::{Aws, AwsError};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::KnowledgeError;
use crate::access::Caller;
use crate::names;
use crate::runs::{self, Task};
use crate::sources;
use crate::spaces;
use crate::sync::rows::{DocumentRow, DocumentStatus};
use crate::under_way::{self, Standing};

/// Attempts at a start that meets runs which are just beginning or ending, and the pause before the next.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(500);

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
    // By space, the messages that want a run, and those that tell of objects.
    let mut wanted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut told: BTreeMap<String, Vec<(String, ObjectEvent)>> = BTreeMap::new();
    for record in payload["Records"].as_array().into_iter().flatten() {
        let Ok(Message { message_id, body }) = Message::deserialize(record) else {
            continue;
        };
        match read(&body) {
            Ok(Said::Spaces(spaces)) => {
                for space in spaces {
                    wanted.entry(space).or_default().push(message_id.clone());
                }
            }
            Ok(Said::Object(event)) => {
                if let Some((space, _)) = place(&event.key) {
                    let events = told.entry(space.to_owned()).or_default();
                    events.push((message_id, event));
                }
            }
            Err(error) => {
                tracing::warn!(error = error.name(), "a message cannot be taken");
                failed.push(message_id);
            }
        }
    }
    for (space, events) in told {
        // A space that is to have a run needs no second look.
        let news = match wanted.contains_key(&space) {
            true => Ok(true),
            false => tells_news(aws, &space, &events).await,
        };
        let messages = events.into_iter().map(|(message, _)| message);
        match news {
            Ok(true) => wanted.entry(space).or_default().extend(messages),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(error = error.name(), space, "messages cannot be taken");
                failed.extend(messages);
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

/// Whether one of the events is of a document that the space does not hold as it is now. The rows are read together: a
/// delivery may have 10,000 messages.
async fn tells_news(
    aws: &Aws,
    space: &str,
    events: &[(String, ObjectEvent)],
) -> Result<bool, AwsError> {
    let sources = sources::names(aws, space).await?;
    let of_space = events.iter().filter_map(|(_, event)| {
        let (_, object) = place(&event.key)?;
        let name = object.strip_suffix(names::SIDECAR).unwrap_or(object);
        // What a run copied from a source is that run's own.
        let first = name.split_once('/').map(|(first, _)| first);
        let copied = first.is_some_and(|first| sources.contains(first));
        (!copied).then(|| (names::document_id(space, name), event))
    });
    let of_space: Vec<(String, &ObjectEvent)> = of_space.collect();
    let mut ids: Vec<&String> = of_space.iter().map(|(id, _)| id).collect();
    ids.sort();
    // The table takes no key twice in one request.
    ids.dedup();
    let wanted: Vec<_> = ids.into_iter().map(|id| keys::document(id)).collect();
    let rows: Vec<DocumentRow> = aws.table.get_many(&wanted).await?;
    let rows: BTreeMap<&str, &DocumentRow> = rows
        .iter()
        .map(|row| (row.document_id.as_str(), row))
        .collect();
    Ok(of_space
        .iter()
        .any(|(id, event)| !is_known(rows.get(id.as_str()).copied(), event)))
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
        let run_id = match runs::start(aws, space, &Caller::anybody(), Task::default()).await {
            Ok(run_id) => return Ok((run_id, true)),
            Err(KnowledgeError::RunUnderWay { run_id, .. }) => run_id,
            Err(error) => return Err(error),
        };
        match under_way::ask_again(aws, space, &run_id).await? {
            Standing::UnderWay => return Ok((run_id, false)),
            Standing::Over => {}
            // Whoever claimed it may have broken off before it could run.
            Standing::NotBegun => tokio::time::sleep(PAUSE).await,
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

/// Whether the index holds what an event tells of, or a run is bringing it there: then the change came through the API, or
/// was seen by a run already.
fn is_known(row: Option<&DocumentRow>, event: &ObjectEvent) -> bool {
    let of_sidecar = names::is_sidecar(&event.key);
    let version = row.and_then(version);
    match (&event.written, of_sidecar) {
        (Some((etag, bytes)), false) => {
            version.is_some_and(|version| version.starts_with(&format!("{etag}-{bytes}-")))
        }
        (Some((etag, _)), true) => {
            version.is_some_and(|version| version.ends_with(&format!("-{etag}")))
        }
        (None, true) if version.is_some() => {
            version.is_some_and(|version| version.ends_with("-none"))
        }
        (None, _) => row.is_none_or(|row| row.status == DocumentStatus::Deleted),
    }
}

/// The version of a document that needs no other run: the one that answers, is on its way, or was refused.
fn version(row: &DocumentRow) -> Option<&str> {
    match row.status {
        DocumentStatus::Published => {
            let live = row.published.as_ref();
            live.map(|live| live.source_version.as_str())
        }
        DocumentStatus::Failed | DocumentStatus::Deleted => None,
        _ => Some(row.progress.source_version.as_str()).filter(|version| !version.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::rows::PublishedVersion;

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
                ..PublishedVersion::default()
            });
            row
        };
        let trying = |status, version: &str| {
            let mut row = row(status, Some("old-7-s"));
            row.progress.source_version = version.into();
            row
        };
        use DocumentStatus::{Deleted, Embedding, Failed, Pending, Published, Refused};
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
        // A run is bringing it, and is slower than the gathering.
        check(Some(trying(Pending, "e-7-s")), "a", Some("e"), true);
        check(Some(trying(Embedding, "e-7-s")), "a", Some("e"), true);
        check(Some(trying(Embedding, "e-7-s")), side, Some("s"), true);
        check(Some(trying(Embedding, "e-7-s")), "a", Some("f"), false);
        check(Some(trying(Embedding, "e-7-s")), "a", Some("old"), false);
        check(Some(trying(Embedding, "e-7-s")), side, None, false);
        check(Some(trying(Refused, "e-7-s")), "a", Some("e"), true);
        check(Some(trying(Failed, "e-7-s")), "a", Some("e"), false);
    }
}
