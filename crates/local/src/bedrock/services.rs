//! What agents need beside a model: functions, objects and knowledge bases, handed in as functions.
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::lambda::{Invocation, InvokeError};

/// Invokes a function by name or ARN with a payload.
pub type InvokeLambda =
    Arc<dyn Fn(String, Bytes) -> BoxFuture<'static, Result<Invocation, InvokeError>> + Send + Sync>;
/// Reads an object by bucket and key; `None` when there is none; else why it cannot be read.
pub type ReadObject =
    Arc<dyn Fn(String, String) -> BoxFuture<'static, Result<Option<Bytes>, String>> + Send + Sync>;
/// Answers Retrieve: the id of a knowledge base and the request's body give the reply's body, or why not.
pub type Retrieve =
    Arc<dyn Fn(String, Value) -> BoxFuture<'static, Result<Value, String>> + Send + Sync>;

/// The services. The default has none of them, and says so when one is called.
#[derive(Clone)]
pub struct AgentServices {
    pub invoke_lambda: InvokeLambda,
    pub read_object: ReadObject,
    /// Without it, Retrieve is answered from the laptop's own knowledge bases.
    pub retrieve: Option<Retrieve>,
}

impl Default for AgentServices {
    fn default() -> Self {
        Self {
            invoke_lambda: Arc::new(|name, _| {
                async { Err(InvokeError::NotFound { name }) }.boxed()
            }),
            read_object: Arc::new(|_, _| {
                async { Err("S3 is not connected to this Bedrock".to_owned()) }.boxed()
            }),
            retrieve: None,
        }
    }
}

impl std::fmt::Debug for AgentServices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AgentServices")
    }
}
