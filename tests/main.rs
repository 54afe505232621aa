//! The service at its door: every test starts the real binary on a folder of its own and speaks HTTP to it.

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod access;
mod agent_calls;
mod agent_converse;
mod agent_forms;
mod agent_refusals;
mod agent_tickets;
mod agent_writes;
mod attack_table;
mod bad_input;
mod brake;
mod budgets;
mod by_itself;
mod conversation;
mod durability;
mod embedding_jobs;
mod entries;
mod evidence;
mod faults;
mod formats;
mod guard_stream;
mod guards;
mod index;
mod instance;
mod isolation;
mod journey;
mod knowledge_base;
mod lambda_binaries;
mod ledger;
mod limits;
mod rebuild;
mod redrive;
mod renames;
mod reranking;
mod retrievers;
mod sample;
mod scripted_model;
mod sources;
mod space_model;
mod strategies;
mod streaming;
