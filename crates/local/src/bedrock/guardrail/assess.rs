//! One assessment: a list of texts against a guardrail's policies, and how it is reported.
use std::ops::Range;

use regex::Regex;
use serde_json::{Map, Value, json};

use super::policy::{Action, ContentType, GroundingType, Strength};
use super::{Guardrail, Source, pii, policy, text};

/// Characters of one text unit (Bedrock pricing).
pub(super) const TEXT_UNIT: usize = 1000;

/// What stands beside the texts for contextual grounding.
#[derive(Clone, Debug, Default)]
pub(in crate::bedrock) struct Context {
    pub(in crate::bedrock) grounding_source: String,
    pub(in crate::bedrock) query: String,
}

/// What the guardrail found in a list of texts.
#[derive(Clone, Debug, Default)]
pub(in crate::bedrock) struct Assessment {
    pub(in crate::bedrock) blocked: bool,
    pub(in crate::bedrock) masked: bool,
    /// The texts with personal data masked, one for one.
    pub(in crate::bedrock) texts: Vec<String>,
    findings: Findings,
    /// Characters that were looked at, and of the grounding source and query beside them.
    pub(super) characters: usize,
    pub(super) context_characters: usize,
    policies: Policies,
}

/// Lists as they stand in an assessment.
#[derive(Clone, Debug, Default)]
struct Findings {
    topics: Vec<Value>,
    filters: Vec<Value>,
    custom_words: Vec<Value>,
    managed_words: Vec<Value>,
    entities: Vec<Value>,
    regexes: Vec<Value>,
    grounding: Vec<Value>,
}

/// Which policies the guardrail has: those are what it costs and what a full trace shows.
#[derive(Clone, Copy, Debug, Default)]
struct Policies {
    topics: bool,
    content: bool,
    words: bool,
    sensitive: bool,
    grounding: bool,
}

impl Assessment {
    pub(in crate::bedrock) fn intervened(&self) -> bool {
        self.blocked || self.masked
    }

    pub(super) fn usage(&self) -> Value {
        let units = self.characters.div_ceil(TEXT_UNIT);
        let of = |has: bool| if has { units } else { 0 };
        let grounded = match self.policies.grounding && self.context_characters > 0 {
            true => (self.characters + self.context_characters).div_ceil(TEXT_UNIT),
            false => 0,
        };
        // Regexes are free, and so is a policy that is not there.
        json!({
            "topicPolicyUnits": of(self.policies.topics), "contentPolicyUnits": of(self.policies.content),
            "wordPolicyUnits": of(self.policies.words), "sensitiveInformationPolicyUnits": of(self.policies.sensitive),
            "sensitiveInformationPolicyFreeUnits": 0, "contextualGroundingPolicyUnits": grounded,
            "contentPolicyImageUnits": 0, "automatedReasoningPolicyUnits": 0, "automatedReasoningPolicies": 0
        })
    }

    pub(super) fn coverage(&self) -> Value {
        json!({"textCharacters": {"guarded": self.characters, "total": self.characters + self.context_characters}})
    }

    /// The policies' parts of an assessment. `full` shows policies that found nothing too.
    pub(super) fn policies(&self, full: bool) -> Map<String, Value> {
        let found = &self.findings;
        let mut told = Map::new();
        let mut tell = |name: &str, has: bool, lists: &[(&str, &Vec<Value>)]| {
            let any = lists.iter().any(|(_, list)| !list.is_empty());
            if any || (full && has) {
                let lists = lists
                    .iter()
                    .map(|(name, list)| ((*name).to_owned(), json!(list)));
                told.insert(name.to_owned(), Value::Object(lists.collect()));
            }
        };
        tell(
            "topicPolicy",
            self.policies.topics,
            &[("topics", &found.topics)],
        );
        tell(
            "contentPolicy",
            self.policies.content,
            &[("filters", &found.filters)],
        );
        let words = [
            ("customWords", &found.custom_words),
            ("managedWordLists", &found.managed_words),
        ];
        tell("wordPolicy", self.policies.words, &words);
        let sensitive = [
            ("piiEntities", &found.entities),
            ("regexes", &found.regexes),
        ];
        tell(
            "sensitiveInformationPolicy",
            self.policies.sensitive,
            &sensitive,
        );
        tell(
            "contextualGroundingPolicy",
            self.policies.grounding,
            &[("filters", &found.grounding)],
        );
        told
    }

