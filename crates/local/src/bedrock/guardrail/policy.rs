//! A guardrail's policies as CreateGuardrail takes them, AWS's rules for them, and the same from a template's properties.
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::wire::WireError;
use super::Source;

/// What CreateGuardrail and UpdateGuardrail take.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::bedrock) struct Config {
    pub(super) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) topic_policy_config: Option<TopicPolicy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) content_policy_config: Option<ContentPolicy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) word_policy_config: Option<WordPolicy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sensitive_information_policy_config: Option<SensitivePolicy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) contextual_grounding_policy_config: Option<GroundingPolicy>,
    #[serde(default, skip_serializing)]
    automated_reasoning_policy_config: Option<Value>,
    #[serde(default, skip_serializing)]
    cross_region_config: Option<Value>,
    pub(super) blocked_input_messaging: String,
    pub(super) blocked_outputs_messaging: String,
    #[serde(default, skip_serializing)]
    kms_key_id: Option<Value>,
    #[serde(default, skip_serializing)]
    tags: Option<Value>,
    #[serde(default, skip_serializing)]
    client_request_token: Option<String>,
}

/// What a policy does with what it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Action {
    Block,
    Anonymize,
    None,
}

impl Action {
    /// The word in an assessment.
    pub(super) fn done(self) -> &'static str {
        match self {
            Self::Block => "BLOCKED",
            Self::Anonymize => "ANONYMIZED",
            Self::None => "NONE",
        }
    }
}

