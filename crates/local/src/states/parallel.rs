//! Parallel: every branch at once on the same input, the list of their outputs.

use std::sync::Arc;

use serde_json::Value;

use super::definition::Machine;
use super::expression::Template;
use super::fault::Fault;
use super::history;
use super::run::{self, Checkpoints, Frame, Visit};

pub(super) async fn run(
    visit: &Visit<'_>,
    arguments: Option<&Template>,
    branches: &[Arc<Machine>],
    cursor: &mut u64,
) -> Result<Value, Fault> {
    let trail = &visit.run.trail;
    let input = match arguments {
        Some(arguments) => visit.evaluate(arguments)?,
        None => visit.frame.input.clone(),
    };
    trail.leave(cursor, history::plain("ParallelStateStarted"))?;
    let chains = branches.iter().map(|machine| {
        let frame = Frame {
            state: machine.start_at.clone(),
            input: input.clone(),
            variables: visit.frame.variables.clone(),
            item: visit.frame.item.clone(),
            cursor: *cursor,
            checkpoints: Checkpoints::Never,
        };
        run::states(Arc::clone(visit.run), Arc::clone(machine), frame)
    });
    match futures_util::future::try_join_all(chains).await {
        Ok(ends) => {
            *cursor = ends.iter().map(|(_, last)| *last).fold(*cursor, u64::max);
            trail.leave(cursor, history::plain("ParallelStateSucceeded"))?;
            Ok(ends.into_iter().map(|(output, _)| output).collect())
        }
        Err(fault) => {
            trail.leave(cursor, history::plain("ParallelStateFailed"))?;
            Err(fault)
        }
    }
}
