//! Which retriever serves a space: one typed setting with one text form, for the environment, the API and the table.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Metadata keys that a DynamoDB vector index can compare for itself: as many as `template.yaml` declares
/// `INLINE_FILTER` attributes for.
pub const FILTER_KEYS: usize = 4;
/// Letters and digits of the id of a knowledge base, and of a data source. Source: Amazon Bedrock API Reference.
const BEDROCK_ID: usize = 10;

/// Who finds the passages of a space.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RetrieverSetting {
    /// The segments, mapped by the function. Text form: `embedded`.
    #[default]
    Embedded,
    /// The table's vector index, words from the segments. Text form: `dynamodb`, or `dynamodb:team,year` with the
    /// metadata keys whose equality the index compares for itself.
    Dynamodb { filter_keys: Vec<String> },
    /// A Bedrock knowledge base. Text form: `bedrock:<id>` for one over the space's sources that somebody else syncs, or
    /// `bedrock:<id>/<data source id>` for one whose data source the space's runs fill; `bedrock-managed:…` for those of
    /// the type MANAGED.
    KnowledgeBase {
        id: String,
        managed: bool,
        data_source: Option<String>,
    },
}

/// A text that is no retriever; says what is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no retriever: {problem}; use embedded, dynamodb, dynamodb:KEY,KEY, bedrock:KNOWLEDGEBASEID, \
     bedrock:KNOWLEDGEBASEID/DATASOURCEID, or bedrock-managed: with the same"
)]
pub struct NoRetriever {
    pub text: String,
    pub problem: String,
}

impl FromStr for RetrieverSetting {
    type Err = NoRetriever;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |problem: String| NoRetriever {
            text: text.to_owned(),
            problem,
        };
        let (kind, rest) = match text.split_once(':') {
            Some((kind, rest)) => (kind, Some(rest)),
            None => (text, None),
        };
        match (kind, rest) {
            ("embedded", None) => Ok(Self::Embedded),
            ("dynamodb", None) => Ok(Self::Dynamodb {
                filter_keys: Vec::new(),
            }),
            ("dynamodb", Some(keys)) => {
                let filter_keys: Vec<String> = keys.split(',').map(str::to_owned).collect();
                match filter_keys_problem(&filter_keys) {
                    None => Ok(Self::Dynamodb { filter_keys }),
                    Some(problem) => Err(wrong(problem)),
                }
            }
            ("bedrock" | "bedrock-managed", Some(ids)) => {
                let managed = kind == "bedrock-managed";
                knowledge_base(ids, managed).map_err(wrong)
            }
            ("bedrock" | "bedrock-managed", None) => {
                Err(wrong("the knowledge base id is missing".into()))
            }
            _ => Err(wrong("there is none of that name".into())),
        }
    }
}

fn knowledge_base(ids: &str, managed: bool) -> Result<RetrieverSetting, String> {
    let whole =
        |id: &str| id.len() == BEDROCK_ID && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let (id, data_source) = match ids.split_once('/') {
        Some((id, data_source)) => (id, Some(data_source)),
        None => (ids, None),
    };
    if !whole(id) {
        return Err(format!(
            "{id:?} is no knowledge base id of 10 letters and digits"
        ));
    }
    if let Some(wrong) = data_source.filter(|id| !whole(id)) {
        return Err(format!(
            "{wrong:?} is no data source id of 10 letters and digits"
        ));
    }
    Ok(RetrieverSetting::KnowledgeBase {
        id: id.to_owned(),
        managed,
        data_source: data_source.map(str::to_owned),
    })
}

fn filter_keys_problem(keys: &[String]) -> Option<String> {
    if keys.len() > FILTER_KEYS {
        let count = keys.len();
        return Some(format!(
            "{count} keys are more than the index has, {FILTER_KEYS}"
        ));
    }
    let wrong = |number: usize, key: &str| {
        let whole = (1..=100).contains(&key.chars().count()) && key.trim() == key;
        !whole || keys[..number].iter().any(|before| before == key)
    };
    let found = keys
        .iter()
        .enumerate()
        .find(|(number, key)| wrong(*number, key));
    found.map(|(_, key)| format!("{key:?} is no metadata key, or stands there twice"))
}

impl fmt::Display for RetrieverSetting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => formatter.write_str("embedded"),
            Self::Dynamodb { filter_keys } if filter_keys.is_empty() => {
                formatter.write_str("dynamodb")
            }
            Self::Dynamodb { filter_keys } => {
                write!(formatter, "dynamodb:{}", filter_keys.join(","))
            }
            Self::KnowledgeBase {
                id,
                managed,
                data_source,
            } => {
                let kind = if *managed {
                    "bedrock-managed"
                } else {
                    "bedrock"
                };
                write!(formatter, "{kind}:{id}")?;
                match data_source {
                    Some(data_source) => write!(formatter, "/{data_source}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl TryFrom<String> for RetrieverSetting {
    type Error = NoRetriever;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RetrieverSetting> for String {
    fn from(setting: RetrieverSetting) -> Self {
        setting.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_comes_back_as_it_was_written() {
        for text in [
            "embedded",
            "dynamodb",
            "dynamodb:team",
            "dynamodb:team,year,a key,d",
            "bedrock:ABCDEFGHIJ",
            "bedrock-managed:abc1234567",
            "bedrock:ABCDEFGHIJ/KLMNOPQRST",
            "bedrock-managed:ABCDEFGHIJ/KLMNOPQRST",
        ] {
            let setting: RetrieverSetting = text.parse().unwrap();
            assert_eq!(setting.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_retriever_is_told_what_is() {
        let check = |text: &str, part: &str| {
            let error = text.parse::<RetrieverSetting>().unwrap_err().to_string();
            assert!(
                error.contains(part) && error.contains("use embedded"),
                "{error}"
            );
        };
        check("", "none of that name");
        check("embedded:x", "none of that name");
        check("opensearch", "none of that name");
        check("dynamodb:", "no metadata key");
        check("dynamodb:a,a", "no metadata key");
        check("dynamodb: a", "no metadata key");
        check("dynamodb:a,b,c,d,e", "5 keys");
        check("bedrock", "id is missing");
        check("bedrock:short", "no knowledge base id");
        check("bedrock-managed:ABCDEFGHI-", "no knowledge base id");
        check("bedrock:ABCDEFGHIJ/", "no data source id");
        check("bedrock:ABCDEFGHIJ/short", "no data source id");
        check("bedrock:ABCDEFGHIJ/KLMNOPQRST/", "no data source id");
        check("bedrock:/KLMNOPQRST", "no knowledge base id");
    }
}
