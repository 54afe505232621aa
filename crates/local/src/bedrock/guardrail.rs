//! Guardrails on the laptop: the control operations store them, and ApplyGuardrail, Converse and ConverseStream evaluate
//! what is stored. Wire and reports are AWS's; the detectors are an approximation by patterns, word lists and words in
//! common, which every reply says in its header `x-outcrop-guardrail`.
//!
//! Files: `policy` what a guardrail is · `store`, `control` how it is kept and changed · `pii`, `lexicon`, `text` what finds
//! · `assess` what is found and reported.
mod assess;
mod control;
mod lexicon;
mod pii;
mod policy;
mod store;
#[cfg(test)]
mod tests;
mod text;

use regex::Regex;
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) use assess::{Assessment, Context};
pub(super) use control::{ListQuery, VersionRequest, now_ms};
pub(super) use policy::Config;
pub(super) use store::Guardrails;

use super::content::{GuardContent, GuardText, Qualifier};
use super::request::GuardrailTrace;
use super::wire::WireError;
use assess::TEXT_UNIT;
use policy::Word;
use store::Version;

/// The reply header that says what evaluates a guardrail here.
pub(super) const HEADER: &str = "x-outcrop-guardrail";
pub(super) const HEADER_VALUE: &str = "local approximation: patterns and word lists";

/// Most characters that one call may assess: 25 text units, the on-demand default.
const MAX_CHARACTERS: usize = 25 * TEXT_UNIT;

/// The body of ApplyGuardrail.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ApplyRequest {
    source: Source,
    content: Vec<GuardContent>,
    #[serde(default)]
    output_scope: OutputScope,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Source {
    Input,
    Output,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum OutputScope {
    #[default]
    Interventions,
    Full,
}

/// A guardrail that exists, at one version, ready to assess.
#[derive(Clone, Debug)]
pub(super) struct Guardrail {
    id: String,
    number: String,
    version: Version,
    words: Vec<(Word, Option<Regex>)>,
    regexes: Vec<Option<Regex>>,
}

fn arn(id: &str) -> String {
    format!("arn:aws:bedrock:us-east-1:000000000000:guardrail/{id}")
}

impl Guardrails {
    /// A guardrail by id or ARN and version.
    pub(super) fn guardrail(&self, identifier: &str, number: &str) -> Result<Guardrail, WireError> {
        let (id, version) = self.find(identifier, number)?;
        let words = version
            .config
            .word_policy_config
            .iter()
            .flat_map(|policy| &policy.words_config);
        let words = words.map(|word| (word.clone(), assess::word_pattern(&word.text)));
        Ok(Guardrail {
            id,
            number: number.to_owned(),
            words: words.collect(),
            regexes: assess::own_patterns(&version.config),
            version,
        })
    }
}

impl Guardrail {
    /// The message that stands instead of a blocked text.
    pub(super) fn blocked_message(&self, source: Source) -> &str {
        self.version.config.message(source)
    }

    /// The reply to ApplyGuardrail. `outputs` is empty without an intervention, one message when blocked, and else the
    /// masked texts, one for each content block that is guarded.
    pub(super) fn apply(&self, request: &ApplyRequest) -> Result<Value, WireError> {
        let texts = request
            .content
            .iter()
            .map(text_of)
            .collect::<Result<Vec<&GuardText>, _>>()?;
        if texts.is_empty() {
            return Err(WireError::validation(
                "The content of ApplyGuardrail must have at least one block.",
            ));
        }
        let context = context(texts.iter().copied());
        let guarded: Vec<&str> = texts
            .iter()
            .filter(|text| is_content(text))
            .map(|text| text.text.as_str())
            .collect();
        let assessment = self.assess(request.source, guarded, &context);
        if assessment.characters > MAX_CHARACTERS {
            return Err(WireError::validation(format!(
                "The content has {} characters; the maximum is {MAX_CHARACTERS}. Send it in several calls.",
                assessment.characters
            )));
        }
        let (action, reason, outputs) = match (assessment.blocked, assessment.masked) {
            (true, _) => (
                "GUARDRAIL_INTERVENED",
                "Guardrail blocked.",
                vec![json!({"text": self.blocked_message(request.source)})],
            ),
            (false, true) => (
                "GUARDRAIL_INTERVENED",
                "Guardrail masked.",
                assessment
                    .texts
                    .iter()
                    .map(|text| json!({"text": text}))
                    .collect(),
            ),
            (false, false) => ("NONE", "No action.", Vec::new()),
        };
        let full = request.output_scope == OutputScope::Full;
        Ok(json!({
            "usage": assessment.usage(), "action": action, "actionReason": reason, "outputs": outputs,
            "assessments": [self.assessment_json(&assessment, full)], "guardrailCoverage": assessment.coverage()
        }))
    }

    /// One assessment as it stands in replies and traces. `full` shows policies that found nothing too.
    fn assessment_json(&self, assessment: &Assessment, full: bool) -> Value {
        let mut json = json!({
            "invocationMetrics": {
                "guardrailProcessingLatency": 1, "usage": assessment.usage(), "guardrailCoverage": assessment.coverage()
            },
            "appliedGuardrailDetails": {
                "guardrailId": self.id, "guardrailVersion": self.number, "guardrailArn": arn(&self.id),
                "guardrailOrigin": ["REQUEST"], "guardrailOwnership": "SELF"
            }
        });
        if let Some(fields) = json.as_object_mut() {
            fields.extend(assessment.policies(full));
        }
        json
    }

    /// `trace.guardrail` of a Converse reply, if the request asks for it.
    pub(super) fn trace(
        &self,
        level: GuardrailTrace,
        input: Option<&Assessment>,
        output: Option<&Assessment>,
    ) -> Option<Value> {
        if level == GuardrailTrace::Disabled {
            return None;
        }
        let full = level == GuardrailTrace::EnabledFull;
        let mut trace = json!({});
        if let Some(input) = input {
            trace["inputAssessment"] = json!({self.id.as_str(): self.assessment_json(input, full)});
        }
        if let Some(output) = output {
            trace["outputAssessments"] =
                json!({self.id.as_str(): [self.assessment_json(output, full)]});
        }
        Some(trace)
    }
}

/// Whether ApplyGuardrail's policies look at a text: what is marked for grounding only is read for grounding only.
fn is_content(text: &GuardText) -> bool {
    text.qualifiers.is_empty() || text.qualifiers.contains(&Qualifier::GuardContent)
}

/// Whether the policies look at a text of a conversation. A query is somebody's question, whatever else it is.
pub(super) fn is_guarded(text: &GuardText) -> bool {
    text.qualifiers.is_empty()
        || text
            .qualifiers
            .iter()
            .any(|qualifier| *qualifier != Qualifier::GroundingSource)
}

/// The grounding source and the query among texts.
pub(super) fn context<'a>(texts: impl Iterator<Item = &'a GuardText>) -> Context {
    let mut context = Context::default();
    for text in texts {
        for (qualifier, whole) in [
            (Qualifier::GroundingSource, &mut context.grounding_source),
            (Qualifier::Query, &mut context.query),
        ] {
            if text.qualifiers.contains(&qualifier) {
                whole.push_str(&text.text);
                whole.push('\n');
            }
        }
    }
    context
}

fn text_of(content: &GuardContent) -> Result<&GuardText, WireError> {
    match content {
        GuardContent::Text(text) => Ok(text),
        GuardContent::Image(_) => Err(WireError::unsupported("content.image")),
    }
}
