//! The laptop cloud: the AWS services that Outcrop uses, on loopback, so that the code that is deployed runs as it is.
//!
//! What was tried and why these parts: `docs/decisions/`. An operation or field that is not supported is refused by name.

pub mod bedrock;
pub mod cloud;
mod dynamo;
pub mod events;
pub mod gateway;
pub mod lambda;
mod queues;
mod s3;
mod secrets;
pub mod states;
mod storage_faults;
pub mod template;
