//! Traces: what an agent does, told while it does it, to a caller that enabled them.
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;

use super::super::agents::alias_arn;
use super::events;

/// Tells what one agent does.
#[derive(Clone, Debug)]
pub(super) struct Tracer {
    /// Nobody listens without it.
    pub(super) frames: Option<Sender<bytes::Bytes>>,
    pub(super) session_id: String,
    /// The aliases from the one that was invoked down to this agent's.
    pub(super) chain: Vec<String>,
    pub(super) agent_id: String,
    pub(super) alias_id: String,
    pub(super) version: String,
    /// The name under which the supervisor knows this agent.
    pub(super) collaborator: Option<String>,
    /// Eight hexadecimal digits that the traces of one turn share.
    pub(super) turn: String,
}

impl Tracer {
    /// A tracer for an agent that this one calls.
    pub(super) fn below(&self, agent_id: &str, alias_id: &str, version: &str, name: &str) -> Self {
        let mut chain = self.chain.clone();
        chain.push(alias_arn(agent_id, alias_id));
        Self {
            chain,
            agent_id: agent_id.to_owned(),
            alias_id: alias_id.to_owned(),
            version: version.to_owned(),
            collaborator: Some(name.to_owned()),
            turn: new_turn(),
            ..self.clone()
        }
    }

    /// The id of a step's traces: at most 16 characters.
    pub(super) fn id(&self, step: usize) -> String {
        format!("{}-{step}", self.turn)
    }

    /// Tells of a call: `member` is that of `invocationInput`.
    pub(super) async fn invokes(&self, id: &str, kind: &str, member: &str, what: Value) {
        let input = json!({"traceId": id, "invocationType": kind, member: what});
        self.tell("orchestrationTrace", json!({ "invocationInput": input }))
            .await;
    }

    /// Tells what came of a call, or of the turn: `member` is that of `observation`.
    pub(super) async fn observes(&self, id: &str, kind: &str, member: &str, what: Value) {
        let observation = json!({"traceId": id, "type": kind, member: what});
        self.tell("orchestrationTrace", json!({ "observation": observation }))
            .await;
    }

    /// Tells one thing; `kind` is the member of `trace`.
    pub(super) async fn tell(&self, kind: &str, what: Value) {
        let Some(frames) = &self.frames else { return };
        let chain: Vec<Value> = self
            .chain
            .iter()
            .map(|arn| json!({ "agentAliasArn": arn }))
            .collect();
        let mut part = json!({
            "agentId": self.agent_id, "agentAliasId": self.alias_id, "agentVersion": self.version,
            "sessionId": self.session_id, "callerChain": chain, "eventTime": super::super::agents::now(),
            "trace": {kind: what},
        });
        if let Some(name) = &self.collaborator {
            part["collaboratorName"] = json!(name);
        }
        // A caller that hung up hears no trace; the turn ends by itself.
        let _ = frames.send(events::trace(&part)).await;
    }
}

pub(super) fn new_turn() -> String {
    format!("{:08x}", rand::random::<u32>())
}
