//! ApplyGuardrail: texts in, what the guardrail did with them out. No SDK type leaves this file.

use aws_sdk_bedrockruntime::types::{
    GuardrailAction, GuardrailAssessment, GuardrailContentBlock, GuardrailContentQualifier,
    GuardrailContentSource, GuardrailTextBlock, GuardrailUsage,
};

use super::{Bedrock, BedrockError, classify};

/// A guardrail by id or ARN, at a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardrailRef {
    pub id: String,
    pub version: String,
}

/// Which way a text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuardSource {
    /// To the model.
    Input,
    /// From the model.
    Output,
}

/// What a text is to the guardrail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuardRole {
    /// A text to look at.
    Content,
    /// What an answer must rest on; not looked at itself.
    GroundingSource,
    /// What was asked; not looked at itself.
    Query,
}

/// One content block of ApplyGuardrail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardText {
    pub text: String,
    pub role: GuardRole,
}

/// The action on one finding, in Bedrock's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingAction {
    Blocked,
    Anonymized,
    None,
}

/// One finding of an assessment.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardFinding {
    /// `topic`, `content`, `word`, `pii`, `regex`, `grounding` or `reasoning`.
    pub policy: &'static str,
    /// The policy's own name for what was found: EMAIL, VIOLENCE, a topic's or a regex's name.
    pub kind: String,
    pub action: FindingAction,
    /// NONE, LOW, MEDIUM or HIGH, of content filters.
    pub confidence: Option<String>,
    /// 0 to 1, of grounding.
    pub score: Option<f64>,
    /// The words that were found, where the policy tells them.
    pub matched: Option<String>,
}

/// What ApplyGuardrail answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GuardReply {
    /// Whether it blocked or masked. Which of the two only the findings tell.
    pub intervened: bool,
    /// Without an intervention none; blocked: one message; masked: one text for each content block.
    pub outputs: Vec<String>,
    pub findings: Vec<GuardFinding>,
    pub units: GuardUnits,
}

/// Text units of 1,000 characters, by the policy that looked at them: each has its price. Automated reasoning is not among
/// them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GuardUnits {
    pub topic: u64,
    pub content: u64,
    pub word: u64,
    pub sensitive: u64,
    pub grounding: u64,
}

