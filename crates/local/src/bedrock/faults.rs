//! Faults on demand, so that a test can see a throttled or a breaking model: `POST /_local/faults` arms one, `GET`
//! lists them, `DELETE` clears them.
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::wire::{ErrorName, WireError};

/// A fault as it is armed. Without `error` it only delays. `times` counts down to nothing; `share` (0 to 1) strikes
/// that share of the calls, evenly; with neither it strikes every call.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fault {
    operation: String,
    #[serde(default)]
    error: Option<ErrorName>,
    #[serde(default)]
    times: Option<u64>,
    #[serde(default)]
    share: Option<f64>,
    /// Streams only: the fault comes as an exception frame after this many events.
    #[serde(default)]
    after_events: Option<usize>,
    #[serde(default)]
    delay_ms: u64,
    /// Streams only: the pause before each event, so that a client can be seen to read a slow model.
    #[serde(default)]
    every_ms: u64,
    #[serde(skip_deserializing, default)]
    calls: u64,
    #[serde(skip_deserializing, default)]
    struck: u64,
}

/// What strikes one call.
#[derive(Clone, Debug, Default)]
pub(super) struct Strike {
    pub(super) error: Option<WireError>,
    pub(super) after_events: Option<usize>,
    pub(super) delay: Duration,
    pub(super) pace: Duration,
}

const OPERATIONS: [&str; 27] = [
    "Converse",
    "ConverseStream",
    "InvokeModel",
    "InvokeModelWithResponseStream",
    "ApplyGuardrail",
    "CountTokens",
    "Retrieve",
    "Rerank",
    "InvokeAgent",
    "RetrieveAndGenerate",
    "CreateModelInvocationJob",
    "GetModelInvocationJob",
    "ListModelInvocationJobs",
    "StopModelInvocationJob",
    // No calls: a batch job as a whole, before it begins, and one of its records.
    "ModelInvocationJob",
    "ModelInvocationJobRecord",
    "GetDataSource",
    "StartIngestionJob",
    "GetIngestionJob",
    "ListIngestionJobs",
    "StopIngestionJob",
    "IngestKnowledgeBaseDocuments",
    "DeleteKnowledgeBaseDocuments",
    "GetKnowledgeBaseDocuments",
    "ListKnowledgeBaseDocuments",
    // No calls: a document that an ingestion brings in or takes out, and an ingestion job before its end.
    "IngestDocument",
    "IngestionJob",
];

#[derive(Clone, Debug, Default)]
pub(super) struct Faults(Arc<Mutex<Vec<Fault>>>);

impl Faults {
    pub(super) fn arm(&self, fault: Fault) -> Result<(), WireError> {
        if !OPERATIONS.contains(&fault.operation.as_str()) {
            return Err(WireError::validation(format!(
                "{} is no operation; use one of {}",
                fault.operation,
                OPERATIONS.join(", ")
            )));
        }
        if fault
            .share
            .is_some_and(|share| !(0.0..=1.0).contains(&share))
        {
            return Err(WireError::validation("share must be between 0 and 1"));
        }
        let of_streams = fault.after_events.is_some() || fault.every_ms > 0;
        if of_streams && fault.operation != "ConverseStream" {
            return Err(WireError::validation(
                "after_events and every_ms need the operation ConverseStream",
            ));
        }
        if fault.error.is_none() && fault.delay_ms == 0 && fault.every_ms == 0 {
            return Err(WireError::validation(
                "a fault needs an error, a delay_ms or an every_ms",
            ));
        }
        self.lock().push(fault);
        Ok(())
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    pub(super) fn list(&self) -> Vec<Fault> {
        self.lock().clone()
    }

    /// What strikes this call of `operation`: the first armed fault whose turn it is.
    pub(super) fn strike(&self, operation: &str) -> Strike {
        let mut faults = self.lock();
        let Some(fault) = faults
            .iter_mut()
            .filter(|fault| fault.operation == operation)
            .find_map(Fault::turn)
        else {
            return Strike::default();
        };
        let message = |name: ErrorName| match name {
            ErrorName::Throttling => {
                "Too many requests, please wait before trying again.".to_owned()
            }
            name => format!("{} was asked for by /_local/faults.", name.as_str()),
        };
        let strike = Strike {
            error: fault.error.map(|name| WireError::new(name, message(name))),
            after_events: fault.after_events,
            delay: Duration::from_millis(fault.delay_ms),
            pace: Duration::from_millis(fault.every_ms),
        };
        faults.retain(|fault| fault.times.is_none_or(|times| fault.struck < times));
        strike
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fault {
    /// Counts a call; the fault, if it strikes.
    fn turn(&mut self) -> Option<Self> {
        self.calls += 1;
        if let Some(share) = self.share {
            // Evenly: call n strikes when the whole number below n × share grows.
            let before = ((self.calls - 1) as f64 * share).floor();
            if (self.calls as f64 * share).floor() <= before {
                return None;
            }
        }
        self.struck += 1;
        Some(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(json: serde_json::Value) -> Fault {
        serde_json::from_value(json).expect("a fault")
    }

    #[test]
    fn times_count_down_and_shares_are_even() {
        let faults = Faults::default();
        faults.arm(fault(serde_json::json!({"operation": "Converse", "error": "ThrottlingException", "times": 2}))).expect("armed");
        let struck: Vec<bool> = (0..4)
            .map(|_| faults.strike("Converse").error.is_some())
            .collect();
        assert_eq!(struck, [true, true, false, false]);
        faults.arm(fault(serde_json::json!({"operation": "Converse", "error": "ThrottlingException", "share": 0.3}))).expect("armed");
        assert_eq!(
            (0..100)
                .filter(|_| faults.strike("Converse").error.is_some())
                .count(),
            30
        );
        assert!(faults.strike("ApplyGuardrail").error.is_none());
        faults.clear();
        assert!(faults.list().is_empty());
    }

    #[test]
    fn a_fault_that_could_never_strike_is_refused() {
        for json in [
            serde_json::json!({"operation": "Chat", "error": "ThrottlingException"}),
            serde_json::json!({"operation": "Converse", "error": "ThrottlingException", "share": 2.0}),
            serde_json::json!({"operation": "Converse", "error": "ThrottlingException", "after_events": 1}),
            serde_json::json!({"operation": "Converse"}),
        ] {
            assert!(Faults::default().arm(fault(json)).is_err());
        }
    }
}
