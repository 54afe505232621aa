//! A Task: one invocation of a Lambda function, within its time.

use std::time::Duration;

use serde_json::{Value, json};

use super::TaskError;
use super::definition::{Task, text};
use super::fault::{Fault, RUNTIME, TIMEOUT, within_limit};
use super::history;
use super::run::Visit;

/// Invokes the function and gives what AWS's `lambda:invoke` gives: its reply as `Payload`.
pub(super) async fn run(visit: &Visit<'_>, task: &Task, cursor: &mut u64) -> Result<Value, Fault> {
    let run = visit.run;
    let arguments = visit.evaluate(&task.arguments)?;
    within_limit(&visit.state.name, &arguments)?;
    let timeout = task.timeout_seconds.as_ref();
    let timeout = timeout.map(|count| visit.count(count)).transpose()?;
    let scheduled = history::task_scheduled(&arguments, timeout);
    run.trail.leave(cursor, scheduled)?;
    let (function, payload) = invocation(arguments)?;
    run.trail.leave(cursor, history::task_started())?;
    let reply = invoke(visit, function, payload, timeout).await;
    let result = reply
        .map_err(|failed| Fault::new(failed.error, failed.cause))
        .and_then(|payload| {
            let result = json!({
                "ExecutedVersion": "$LATEST",
                "Payload": payload,
                "StatusCode": 200,
            });
            within_limit(&visit.state.name, &result)?;
            Ok(result)
        });
    let event = match &result {
        Ok(output) => history::task_succeeded(output),
        Err(fault) => history::task_failed(fault),
    };
    run.trail.leave(cursor, event)?;
    result
}

async fn invoke(
    visit: &Visit<'_>,
    function: String,
    payload: Value,
    timeout_seconds: Option<u64>,
) -> Result<Value, TaskError> {
    let reply = (visit.run.services.invoke_lambda)(function, payload);
    let Some(seconds) = timeout_seconds else {
        return reply.await;
    };
    let limit = Duration::from_secs(seconds);
    let reply = visit.run.clock.within(limit, reply).await;
    reply.unwrap_or_else(|| {
        Err(TaskError {
            error: TIMEOUT.to_owned(),
            cause: format!("The task did not answer within {seconds} s."),
        })
    })
}

/// The function's name and the event for it.
fn invocation(arguments: Value) -> Result<(String, Value), Fault> {
    let Value::Object(mut fields) = arguments else {
        return Err(Fault::query("The field 'Arguments' must be an object."));
    };
    let name = fields.remove("FunctionName").unwrap_or_default();
    let function = text("Arguments/FunctionName", name)?;
    let payload = fields.remove("Payload").unwrap_or_else(|| json!({}));
    match fields.keys().next() {
        None => Ok((function, payload)),
        Some(name) => Err(Fault::new(
            RUNTIME,
            format!("The field '{name}' is not supported in the Arguments of lambda:invoke."),
        )),
    }
}
