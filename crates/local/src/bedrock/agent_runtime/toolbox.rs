//! An agent's parts as the tools of Converse: an action each, a knowledge base each, a collaborator each.
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::super::agents::{Collaborator, Definition, Executor, Operation, OperationKind, State};
use super::super::wire::WireError;

/// Longest name of a tool. Source: Amazon Bedrock API Reference, ToolSpecification.
const MAX_NAME: usize = 64;

/// What a tool stands for.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Action(Action),
    Knowledge(String),
    Collaborator(Collaborator),
}

/// An operation of an action group and who carries it out.
#[derive(Clone, Debug)]
pub(super) struct Action {
    pub(super) group: String,
    pub(super) operation: Operation,
    pub(super) executor: Executor,
}

#[derive(Clone, Debug)]
pub(super) struct Tool {
    pub(super) name: String,
    pub(super) target: Target,
    spec: Value,
}

/// The tools of one agent.
#[derive(Clone, Debug, Default)]
pub(super) struct Toolbox {
    tools: Vec<Tool>,
    /// The agent may ask its user for what is missing.
    pub(super) asks_user: bool,
}

impl Toolbox {
    pub(super) fn of(definition: &Definition) -> Result<Self, WireError> {
        let mut toolbox = Self::default();
        for collaborator in &definition.collaborators {
            let name = format!("AgentCommunication__{}", collaborator.name);
            let schema = json!({"type": "object", "properties": {"content": {"type": "string"}}, "required": ["content"]});
            toolbox.add(
                &name,
                &collaborator.instruction,
                schema,
                Target::Collaborator(collaborator.clone()),
            );
        }
        let bases = definition.knowledge_bases.iter();
        for base in bases.filter(|base| base.state == State::Enabled) {
            let name = format!("x_amz_knowledgebase_{}__Search", base.id);
            let description = format!("Searches a knowledge base: {}", base.description);
            let schema = json!({"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]});
            toolbox.add(
                &name,
                &description,
                schema,
                Target::Knowledge(base.id.clone()),
            );
        }
        let groups = definition.action_groups.iter();
        for group in groups.filter(|group| group.state == State::Enabled) {
            toolbox.asks_user |= group.asks_user();
            let Some(executor) = &group.executor else {
                continue;
            };
            for operation in group.operations()? {
                let name = match &operation.kind {
                    OperationKind::Function => format!("{}__{}", group.name, operation.name),
                    OperationKind::Api { verb, .. } => {
                        format!("{verb}__{}__{}", group.name, operation.name)
                    }
                };
                let action = Action {
                    group: group.name.clone(),
                    operation: operation.clone(),
                    executor: executor.clone(),
                };
                toolbox.add(
                    &name,
                    &operation.description,
                    operation.input_schema(),
                    Target::Action(action),
                );
            }
        }
        Ok(toolbox)
    }

    fn add(&mut self, name: &str, description: &str, schema: Value, target: Target) {
        let name = self.fitting(name);
        let mut spec = json!({"name": name, "inputSchema": {"json": schema}});
        if !description.is_empty() {
            spec["description"] = json!(description);
        }
        self.tools.push(Tool {
            spec: json!({ "toolSpec": spec }),
            name,
            target,
        });
    }

    /// A name of legal characters, short enough, and of no other tool.
    fn fitting(&self, name: &str) -> String {
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let plain: String = name
            .chars()
            .map(|c| if legal(c) { c } else { '_' })
            .collect();
        let taken = |name: &str| self.tools.iter().any(|tool| tool.name == name);
        if plain.len() <= MAX_NAME && !taken(&plain) {
            return plain;
        }
        let digest = Sha256::digest(format!("{name} {}", self.tools.len()));
        let end = format!(
            "_{:02x}{:02x}{:02x}{:02x}",
            digest[0], digest[1], digest[2], digest[3]
        );
        let start: String = plain.chars().take(MAX_NAME - end.len()).collect();
        start + &end
    }

    pub(super) fn get(&self, name: &str) -> Option<&Tool> {
        self.tools.iter().find(|tool| tool.name == name)
    }

    /// `toolConfig` of Converse; nothing for an agent without tools.
    pub(super) fn config(&self) -> Option<Value> {
        Self::config_of(self.tools.iter())
    }

    /// `toolConfig` with the collaborators only.
    pub(super) fn collaborators(&self) -> Option<Value> {
        let leads = |tool: &&Tool| matches!(tool.target, Target::Collaborator(_));
        Self::config_of(self.tools.iter().filter(leads))
    }

    fn config_of<'a>(tools: impl Iterator<Item = &'a Tool>) -> Option<Value> {
        let specs: Vec<&Value> = tools.map(|tool| &tool.spec).collect();
        (!specs.is_empty()).then(|| json!({ "tools": specs }))
    }
}