impl GuardUnits {
    /// All policies together.
    pub fn total(self) -> u64 {
        [
            self.topic,
            self.content,
            self.word,
            self.sensitive,
            self.grounding,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }
}

impl std::ops::AddAssign for GuardUnits {
    fn add_assign(&mut self, more: Self) {
        self.topic = self.topic.saturating_add(more.topic);
        self.content = self.content.saturating_add(more.content);
        self.word = self.word.saturating_add(more.word);
        self.sensitive = self.sensitive.saturating_add(more.sensitive);
        self.grounding = self.grounding.saturating_add(more.grounding);
    }
}

impl Bedrock {
    /// Assesses texts by a guardrail.
    ///
    /// # Errors
    /// Any [`BedrockError`]; the guardrail's id stands in the model's place.
    pub async fn apply_guardrail(
        &self,
        guardrail: &GuardrailRef,
        source: GuardSource,
        texts: &[GuardText],
    ) -> Result<GuardReply, BedrockError> {
        let name = format!("guardrail {}", guardrail.id);
        let blocks: Result<Vec<_>, _> = texts.iter().map(block).collect();
        let blocks = blocks.map_err(|detail| BedrockError::Refused {
            model: name.clone(),
            detail,
        })?;
        let reply = self
            .client
            .apply_guardrail()
            .guardrail_identifier(&guardrail.id)
            .guardrail_version(&guardrail.version)
            .source(match source {
                GuardSource::Input => GuardrailContentSource::Input,
                GuardSource::Output => GuardrailContentSource::Output,
            })
            .set_content(Some(blocks))
            .send()
            .await
            .map_err(|error| classify(&name, error))?;
        Ok(GuardReply {
            intervened: *reply.action() != GuardrailAction::None,
            outputs: reply
                .outputs()
                .iter()
                .map(|output| output.text().unwrap_or_default().to_owned())
                .collect(),
            findings: reply.assessments().iter().flat_map(findings).collect(),
            units: reply.usage().map(units).unwrap_or_default(),
        })
    }
}

fn block(text: &GuardText) -> Result<GuardrailContentBlock, String> {
    let mut block = GuardrailTextBlock::builder().text(&text.text);
    block = match text.role {
        GuardRole::Content => block.qualifiers(GuardrailContentQualifier::GuardContent),
        GuardRole::GroundingSource => block.qualifiers(GuardrailContentQualifier::GroundingSource),
        GuardRole::Query => block.qualifiers(GuardrailContentQualifier::Query),
    };
    let block = block.build().map_err(|error| error.to_string())?;
    Ok(GuardrailContentBlock::Text(block))
}

fn units(usage: &GuardrailUsage) -> GuardUnits {
    let count = |units: i32| units.max(0) as u64;
    GuardUnits {
        topic: count(usage.topic_policy_units()),
        content: count(usage.content_policy_units()),
        word: count(usage.word_policy_units()),
        sensitive: count(usage.sensitive_information_policy_units()),
        grounding: count(usage.contextual_grounding_policy_units()),
    }
}

/// BLOCKED, ANONYMIZED and NONE; a word that is new at AWS counts as a block.
fn action(word: &str) -> FindingAction {
    match word {
        "NONE" => FindingAction::None,
        "ANONYMIZED" => FindingAction::Anonymized,
        _ => FindingAction::Blocked,
    }
}

fn finding(policy: &'static str, kind: &str, word: &str, matched: Option<&str>) -> GuardFinding {
    GuardFinding {
        policy,
        kind: kind.to_owned(),
        action: action(word),
        confidence: None,
        score: None,
        matched: matched.map(str::to_owned),
    }
}

fn findings(assessment: &GuardrailAssessment) -> Vec<GuardFinding> {
    let mut found = Vec::new();
    for topic in assessment
        .topic_policy()
        .iter()
        .flat_map(|policy| policy.topics())
    {
        found.push(finding(
            "topic",
            topic.name(),
            topic.action().as_str(),
            None,
        ));
    }
    for filter in assessment
        .content_policy()
        .iter()
        .flat_map(|policy| policy.filters())
    {
        found.push(GuardFinding {
            confidence: Some(filter.confidence().as_str().to_owned()),
            ..finding(
                "content",
                filter.r#type().as_str(),
                filter.action().as_str(),
                None,
            )
        });
    }
    if let Some(policy) = assessment.word_policy() {
        for word in policy.custom_words() {
            found.push(finding(
                "word",
                "CUSTOM",
                word.action().as_str(),
                Some(word.r#match()),
            ));
        }
        for word in policy.managed_word_lists() {
            let kind = word.r#type().as_str();
            found.push(finding(
                "word",
                kind,
                word.action().as_str(),
                Some(word.r#match()),
            ));
        }
    }
    if let Some(policy) = assessment.sensitive_information_policy() {
        for entity in policy.pii_entities() {
            let kind = entity.r#type().as_str();
            found.push(finding(
                "pii",
                kind,
                entity.action().as_str(),
                Some(entity.r#match()),
            ));
        }
        for own in policy.regexes() {
            let kind = own.name().unwrap_or("REGEX");
            found.push(finding("regex", kind, own.action().as_str(), own.r#match()));
        }
    }
    for filter in assessment
        .contextual_grounding_policy()
        .iter()
        .flat_map(|policy| policy.filters())
    {
        found.push(GuardFinding {
            score: Some(filter.score()),
            ..finding(
                "grounding",
                filter.r#type().as_str(),
                filter.action().as_str(),
                None,
            )
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use aws_sdk_bedrockruntime::types::{
        GuardrailPiiEntityFilter, GuardrailPiiEntityType,
        GuardrailSensitiveInformationPolicyAction, GuardrailSensitiveInformationPolicyAssessment,
        GuardrailTopic, GuardrailTopicPolicyAction, GuardrailTopicPolicyAssessment,
        GuardrailTopicType,
    };

    use super::*;

    #[test]
    fn the_assessments_tell_what_the_action_does_not() {
        let entity = |action| {
            GuardrailPiiEntityFilter::builder()
                .r#match("ann@example.com")
                .r#type(GuardrailPiiEntityType::Email)
                .action(action)
                .build()
                .unwrap()
        };
        let topic = GuardrailTopic::builder()
            .name("Money")
            .r#type(GuardrailTopicType::Deny)
            .action(GuardrailTopicPolicyAction::Blocked)
            .build()
            .unwrap();
        let assessment = GuardrailAssessment::builder()
            .topic_policy(
                GuardrailTopicPolicyAssessment::builder()
                    .topics(topic)
                    .build()
                    .unwrap(),
            )
            .sensitive_information_policy(
                GuardrailSensitiveInformationPolicyAssessment::builder()
                    .pii_entities(entity(
                        GuardrailSensitiveInformationPolicyAction::Anonymized,
                    ))
                    .pii_entities(entity(GuardrailSensitiveInformationPolicyAction::from(
                        "REPLACED",
                    )))
                    .set_regexes(Some(Vec::new()))
                    .build()
                    .unwrap(),
            )
            .build();
        let told: Vec<_> = findings(&assessment)
            .into_iter()
            .map(|finding| (finding.policy, finding.kind, finding.action))
            .collect();
        let expected = [
            ("topic", "Money", FindingAction::Blocked),
            ("pii", "EMAIL", FindingAction::Anonymized),
            ("pii", "EMAIL", FindingAction::Blocked),
        ];
        assert_eq!(
            told,
            expected.map(|(policy, kind, action)| (policy, kind.to_owned(), action))
        );
    }
}