    fn act(&mut self, action: Action) {
        self.blocked |= action == Action::Block;
        self.masked |= action == Action::Anonymize;
    }
}

/// A part of a text that a sensitive-information policy found.
struct Hit {
    range: Range<usize>,
    placeholder: String,
    action: Action,
}

impl Guardrail {
    pub(in crate::bedrock) fn assess<'a>(
        &self,
        source: Source,
        texts: impl IntoIterator<Item = &'a str>,
        context: &Context,
    ) -> Assessment {
        let config = &self.version.config;
        let mut assessment = Assessment {
            policies: Policies {
                topics: config.topic_policy_config.is_some(),
                content: config.content_policy_config.is_some(),
                words: config.word_policy_config.is_some(),
                sensitive: config.sensitive_information_policy_config.is_some(),
                grounding: config.contextual_grounding_policy_config.is_some(),
            },
            context_characters: context.grounding_source.chars().count()
                + context.query.chars().count(),
            ..Assessment::default()
        };
        let texts: Vec<&str> = texts.into_iter().collect();
        for text in &texts {
            assessment.characters += text.chars().count();
            self.words(source, text, &mut assessment);
            let masked = self.sensitive(source, text, &mut assessment);
            assessment.texts.push(masked);
        }
        // What a question says in two blocks it says as one.
        let whole = texts.join("\n");
        self.topics(source, &whole, &mut assessment);
        self.filters(source, &whole, &mut assessment);
        if source == Source::Output {
            self.grounding(&whole, context, &mut assessment);
        }
        assessment
    }

    fn topics(&self, source: Source, whole: &str, assessment: &mut Assessment) {
        let topics = self
            .version
            .config
            .topic_policy_config
            .iter()
            .flat_map(|policy| &policy.topics_config);
        for topic in topics {
            let Some(action) = topic.action(source) else {
                continue;
            };
            if text::is_about(whole, topic) {
                let found = json!({"name": topic.name, "type": "DENY", "action": action.done(), "detected": true});
                assessment.findings.topics.push(found);
                assessment.act(action);
            }
        }
    }

    fn filters(&self, source: Source, whole: &str, assessment: &mut Assessment) {
        let filters = self
            .version
            .config
            .content_policy_config
            .iter()
            .flat_map(|policy| &policy.filters_config);
        for filter in filters {
            // Attacks come in; AWS looks for them nowhere else.
            if filter.r#type == ContentType::PromptAttack && source == Source::Output {
                continue;
            }
            let (Some(action), strength) = (filter.action(source), filter.strength(source)) else {
                continue;
            };
            let confidence = text::confidence(whole, filter.r#type);
            if confidence == Strength::None || !strength.acts_on(confidence) {
                continue;
            }
            assessment.findings.filters.push(json!({
                "type": filter.r#type, "confidence": confidence, "filterStrength": strength,
                "action": action.done(), "detected": true
            }));
            assessment.act(action);
        }
    }

    fn words(&self, source: Source, text: &str, assessment: &mut Assessment) {
        for (word, pattern) in &self.words {
            let (Some(action), Some(pattern)) = (word.action(source), pattern) else {
                continue;
            };
            for hit in pattern.find_iter(text) {
                let found =
                    json!({"match": hit.as_str(), "action": action.done(), "detected": true});
                assessment.findings.custom_words.push(found);
                assessment.act(action);
            }
        }
        let lists = self
            .version
            .config
            .word_policy_config
            .iter()
            .flat_map(|policy| &policy.managed_word_lists_config);
        for action in lists.filter_map(|list| list.action(source)) {
            for word in text::profanities(text) {
                let found = json!({"match": word, "type": "PROFANITY", "action": action.done(), "detected": true});
                assessment.findings.managed_words.push(found);
                assessment.act(action);
            }
        }
    }

    /// Personal data and own patterns; answers the masked text.
    fn sensitive(&self, source: Source, text: &str, assessment: &mut Assessment) -> String {
        let Some(policy) = &self.version.config.sensitive_information_policy_config else {
            return text.to_owned();
        };
        let action_of = |name: &str| {
            let entity = policy
                .pii_entities_config
                .iter()
                .find(|entity| entity.r#type == name)?;
            entity.action(source)
        };
        let mut hits = Vec::new();
        for found in pii::find(text, |name| action_of(name).is_some()) {
            let action = action_of(found.name).unwrap_or(Action::Anonymize);
            assessment.findings.entities.push(json!({
                "match": &text[found.range.clone()], "type": found.name, "action": action.done(), "detected": true
            }));
            hits.push(Hit {
                range: found.range,
                placeholder: found.name.to_owned(),
                action,
            });
        }
        for (own, pattern) in policy.regexes_config.iter().zip(&self.regexes) {
            let (Some(action), Some(pattern)) = (own.action(source), pattern) else {
                continue;
            };
            for hit in pattern.find_iter(text).filter(|hit| !hit.is_empty()) {
                assessment.findings.regexes.push(json!({
                    "name": own.name, "match": hit.as_str(), "regex": own.pattern, "action": action.done(), "detected": true
                }));
                hits.push(Hit {
                    range: hit.range(),
                    placeholder: own.name.clone(),
                    action,
                });
            }
        }
        hits.iter().for_each(|hit| assessment.act(hit.action));
        masked(text, hits)
    }

    fn grounding(&self, answer: &str, context: &Context, assessment: &mut Assessment) {
        let policy = self
            .version
            .config
            .contextual_grounding_policy_config
            .as_ref();
        if context.grounding_source.is_empty() || answer.trim().is_empty() {
            return;
        }
        for filter in policy.iter().flat_map(|policy| &policy.filters_config) {
            if filter.enabled == Some(false) {
                continue;
            }
            let score = match filter.r#type {
                GroundingType::Grounding => text::grounding(answer, &context.grounding_source),
                GroundingType::Relevance if context.query.is_empty() => continue,
                GroundingType::Relevance => {
                    text::relevance(answer, &context.query, &context.grounding_source)
                }
            };
            let usual = filter.action.unwrap_or(Action::Block);
            let detected = score < filter.threshold;
            let action = if detected { usual } else { Action::None };
            assessment.findings.grounding.push(json!({
                "type": filter.r#type, "threshold": filter.threshold, "score": score,
                "action": action.done(), "detected": detected
            }));
            assessment.act(action);
        }
    }
}

