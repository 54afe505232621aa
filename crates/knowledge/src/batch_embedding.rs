//! Whether the large runs of a space embed by batch jobs, which cost half and take their time: one typed setting with one
//! text form, for the API, the command line and the table.

use std::fmt;
use std::str::FromStr;

use aws::Aws;
use serde::{Deserialize, Serialize};

use crate::{KnowledgeError, models};

/// Passages from which on a run is large, unless the setting says otherwise: half an hour of AWS's default quota.
const PASSAGES: u64 = 20_000;
/// Hours that a run waits for its jobs, unless the setting says otherwise.
const HOURS: u32 = 24;
/// The most of them: the state machine gives a run three days and six hours.
const MOST_HOURS: u32 = 72;
/// Records that a job must have. Source: Service Quotas of Amazon Bedrock, "Minimum number of records per batch inference
/// job".
pub(crate) const LEAST_RECORDS: u64 = 100;

/// Whether large runs embed by batch jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum BatchEmbedding {
    /// Never. Text form: `off`.
    #[default]
    Off,
    /// Runs of so many passages do, and wait so many hours at the most. Text form: `auto:PASSAGES,HOURS`, or `auto` for 20,000
    /// and 24.
    Auto { passages: u64, hours: u32 },
}

/// A text that is no such setting; says what is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no batch embedding: {problem}; use off, auto or auto:PASSAGES,HOURS")]
pub struct NoBatchEmbedding {
    pub text: String,
    pub problem: String,
}

impl FromStr for BatchEmbedding {
    type Err = NoBatchEmbedding;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, numbers) = text.split_once(':').unwrap_or((text, ""));
        read(kind, numbers).map_err(|problem| NoBatchEmbedding {
            text: text.to_owned(),
            problem,
        })
    }
}

fn read(kind: &str, numbers: &str) -> Result<BatchEmbedding, String> {
    match (kind, numbers) {
        ("off", "") => return Ok(BatchEmbedding::Off),
        ("off", _) => return Err("off takes no numbers".to_owned()),
        ("auto", _) => {}
        _ => return Err("there is none of that name".to_owned()),
    }
    let (passages, hours) = numbers.split_once(',').unwrap_or((numbers, ""));
    let passages: u64 = number(passages, PASSAGES)?;
    let hours: u32 = number(hours, HOURS)?;
    if passages < LEAST_RECORDS {
        return Err(format!("a job takes {LEAST_RECORDS} passages at the least"));
    }
    if !(1..=MOST_HOURS).contains(&hours) {
        return Err(format!("a run waits from 1 to {MOST_HOURS} hours"));
    }
    Ok(BatchEmbedding::Auto { passages, hours })
}

fn number<T: FromStr>(text: &str, default: T) -> Result<T, String> {
    match text.trim() {
        "" => Ok(default),
        text => text.parse().map_err(|_| format!("{text:?} is no number")),
    }
}

impl fmt::Display for BatchEmbedding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Auto { passages, hours } => write!(f, "auto:{passages},{hours}"),
        }
    }
}

impl TryFrom<String> for BatchEmbedding {
    type Error = NoBatchEmbedding;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<BatchEmbedding> for String {
    fn from(setting: BatchEmbedding) -> Self {
        setting.to_string()
    }
}

/// Reads the text form.
///
/// # Errors
/// [`KnowledgeError::InvalidRequest`], which says what there is.
pub fn parse(text: &str) -> Result<BatchEmbedding, KnowledgeError> {
    text.parse()
        .map_err(|error: NoBatchEmbedding| KnowledgeError::InvalidRequest {
            detail: error.to_string(),
        })
}

/// Refuses batch jobs where they cannot be.
///
/// # Errors
/// [`KnowledgeError::BatchEmbeddingUnavailable`] for a model that has none, and for a deployment without a role for them.
pub(crate) fn check(aws: &Aws, setting: BatchEmbedding) -> Result<(), KnowledgeError> {
    let model = &aws.settings.embed_model;
    let detail = match () {
        () if setting == BatchEmbedding::Off => return Ok(()),
        () if !has_batch(model) => {
            format!("the embedding model {model} takes no batch jobs")
        }
        () if !aws.jobs.have_role() => {
            "OUTCROP_BATCH_ROLE_ARN names no role that Bedrock could take".to_owned()
        }
        () => return Ok(()),
    };
    Err(KnowledgeError::BatchEmbeddingUnavailable { detail })
}

/// The passages from which on a run embeds by jobs; `None` where none does, or there are no jobs to be had any more.
pub(crate) fn jobs_from(aws: &Aws, setting: BatchEmbedding) -> Option<u64> {
    match setting {
        BatchEmbedding::Auto { passages, .. } if check(aws, setting).is_ok() => Some(passages),
        _ => None,
    }
}

fn has_batch(model: &str) -> bool {
    models::embedder(model).is_some_and(|row| row.batch_price_factor.is_some())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn settings_are_read_and_written() {
        let check = |text: &str, expected: &str| {
            let setting: BatchEmbedding = text.parse().unwrap();
            assert_eq!(setting.to_string(), expected, "{text}");
        };
        check("off", "off");
        check("auto", "auto:20000,24");
        check("auto:100", "auto:100,24");
        check("auto:5000,72", "auto:5000,72");
        check("auto:,3", "auto:20000,3");
    }

    #[test]
    fn what_is_no_setting_says_what_is() {
        let check = |text: &str, part: &str| {
            let error = parse(text).unwrap_err();
            assert_eq!(error.name(), "InvalidRequest");
            let words = error.to_string();
            assert!(words.contains(part) && words.contains("use off"), "{words}");
        };
        check("", "none of that name");
        check("on", "none of that name");
        check("off:3", "takes no numbers");
        check("auto:99", "100 passages at the least");
        check("auto:many", "\"many\" is no number");
        check("auto:100,0", "from 1 to 72 hours");
        check("auto:100,73", "from 1 to 72 hours");
        check("auto:100,2,3", "is no number");
        check("auto:-1", "is no number");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(passages in LEAST_RECORDS.., hours in 1..=MOST_HOURS) {
            let setting = BatchEmbedding::Auto { passages, hours };
            let text = String::from(setting);
            prop_assert_eq!(BatchEmbedding::try_from(text).unwrap(), setting);
        }
    }
}
