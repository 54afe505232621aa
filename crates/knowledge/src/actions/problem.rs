//! Why an action was not done, in words for a model.

use agent_envelopes::{ArgumentError, Fault, Outcome};
use aws::AwsError;

use crate::KnowledgeError;

/// What an agent is told went wrong.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ActionError {
    #[error("there is no action {name:?}; there are {known}")]
    Unknown { name: String, known: String },
    #[error(transparent)]
    Arguments(#[from] ArgumentError),
    #[error("there is no order {number:?} that this user may see; check the number with the user")]
    OrderNotFound { number: String },
    #[error("there is no ticket {ticket_id:?} that this user may see; check the id with the user")]
    TicketNotFound { ticket_id: String },
    #[error(
        "the cursor {cursor:?} is not one that this action gave, or the document has changed; begin without a cursor"
    )]
    InvalidCursor { cursor: String },
    #[error(
        "this {scope} has made its {limit} writes of today; write no more, and tell the user to turn to a person"
    )]
    WriteLimitReached { scope: &'static str, limit: u64 },
    #[error(transparent)]
    Knowledge(#[from] KnowledgeError),
}

impl From<AwsError> for ActionError {
    fn from(error: AwsError) -> Self {
        Self::Knowledge(error.into())
    }
}

impl ActionError {
    pub(super) fn unknown(name: &str) -> Self {
        let known: Vec<&str> = super::ALL.iter().map(|action| action.name).collect();
        Self::Unknown {
            name: name.chars().take(80).collect(),
            known: known.join(", "),
        }
    }

    /// The machine-readable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "UnknownAction",
            Self::Arguments(error) => error.name(),
            Self::OrderNotFound { .. } => "OrderNotFound",
            Self::TicketNotFound { .. } => "TicketNotFound",
            Self::InvalidCursor { .. } => "InvalidCursor",
            Self::WriteLimitReached { .. } => "WriteLimitReached",
            Self::Knowledge(error) => error.name(),
        }
    }

    /// The HTTP status that says the same.
    pub fn status(&self) -> u16 {
        match self {
            Self::Unknown { .. } | Self::OrderNotFound { .. } | Self::TicketNotFound { .. } => 404,
            Self::Arguments(_) | Self::InvalidCursor { .. } => 400,
            Self::WriteLimitReached { .. } => 429,
            Self::Knowledge(error) => error.status(),
        }
    }

    /// What the model or its user can mend is asked for again; what depends on a service failed.
    pub fn into_outcome(self) -> Outcome {
        let (message, retry) = match &self {
            Self::Knowledge(error) => {
                let problem = error.to_problem();
                let detail = problem["detail"].as_str().unwrap_or_default().to_owned();
                (detail, error.retry())
            }
            other => (other.to_string(), false),
        };
        let fault = Fault {
            name: self.name().to_owned(),
            message,
            status: self.status(),
            retry,
        };
        let depends = matches!(&self, Self::Knowledge(error) if error.status() >= 429);
        if depends {
            Outcome::Failure(fault)
        } else {
            Outcome::Reprompt(fault)
        }
    }
}

#[cfg(test)]
mod tests {
    use aws::bedrock::BedrockError;

    use super::*;

    #[test]
    fn what_can_be_mended_is_told_apart_from_what_failed() {
        let check = |error: ActionError, name: &str, status: u16, mendable: bool| {
            let outcome = error.into_outcome();
            let (fault, found) = match &outcome {
                Outcome::Reprompt(fault) => (fault, true),
                Outcome::Failure(fault) => (fault, false),
                Outcome::Done(output) => panic!("{output}"),
            };
            assert_eq!(
                (fault.name.as_str(), fault.status, found),
                (name, status, mendable)
            );
            assert!(!fault.message.contains("secret"), "{}", fault.message);
        };
        check(
            ActionError::unknown("drop_table"),
            "UnknownAction",
            404,
            true,
        );
        check(
            ArgumentError::NotAnObject.into(),
            "ArgumentsNotAnObject",
            400,
            true,
        );
        let number = "A-1".to_owned();
        check(
            ActionError::OrderNotFound { number },
            "OrderNotFound",
            404,
            true,
        );
        let ticket_id = "default.1".to_owned();
        check(
            ActionError::TicketNotFound { ticket_id },
            "TicketNotFound",
            404,
            true,
        );
        let cursor = "x".to_owned();
        check(
            ActionError::InvalidCursor { cursor },
            "InvalidCursor",
            400,
            true,
        );
        let limited = ActionError::WriteLimitReached {
            scope: "session",
            limit: 20,
        };
        check(limited, "WriteLimitReached", 429, true);
        check(
            KnowledgeError::EmptyQuestion.into(),
            "EmptyQuestion",
            400,
            true,
        );
        let throttled = BedrockError::Throttled {
            model: "m".into(),
            detail: "d".into(),
        };
        check(
            KnowledgeError::from(throttled).into(),
            "ModelThrottled",
            429,
            false,
        );
        let refused = AwsError::Refused {
            service: "S3",
            detail: "arn:aws:secret".into(),
        };
        check(refused.into(), "ServiceRefused", 500, false);
    }
}
