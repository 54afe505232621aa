//! The Bedrock knowledge base that a space fills: which one, whether it fits, and whether it holds what the space has
//! published.
//!
//! Its data source reads `knowledge-base/<space>/` of our bucket and nothing else: the published texts as the guardrail left
//! them, each with a sidecar of its metadata and readers. The step `sync_knowledge_base` writes them.

use aws::bedrock::{DataSource, Reads};
use aws::dynamo::keys;
use aws::{Aws, AwsError, RetrieverSetting, clock};
use serde::{Deserialize, Serialize};

use crate::under_way::{self, Standing};
use crate::{KnowledgeError, names, spaces};

/// The kind of a data source of a managed knowledge base, which tells nobody where it reads.
const MANAGED_CONNECTOR: &str = "MANAGED_KNOWLEDGE_BASE_CONNECTOR";

/// A knowledge base and its data source, as a space's setting names them. Text form: `<knowledge base>/<data source>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filled {
    pub knowledge_base: String,
    pub data_source: String,
    pub managed: bool,
}

impl Filled {
    /// What a retriever's setting fills; `None` where it fills none.
    pub fn of(setting: &RetrieverSetting) -> Option<Self> {
        let RetrieverSetting::KnowledgeBase {
            id,
            managed,
            data_source,
        } = setting
        else {
            return None;
        };
        Some(Self {
            knowledge_base: id.clone(),
            data_source: data_source.clone()?,
            managed: *managed,
        })
    }

    pub(crate) fn place(&self) -> DataSource<'_> {
        DataSource {
            knowledge_base: &self.knowledge_base,
            id: &self.data_source,
        }
    }
}

/// Whether a knowledge base holds what its space has published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Rises with each replacement.
    pub version: u64,
    pub of: Filled,
    /// Whether it has once held every live document. Until then it is not asked.
    pub filled: bool,
    /// Whether what the bucket holds for it has reached it. Where not, a run compares everything and starts a job.
    pub settled: bool,
    /// The run that brings it up to date, and since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    #[serde(default)]
    pub claimed_at_ms: u64,
    /// Whether another run has published without it since that claim.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fell_behind: bool,
}

/// Why a data source is not one that a space can fill.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the data source {data_source} of the knowledge base {knowledge_base} cannot be filled: {problem}; make one of type S3 \
     over s3://{bucket}/{prefix}, and nothing else, or leave it out of the retriever and sync the knowledge base yourself"
)]
pub struct Unfit {
    pub knowledge_base: String,
    pub data_source: String,
    pub bucket: String,
    pub prefix: String,
    pub problem: String,
}

/// Who has the knowledge base of a space for itself.
pub(crate) enum Claim {
    Ours(State),
    /// Another run, by its id.
    Theirs(String),
}

/// The knowledge base that a space fills; `None` where it fills none.
pub(crate) async fn wanted(aws: &Aws, space: &str) -> Result<Option<Filled>, AwsError> {
    Ok(Filled::of(&spaces::setting(aws, space).await?))
}

pub(crate) async fn state(aws: &Aws, space: &str) -> Result<Option<State>, AwsError> {
    aws.table.get(&keys::knowledge_base_state(space)).await
}

/// Whether a knowledge base may be asked: one that nobody fills for the space always, else once it was filled.
pub(crate) async fn is_ready(
    aws: &Aws,
    space: &str,
    setting: &RetrieverSetting,
) -> Result<bool, AwsError> {
    let Some(wanted) = Filled::of(setting) else {
        return Ok(true);
    };
    let state = state(aws, space).await?;
    Ok(state.is_some_and(|state| state.filled && state.of == wanted))
}

/// Refuses a setting whose data source does not read what the space's runs write; others pass.
///
/// # Errors
/// [`KnowledgeError::KnowledgeBaseUnfit`], or the service's error.
pub async fn check(
    aws: &Aws,
    space: &str,
    setting: &RetrieverSetting,
) -> Result<(), KnowledgeError> {
    match Filled::of(setting) {
        Some(wanted) => Ok(check_filled(aws, space, &wanted).await??),
        None => Ok(()),
    }
}

/// The same for a data source that was read from a setting.
pub(crate) async fn check_filled(
    aws: &Aws,
    space: &str,
    wanted: &Filled,
) -> Result<Result<(), Box<Unfit>>, AwsError> {
    let prefix = names::knowledge_base_prefix(space);
    let problem = match aws.data_sources.reads(wanted.place()).await {
        Ok(reads) => problem(&reads, wanted.managed, aws.bucket.name(), &prefix),
        Err(AwsError::Missing { .. }) => Some("there is none".to_owned()),
        Err(error) => return Err(error),
    };
    Ok(match problem {
        None => Ok(()),
        Some(problem) => Err(Box::new(Unfit {
            knowledge_base: wanted.knowledge_base.clone(),
            data_source: wanted.data_source.clone(),
            bucket: aws.bucket.name().to_owned(),
            prefix,
            problem,
        })),
    })
}