/// The text with what is to be masked replaced by its kind in braces; of two hits that overlap the first one counts, and
/// what it leaves of the second is masked with it.
fn masked(text: &str, mut hits: Vec<Hit>) -> String {
    hits.sort_by_key(|hit| (hit.range.start, std::cmp::Reverse(hit.range.end)));
    let mut masked = String::with_capacity(text.len());
    let mut at = 0;
    for hit in hits.iter().filter(|hit| hit.action != Action::None) {
        if hit.range.start >= at {
            masked.push_str(&text[at..hit.range.start]);
            masked.push_str(&format!("{{{}}}", hit.placeholder));
        }
        at = at.max(hit.range.end);
    }
    masked.push_str(&text[at..]);
    masked
}

/// A word of the word policy as a pattern: whole words, any case, any white space between.
pub(super) fn word_pattern(word: &str) -> Option<Regex> {
    let parts: Vec<String> = word.split_whitespace().map(regex::escape).collect();
    let edge = |c: Option<char>| match c {
        Some(c) if c.is_alphanumeric() => r"\b",
        _ => "",
    };
    let (before, after) = (
        edge(word.trim().chars().next()),
        edge(word.trim().chars().last()),
    );
    Regex::new(&format!(r"(?i){before}{}{after}", parts.join(r"\s+"))).ok()
}

/// The own patterns of a policy, in its order.
pub(super) fn own_patterns(config: &policy::Config) -> Vec<Option<Regex>> {
    let sensitive = config.sensitive_information_policy_config.iter();
    sensitive
        .flat_map(|policy| &policy.regexes_config)
        .map(|own| policy::compile(&own.pattern).ok())
        .collect()
}
