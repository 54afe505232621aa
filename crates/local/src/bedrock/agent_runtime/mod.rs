//! `bedrock-agent-runtime` on the laptop: InvokeAgent, and RetrieveAndGenerate beside it. An agent's turn is a loop: the
//! model speaks with the agent's actions, knowledge bases and collaborators as its tools; what it calls is called; what
//! comes back goes to the model, until it answers. The caller hears traces while that goes on, and then the answer with
//! its citations, or a request to do something itself.
//!
//! `request` what comes in · `session` what is kept between turns · `toolbox` an agent's parts as tools · `turn` the
//! loop · `speech` the model · `calls` what it calls: `action` functions, `control` the caller's own actions, `lookup`
//! knowledge bases, `supervise` collaborators · `attribution` citations, from `markers` where a model only numbers ·
//! `trace`, `events` what goes out · `generate` RetrieveAndGenerate.
mod action;
mod attribution;
mod calls;
mod control;
mod events;
mod generate;
mod lookup;
mod markers;
mod request;
mod routes;
mod session;
mod speech;
mod supervise;
mod toolbox;
mod trace;
mod turn;

pub(super) use routes::operations;
pub(super) use session::Sessions;
