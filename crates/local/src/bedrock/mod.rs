//! The Bedrock runtime on a laptop: AWS's wire (restJson1 and event streams) over an extractive answerer, a hashing
//! embedder and guardrails by patterns, or over any OpenAI-compatible endpoint. What it cannot do it refuses by name.
//!
//! Files: `wire` errors and replies · `models` ids · `content`, `request` what comes in · `passages`, `sentences`,
//! `words`, `answerer`, `extractive`, `follow_up` the local text model · `openai` the endpoint · `reply`, `frames` what goes out ·
//! `embed`, `neural`, `invoke` embeddings · `batch` batch inference · `retrieve` passages · `rerank` their order · `knowledge_bases` what is asked
//! and how it is filled · `guardrail` · `cache` · `strategy` what not every model takes · `faults` · `converse`, `routes` the operations ·
//! `tools` the local model's choice of tools · `agents` agents and their parts · `agent_runtime` agents at work ·
//! `services` what they call.
mod agent_runtime;
mod agents;
mod answerer;
mod batch;
mod cache;
mod content;
mod converse;
mod embed;
mod extractive;
mod faults;
mod follow_up;
mod frames;
mod guardrail;
mod invoke;
mod knowledge_bases;
mod models;
mod neural;
mod openai;
mod passages;
mod reply;
mod request;
mod rerank;
mod retrieve;
mod routes;
mod sentences;
mod services;
mod strategy;
#[cfg(test)]
mod tests;
mod tools;
mod wire;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

pub use batch::BatchQuotas;
pub use embed::embed as hashing_embedding;
pub use models::MINILM_MODEL;
pub use retrieve::{KnowledgeBases, knowledge_base_id};
pub use routes::router;
pub use services::{AgentServices, InvokeLambda, ReadObject, Retrieve};

/// What stands behind the model ids. The default is the local answerer and embedder.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Base of an OpenAI-compatible endpoint, such as `http://127.0.0.1:11434/v1`; without it text models are the
    /// extractive answerer.
    pub model_url: Option<String>,
    /// The endpoint's name for its chat model; without it the Bedrock model id is sent.
    pub model_name: Option<String>,
    /// Bearer token for the endpoint.
    pub model_key: Option<String>,
    /// The endpoint's name for its embedding model; without it embeddings are the local embedder's.
    pub embed_model: Option<String>,
    /// Longest silence of the endpoint before ModelTimeoutException; two minutes if not given.
    pub model_timeout: Option<Duration>,
    /// The sentence embedder behind [`MINILM_MODEL`]; without it that model is refused.
    pub minilm: Option<Arc<minilm::MiniLm>>,
    /// Guardrails that are there from the start: an id, and properties as `AWS::Bedrock::Guardrail` has them.
    pub guardrails: Vec<(String, Value)>,
    /// Where guardrails are kept; without it they end with the process.
    pub folder: Option<PathBuf>,
    /// What batch jobs may be.
    pub batch_quotas: BatchQuotas,
}

/// The emulator's state: prompt cache, armed faults, the endpoint. Clones share it.
#[derive(Clone, Debug)]
pub struct Bedrock {
    cache: cache::PromptCache,
    faults: faults::Faults,
    endpoint: Option<Arc<openai::Endpoint>>,
    sentences: Option<neural::Workers>,
    knowledge_bases: Option<KnowledgeBases>,
    bases: knowledge_bases::Bases,
    agents: agents::Agents,
    sessions: agent_runtime::Sessions,
    services: AgentServices,
    guardrails: guardrail::Guardrails,
    batch: batch::Jobs,
}

impl Bedrock {
    /// An emulator with nothing cached and no faults armed.
    ///
    /// # Errors
    /// A folder that cannot be read, or a guardrail of the settings that is none.
    pub fn open(settings: Settings) -> Result<Self, String> {
        let guardrails = match &settings.folder {
            Some(folder) => guardrail::Guardrails::open(folder)?,
            None => guardrail::Guardrails::default(),
        };
        for (id, properties) in &settings.guardrails {
            guardrails
                .seed(id, properties.clone(), guardrail::now_ms())
                .map_err(|problem| format!("the guardrail {id}: {problem}"))?;
        }
        let sentences = settings
            .minilm
            .clone()
            .map(|model| neural::Workers::start(&model));
        Ok(Self {
            cache: cache::PromptCache::default(),
            faults: faults::Faults::default(),
            endpoint: openai::Endpoint::new(settings).map(Arc::new),
            sentences,
            knowledge_bases: None,
            bases: knowledge_bases::Bases::default(),
            agents: agents::Agents::default(),
            sessions: agent_runtime::Sessions::default(),
            services: AgentServices::default(),
            guardrails,
            batch: batch::Jobs::default(),
        })
    }

    /// The same emulator with the spaces as knowledge bases behind `Retrieve`, and with those that are made here kept in
    /// `folder`.
    ///
    /// # Errors
    /// A folder that cannot be read or written, or a file in it that is no knowledge base.
    pub fn with_knowledge_bases(
        self,
        folder: &Path,
        knowledge_bases: KnowledgeBases,
    ) -> std::io::Result<Self> {
        Ok(Self {
            bases: knowledge_bases::Bases::open(folder)?,
            knowledge_bases: Some(knowledge_bases),
            ..self
        })
    }

    /// Goes on with the ingestion that was under way when the process ended. To be called once the services answer.
    pub fn resume_ingestion(&self) {
        knowledge_bases::resume(self);
    }

    /// The same emulator with its agents kept in `folder`, and with what they call.
    ///
    /// # Errors
    /// A folder that cannot be read or written, or a file in it that is no agent.
    pub fn with_agents(self, folder: &Path, services: AgentServices) -> std::io::Result<Self> {
        Ok(Self {
            agents: agents::Agents::open(folder)?,
            services,
            ..self
        })
    }
}