/// Why what a data source reads is not what we write. A wider prefix would show the knowledge base what other spaces, or
/// sources before the guardrail, hold.
fn problem(reads: &Reads, managed: bool, bucket: &str, prefix: &str) -> Option<String> {
    match reads {
        Reads::Bucket { name, .. } if name != bucket => Some(format!("it reads the bucket {name}")),
        Reads::Bucket { prefix: own, .. } if own != prefix => {
            Some(format!("it reads the prefix {own:?}"))
        }
        Reads::Bucket { .. } => None,
        Reads::Other { kind } if managed && kind == MANAGED_CONNECTOR => None,
        Reads::Other { kind } => Some(format!("its type is {kind}")),
    }
}

/// Notes that a run of the space publishes without the knowledge base `state` is of: it falls behind.
pub(crate) async fn fall_behind(aws: &Aws, space: &str) -> Result<(), AwsError> {
    match state(aws, space).await? {
        Some(state) if state.settled || state.filled || state.run_id.is_some() => {
            let behind = State {
                settled: false,
                filled: false,
                // The run that has it must not settle what it never compared.
                fell_behind: state.run_id.is_some(),
                ..state
            };
            replace(aws, space, behind).await.map(|_| ())
        }
        _ => Ok(()),
    }
}

/// Has the knowledge base of a space for `run_id`. May be repeated.
///
/// # Errors
/// The table's; [`AwsError::Conflict`] when another run was first.
pub(crate) async fn claim(
    aws: &Aws,
    space: &str,
    run_id: &str,
    wanted: &Filled,
) -> Result<Claim, AwsError> {
    let stored = state(aws, space).await?;
    if let Some(stored) = &stored
        && let Some(holder) = &stored.run_id
        && holder != run_id
        && under_way::standing_of(aws, holder, stored.claimed_at_ms).await? != Standing::Over
    {
        return Ok(Claim::Theirs(holder.clone()));
    }
    let next = match stored {
        Some(stored) if stored.run_id.as_deref() == Some(run_id) && stored.of == *wanted => {
            return Ok(Claim::Ours(stored));
        }
        // What another run left in the middle is not settled: it said so before it touched anything.
        Some(stored) if stored.of == *wanted => stored,
        stored => State {
            version: stored.map_or(0, |stored| stored.version),
            of: wanted.clone(),
            filled: false,
            settled: false,
            run_id: None,
            claimed_at_ms: 0,
            fell_behind: false,
        },
    };
    let next = State {
        run_id: Some(run_id.to_owned()),
        claimed_at_ms: clock::now_ms(),
        fell_behind: false,
        ..next
    };
    Ok(Claim::Ours(replace(aws, space, next).await?))
}

/// Replaces the state as it was read; answers it with its new version.
pub(crate) async fn replace(aws: &Aws, space: &str, state: State) -> Result<State, AwsError> {
    let expected = state.version;
    let next = State {
        version: expected + 1,
        ..state
    };
    let key = keys::knowledge_base_state(space);
    aws.table.replace(&key, expected, &next).await?;
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_source_must_read_what_is_written_and_nothing_else() {
        let check = |reads: Reads, managed: bool, part: Option<&str>| {
            let found = problem(&reads, managed, "ours", "knowledge-base/legal/");
            match part {
                None => assert_eq!(found, None),
                Some(part) => assert!(found.unwrap_or_default().contains(part), "{reads:?}"),
            }
        };
        let bucket = |name: &str, prefix: &str| Reads::Bucket {
            name: name.to_owned(),
            prefix: prefix.to_owned(),
        };
        let other = |kind: &str| Reads::Other {
            kind: kind.to_owned(),
        };
        check(bucket("ours", "knowledge-base/legal/"), false, None);
        check(
            bucket("theirs", "knowledge-base/legal/"),
            false,
            Some("the bucket theirs"),
        );
        check(
            bucket("ours", "knowledge-base/legal"),
            false,
            Some("the prefix"),
        );
        check(bucket("ours", ""), false, Some("the prefix \"\""));
        check(
            bucket("ours", "sources/legal/"),
            false,
            Some("sources/legal/"),
        );
        check(other("WEB"), false, Some("its type is WEB"));
        check(other("WEB"), true, Some("its type is WEB"));
        check(other(MANAGED_CONNECTOR), false, Some("its type is"));
        check(other(MANAGED_CONNECTOR), true, None);
    }
}