/// An item of a policy with AWS's four fields per direction beside its own.
macro_rules! item {
    ($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $kind:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub(super) struct $name {
            $($(#[$attribute])* pub(super) $field: $kind,)*
            #[serde(default, skip_serializing_if = "Option::is_none")]
            input_action: Option<Action>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            output_action: Option<Action>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            input_enabled: Option<bool>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            output_enabled: Option<bool>,
        }

        impl $name {
            /// What to do in a direction, `usual` unless the item says otherwise; nothing when it is switched off.
            fn per(&self, source: Source, usual: Action) -> Option<Action> {
                let (action, enabled) = match source {
                    Source::Input => (self.input_action, self.input_enabled),
                    Source::Output => (self.output_action, self.output_enabled),
                };
                enabled.unwrap_or(true).then(|| action.unwrap_or(usual))
            }
        }
    };
}

item!(Topic {
    name: String,
    definition: String,
    #[serde(default)]
    examples: Vec<String>,
    r#type: TopicType,
});
item!(ContentFilter {
    r#type: ContentType,
    input_strength: Strength,
    output_strength: Strength,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    input_modalities: Option<Vec<Modality>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output_modalities: Option<Vec<Modality>>,
});
item!(Word { text: String });
item!(ManagedList {
    r#type: ManagedListType,
});
item!(PiiEntity {
    r#type: String,
    action: Action,
});
item!(OwnRegex {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    pattern: String,
    action: Action,
});

impl Topic {
    pub(super) fn action(&self, source: Source) -> Option<Action> {
        self.per(source, Action::Block)
    }
}

impl ContentFilter {
    pub(super) fn action(&self, source: Source) -> Option<Action> {
        self.per(source, Action::Block)
    }

    pub(super) fn strength(&self, source: Source) -> Strength {
        match source {
            Source::Input => self.input_strength,
            Source::Output => self.output_strength,
        }
    }
}

impl Word {
    pub(super) fn action(&self, source: Source) -> Option<Action> {
        self.per(source, Action::Block)
    }
}

impl ManagedList {
    pub(super) fn action(&self, source: Source) -> Option<Action> {
        self.per(source, Action::Block)
    }
}

impl PiiEntity {
    pub(super) fn action(&self, source: Source) -> Option<Action> {
        self.per(source, self.action)
    }
}

impl OwnRegex {
    pub(super) fn action(&self, source: Source) -> Option<Action> {
        self.per(source, self.action)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) enum TopicType {
    #[serde(rename = "DENY")]
    Deny,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum ContentType {
    Sexual,
    Violence,
    Hate,
    Insults,
    Misconduct,
    PromptAttack,
}

/// How strict a filter is, and how sure a finding: the same four words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Strength {
    None,
    Low,
    Medium,
    High,
}

impl Strength {
    /// A strict filter acts on weak findings: HIGH on every one, LOW on sure ones only.
    pub(super) fn acts_on(self, confidence: Strength) -> bool {
        match self {
            Self::None => false,
            Self::Low => confidence >= Self::High,
            Self::Medium => confidence >= Self::Medium,
            Self::High => confidence >= Self::Low,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Modality {
    Text,
    Image,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum ManagedListType {
    Profanity,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TopicPolicy {
    pub(super) topics_config: Vec<Topic>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tier_config: Option<Tier>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ContentPolicy {
    pub(super) filters_config: Vec<ContentFilter>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tier_config: Option<Tier>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Tier {
    tier_name: TierName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum TierName {
    Classic,
    Standard,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct WordPolicy {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) words_config: Vec<Word>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) managed_word_lists_config: Vec<ManagedList>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SensitivePolicy {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) pii_entities_config: Vec<PiiEntity>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) regexes_config: Vec<OwnRegex>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct GroundingPolicy {
    pub(super) filters_config: Vec<GroundingFilter>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct GroundingFilter {
    pub(super) r#type: GroundingType,
    /// 0 to 0.99.
    pub(super) threshold: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) action: Option<Action>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) enabled: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum GroundingType {
    Grounding,
    Relevance,
}

/// Longest pattern that is compiled; a pattern from outside must not eat the memory.
const REGEX_BYTES: usize = 1 << 20;

/// AWS's regexes have look-around; this engine has not, and says so.
pub(super) fn compile(pattern: &str) -> Result<Regex, WireError> {
    let built = regex::RegexBuilder::new(pattern)
        .size_limit(REGEX_BYTES)
        .build();
    built.map_err(|_| {
        WireError::validation(format!(
            "The pattern {pattern:?} is no regular expression that the laptop Bedrock can compile (look-around is not supported)."
        ))
    })
}

impl Config {
    /// AWS's rules (Amazon Bedrock API Reference, CreateGuardrail).
    pub(super) fn check(&self) -> Result<(), WireError> {
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let length = |text: &str, most: usize, what: &str| {
            let fits = (1..=most).contains(&text.chars().count());
            let rule =
                || WireError::validation(format!("{what} must have 1 to {most} characters."));
            fits.then_some(()).ok_or_else(rule)
        };
        length(&self.name, 50, "name")?;
        if !self.name.chars().all(word) {
            return Err(WireError::validation(
                "name must satisfy regular expression pattern: [0-9a-zA-Z-_]+",
            ));
        }
        length(&self.blocked_input_messaging, 500, "blockedInputMessaging")?;
        length(
            &self.blocked_outputs_messaging,
            500,
            "blockedOutputsMessaging",
        )?;
        if let Some(description) = &self.description {
            length(description, 200, "description")?;
        }
        self.check_unsupported()?;
        self.check_policies()
    }

    fn check_unsupported(&self) -> Result<(), WireError> {
        let fields = [
            (
                &self.automated_reasoning_policy_config,
                "automatedReasoningPolicyConfig",
            ),
            (&self.cross_region_config, "crossRegionConfig"),
        ];
        match fields.iter().find(|(field, _)| field.is_some()) {
            Some((_, name)) => Err(WireError::unsupported(name)),
            None => Ok(()),
        }
    }

    fn check_policies(&self) -> Result<(), WireError> {
        let most = |count: usize, most: usize, what: &str| match count <= most {
            true => Ok(()),
            false => Err(WireError::validation(format!(
                "{what} has {count} items; the maximum is {most}."
            ))),
        };
        let mut policies = 0;
        if let Some(policy) = &self.topic_policy_config {
            policies += policy.topics_config.len();
            most(policy.topics_config.len(), 30, "topicsConfig")?;
            for topic in &policy.topics_config {
                most(topic.definition.chars().count(), 200, "definition")?;
                most(topic.examples.len(), 5, "examples")?;
            }
        }
        if let Some(policy) = &self.content_policy_config {
            policies += policy.filters_config.len();
            for filter in &policy.filters_config {
                check_filter(filter)?;
            }
        }
        if let Some(policy) = &self.word_policy_config {
            policies += policy.words_config.len() + policy.managed_word_lists_config.len();
            most(policy.words_config.len(), 10_000, "wordsConfig")?;
        }
        if let Some(policy) = &self.sensitive_information_policy_config {
            policies += policy.pii_entities_config.len() + policy.regexes_config.len();
            most(policy.regexes_config.len(), 10, "regexesConfig")?;
            for entity in &policy.pii_entities_config {
                super::pii::check_type(&entity.r#type)?;
            }
            for own in &policy.regexes_config {
                compile(&own.pattern)?;
            }
        }
        if let Some(policy) = &self.contextual_grounding_policy_config {
            policies += policy.filters_config.len();
            let outside = |filter: &&GroundingFilter| !(0.0..=0.99).contains(&filter.threshold);
            if policy.filters_config.iter().any(|filter| outside(&filter)) {
                return Err(WireError::validation(
                    "The threshold of a contextual grounding filter must be from 0 to 0.99.",
                ));
            }
        }
        match policies {
            0 => Err(WireError::validation(
                "A guardrail must have at least one policy.",
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn message(&self, source: Source) -> &str {
        match source {
            Source::Input => &self.blocked_input_messaging,
            Source::Output => &self.blocked_outputs_messaging,
        }
    }

    /// The policies as GetGuardrail tells them: AWS drops `Config` from the names there.
    pub(super) fn told(&self) -> Map<String, Value> {
        match serde_json::to_value(self).map(without_config) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        }
    }
}

fn check_filter(filter: &ContentFilter) -> Result<(), WireError> {
    let image = |modalities: &Option<Vec<Modality>>| {
        modalities
            .iter()
            .flatten()
            .any(|modality| *modality == Modality::Image)
    };
    if image(&filter.input_modalities) || image(&filter.output_modalities) {
        return Err(WireError::unsupported(
            "The modality IMAGE of a content filter",
        ));
    }
    if filter.r#type == ContentType::PromptAttack && filter.output_strength != Strength::None {
        return Err(WireError::validation(
            "The outputStrength of the filter PROMPT_ATTACK must be NONE.",
        ));
    }
    Ok(())
}

fn without_config(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| {
                    let name = name.strip_suffix("Config").unwrap_or(&name).to_owned();
                    (name, without_config(value))
                })
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(without_config).collect()),
        other => other,
    }
}

/// The properties of an `AWS::Bedrock::Guardrail` as CreateGuardrail would take them: the same names with a small first
/// letter, and two of CloudFormation's own.
pub(super) fn from_properties(properties: Value) -> Result<Config, WireError> {
    let config: Config = serde_json::from_value(small(properties)).map_err(|error| {
        WireError::validation(format!("The guardrail's properties are not valid: {error}"))
    })?;
    config.check()?;
    Ok(config)
}

fn small(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let renamed = fields.into_iter().map(|(name, value)| {
                let mut letters = name.chars();
                let first = letters.next().map(|first| first.to_ascii_lowercase());
                let name: String = first.into_iter().chain(letters).collect();
                let name = match name.as_str() {
                    "topicsTierConfig" | "contentFiltersTierConfig" => "tierConfig".to_owned(),
                    _ => name,
                };
                (name, small(value))
            });
            Value::Object(renamed.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(small).collect()),
        other => other,
    }
}
