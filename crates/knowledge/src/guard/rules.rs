//! What is guarded how, by space and direction: `infra/guards.json`, read once. The first row of a space counts, `*` is
//! any space. Which policies look is the guardrail's own, `infra/guardrail.json`.

use std::sync::LazyLock;
use std::time::Duration;

use aws::config::GuardMode;
use serde::Deserialize;

/// A space's rules.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    space: String,
    pub question: QuestionRules,
    pub answer: AnswerRules,
    pub documents: DocumentRules,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuestionRules {
    pub guarded: bool,
    /// How long the guardrail may take before the question is refused.
    wait_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerRules {
    /// Another mode than the settings'.
    #[serde(default)]
    mode: Option<ModeName>,
    /// How long one check may take before the answer breaks off.
    wait_ms: u64,
    /// Whether the guardrail's contextual grounding looks at the whole answer. It is billed by the size of the passages.
    #[serde(default)]
    grounding: Grounding,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Grounding {
    Always,
    /// In spaces that are strict.
    Strict,
    #[default]
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ModeName {
    Window,
    Sync,
    Async,
    Off,
}

/// What a finding in a document leads to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentRules {
    /// What the guardrail would mask.
    pub personal_data: OnFinding,
    /// Instructions to a model: the filter PROMPT_ATTACK.
    pub instructions: OnFinding,
    /// Whatever else the guardrail would block.
    pub blocked: OnFinding,
    wait_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFinding {
    /// The document goes on as it is; its row tells the finding.
    Flag,
    /// What can be masked is; what cannot keeps the document out.
    Mask,
    /// The document stays out of the index.
    Quarantine,
}

impl QuestionRules {
    pub fn wait(&self) -> Duration {
        Duration::from_millis(self.wait_ms)
    }
}

impl AnswerRules {
    pub fn wait(&self) -> Duration {
        Duration::from_millis(self.wait_ms)
    }

    /// Whether the guardrail is asked if an answer rests on its passages.
    pub fn is_grounded(&self, strict: bool) -> bool {
        match self.grounding {
            Grounding::Always => true,
            Grounding::Strict => strict,
            Grounding::Never => false,
        }
    }

    /// The mode in this space, where the settings say `usual`.
    pub fn mode(&self, usual: GuardMode) -> GuardMode {
        match self.mode {
            None => usual,
            Some(ModeName::Window) => GuardMode::Window,
            Some(ModeName::Sync) => GuardMode::Sync,
            Some(ModeName::Async) => GuardMode::Async,
            Some(ModeName::Off) => GuardMode::Off,
        }
    }
}

impl DocumentRules {
    pub fn wait(&self) -> Duration {
        Duration::from_millis(self.wait_ms)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[expect(
        dead_code,
        reason = "for readers of the file; this code reads version 1 only"
    )]
    version: u32,
    spaces: Vec<Rules>,
}

static TABLE: LazyLock<Vec<Rules>> = LazyLock::new(|| {
    serde_json::from_str::<Table>(include_str!("../../../../infra/guards.json"))
        .map(|table| table.spaces)
        .unwrap_or_default()
});

/// Of a space that no row names: everything is guarded, and what is found stays out.
static STRICTEST: LazyLock<Rules> = LazyLock::new(|| Rules {
    space: "*".to_owned(),
    question: QuestionRules {
        guarded: true,
        wait_ms: 3_000,
    },
    answer: AnswerRules {
        mode: None,
        wait_ms: 3_000,
        grounding: Grounding::Always,
    },
    documents: DocumentRules {
        personal_data: OnFinding::Quarantine,
        instructions: OnFinding::Quarantine,
        blocked: OnFinding::Quarantine,
        wait_ms: 10_000,
    },
});

/// The rules of a space.
pub fn rules(space: &str) -> &'static Rules {
    let of = |row: &&Rules| row.space == space || row.space == "*";
    TABLE.iter().find(of).unwrap_or(&STRICTEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read() {
        assert!(!TABLE.is_empty(), "infra/guards.json does not parse");
        let rules = rules("anything");
        assert_eq!(rules.documents.personal_data, OnFinding::Mask);
        assert_eq!(rules.answer.mode(GuardMode::Window), GuardMode::Window);
        assert_eq!(rules.question.wait(), Duration::from_secs(3));
        assert!(rules.answer.is_grounded(true) && !rules.answer.is_grounded(false));
    }

    #[test]
    fn a_row_may_change_the_mode() {
        let answer: AnswerRules =
            serde_json::from_str(r#"{"mode": "sync", "wait_ms": 1}"#).unwrap();
        assert_eq!(answer.mode(GuardMode::Window), GuardMode::Sync);
        assert!(serde_json::from_str::<AnswerRules>(r#"{"mode": "never", "wait_ms": 1}"#).is_err());
    }
}
