//! How a document is cut: one typed setting with one text form, for the API, the command line and the table.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::FixedSize;

/// The smallest and the largest passage that may be asked for, in tokens. Embedding models read about 8,000.
const TOKENS: std::ops::RangeInclusive<usize> = 20..=7_000;
/// A sentence is embedded with one on each side, which together must be read too.
const SENTENCE_TOKENS: usize = 2_000;
/// Sentences are cut apart where their distance is among the largest of so many percent.
const PERCENTILES: std::ops::RangeInclusive<u8> = 50..=99;

/// How the documents of a space are cut into passages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Chunking {
    /// Passages of the same size that overlap. Text form: `fixed:TOKENS,PERCENT`, or `fixed` for 512 and 20.
    FixedSize(FixedSize),
    /// A passage for each section. Text form: `headings:TOKENS`, or `headings` for 512.
    Headings { max_tokens: usize },
    /// Small passages are searched, the larger ones around them are answered with. Text form:
    /// `hierarchical:PARENT,CHILD`, or `hierarchical` for 1500 and 300, as Bedrock's default is.
    Hierarchical {
        parent_tokens: usize,
        child_tokens: usize,
    },
    /// Cut where the meaning turns, by embeddings of the sentences. Text form: `semantic:TOKENS,PERCENTILE`, or
    /// `semantic` for 300 and 95, as Bedrock's default is.
    Semantic { max_tokens: usize, percentile: u8 },
    /// A document is one passage, as long as an embedding model can read it. Text form: `none`.
    None,
}

impl Default for Chunking {
    fn default() -> Self {
        Self::FixedSize(FixedSize::default())
    }
}

/// A text that is no chunking; says what is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no chunking: {problem}; use fixed:TOKENS,OVERLAP_PERCENT, headings:TOKENS, hierarchical:PARENT_TOKENS,CHILD_TOKENS, \
     semantic:TOKENS,PERCENTILE or none"
)]
pub struct NoChunking {
    pub text: String,
    pub problem: String,
}

impl FromStr for Chunking {
    type Err = NoChunking;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, numbers) = text.split_once(':').unwrap_or((text, ""));
        read(kind, numbers).map_err(|problem| NoChunking {
            text: text.to_owned(),
            problem,
        })
    }
}

fn read(kind: &str, numbers: &str) -> Result<Chunking, String> {
    let numbers: Vec<usize> = numbers
        .split(',')
        .filter(|_| !numbers.is_empty())
        .map(|number| {
            number
                .trim()
                .parse()
                .map_err(|_| format!("{number:?} is no number"))
        })
        .collect::<Result<_, _>>()?;
    let number = |at: usize, default: usize| numbers.get(at).copied().unwrap_or(default);
    let (chunking, most) = match kind {
        "fixed" => {
            let (max_tokens, overlap_percent) = (bounded(number(0, 512))?, number(1, 20));
            if overlap_percent > 50 {
                return Err("the overlap is at most 50 percent".to_owned());
            }
            let size = FixedSize {
                max_tokens,
                overlap_percent,
            };
            (Chunking::FixedSize(size), 2)
        }
        "headings" => {
            let max_tokens = bounded(number(0, 512))?;
            (Chunking::Headings { max_tokens }, 1)
        }
        "hierarchical" => {
            let (parent_tokens, child_tokens) =
                (bounded(number(0, 1_500))?, bounded(number(1, 300))?);
            if child_tokens >= parent_tokens {
                return Err("a child is smaller than its parent".to_owned());
            }
            let chunking = Chunking::Hierarchical {
                parent_tokens,
                child_tokens,
            };
            (chunking, 2)
        }
        "semantic" => {
            let max_tokens = bounded(number(0, 300))?;
            if max_tokens > SENTENCE_TOKENS {
                return Err(format!(
                    "semantic passages have at most {SENTENCE_TOKENS} tokens"
                ));
            }
            let percentile = u8::try_from(number(1, 95)).ok();
            let percentile = percentile.filter(|percentile| PERCENTILES.contains(percentile));
            let percentile = percentile.ok_or("the percentile is from 50 to 99")?;
            let chunking = Chunking::Semantic {
                max_tokens,
                percentile,
            };
            (chunking, 2)
        }
        "none" => (Chunking::None, 0),
        _ => return Err("there is none of that name".to_owned()),
    };
    match numbers.len() > most {
        true => Err(format!("{kind} takes at most {most} numbers")),
        false => Ok(chunking),
    }
}

fn bounded(tokens: usize) -> Result<usize, String> {
    match TOKENS.contains(&tokens) {
        true => Ok(tokens),
        false => Err(format!(
            "{tokens} tokens are not from {} to {}",
            TOKENS.start(),
            TOKENS.end()
        )),
    }
}

impl fmt::Display for Chunking {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FixedSize(size) => {
                write!(
                    formatter,
                    "fixed:{},{}",
                    size.max_tokens, size.overlap_percent
                )
            }
            Self::Headings { max_tokens } => write!(formatter, "headings:{max_tokens}"),
            Self::Hierarchical {
                parent_tokens,
                child_tokens,
            } => write!(formatter, "hierarchical:{parent_tokens},{child_tokens}"),
            Self::Semantic {
                max_tokens,
                percentile,
            } => write!(formatter, "semantic:{max_tokens},{percentile}"),
            Self::None => formatter.write_str("none"),
        }
    }
}

impl TryFrom<String> for Chunking {
    type Error = NoChunking;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Chunking> for String {
    fn from(chunking: Chunking) -> Self {
        chunking.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_settings() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let read = text.parse::<Chunking>();
            let shown = read.as_ref().map(ToString::to_string);
            match expected {
                Ok(whole) => assert_eq!(shown.as_deref(), Ok(whole), "{text}"),
                Err(words) => assert!(read.unwrap_err().problem.contains(words), "{text}"),
            }
        };
        check("fixed", Ok("fixed:512,20"));
        check("fixed:300", Ok("fixed:300,20"));
        check("fixed:300,0", Ok("fixed:300,0"));
        check("headings", Ok("headings:512"));
        check("hierarchical", Ok("hierarchical:1500,300"));
        check("hierarchical:800,100", Ok("hierarchical:800,100"));
        check("semantic", Ok("semantic:300,95"));
        check("semantic:400,80", Ok("semantic:400,80"));
        check("none", Ok("none"));
        check("none:1", Err("at most 0"));
        check("fixed:1,2,3", Err("not from"));
        check("fixed:100,2,3", Err("at most 2"));
        check("fixed:100,60", Err("50 percent"));
        check("fixed:many", Err("no number"));
        check("fixed:9000", Err("not from 20 to 7000"));
        check("hierarchical:100,100", Err("smaller"));
        check("semantic:300,100", Err("from 50 to 99"));
        check("semantic:3000", Err("at most 2000"));
        check("pages", Err("none of that name"));
        assert_eq!("fixed:512,20".parse(), Ok(Chunking::default()));
    }
}
