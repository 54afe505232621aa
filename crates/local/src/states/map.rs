//! Map: the same states for each item. Inline, a failing item fails the state; distributed, each
//! batch of items is a child execution and a share of them may fail.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};

use super::definition::{Distributed, ItemBatcher, MapState};
use super::fault::{Fault, TOLERATED, within_limit};
use super::history::{self, Trail};
use super::reader;
use super::run::{self, Checkpoints, Frame, Identity, Run, Visit};

/// Children at a time when `MaxConcurrency` is 0 or left out, and the most of an inline Map, as on
/// AWS. A distributed Map of AWS goes up to 10,000, which a laptop would not thank us for.
const MOST_AT_A_TIME: usize = 40;

pub(super) async fn run(
    visit: &Visit<'_>,
    map: &MapState,
    cursor: &mut u64,
) -> Result<Value, Fault> {
    let concurrency = match &map.max_concurrency {
        Some(count) => usize::try_from(visit.count(count)?).unwrap_or(usize::MAX),
        None => 0,
    };
    let items = items(visit, map).await?;
    let items = selected(visit, map, items)?;
    let result = match &map.distributed {
        None => inline(visit, map, items, at_a_time(concurrency, true), cursor).await?,
        Some(distributed) => {
            let limit = at_a_time(concurrency, false);
            Batches::new(visit, map, distributed, items)?
                .run(visit, limit, cursor)
                .await?
        }
    };
    within_limit(&visit.state.name, &result)?;
    Ok(result)
}

fn at_a_time(asked: usize, inline: bool) -> usize {
    match asked {
        0 => MOST_AT_A_TIME,
        asked if inline => asked.min(MOST_AT_A_TIME),
        asked => asked,
    }
}

async fn items(visit: &Visit<'_>, map: &MapState) -> Result<Vec<Value>, Fault> {
    let reader = map.distributed.as_ref().and_then(|map| map.reader.as_ref());
    if let Some(reader) = reader {
        return reader::read(visit, reader).await;
    }
    let value = match &map.items {
        Some(items) => visit.evaluate(items)?,
        None => visit.frame.input.clone(),
    };
    match value {
        Value::Array(items) => Ok(items),
        other => {
            let kind = match other {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(_) => "number",
                Value::String(_) => "string",
                Value::Array(_) | Value::Object(_) => "object",
            };
            Err(Fault::query(format!(
                "The field 'Items' must be an array, but was of type {kind}."
            )))
        }
    }
}

/// Each item after `ItemSelector`, which sees it as `$states.context.Map.Item`.
fn selected(visit: &Visit<'_>, map: &MapState, items: Vec<Value>) -> Result<Vec<Value>, Fault> {
    let Some(selector) = &map.item_selector else {
        return Ok(items);
    };
    let select = |(index, item): (usize, Value)| {
        let context = || {
            let mut context = visit.context();
            context["Map"] = json!({ "Item": { "Index": index, "Value": item } });
            context
        };
        selector.evaluate(&visit.surroundings(None, None, &context))
    };
    items.into_iter().enumerate().map(select).collect()
}

type Child = BoxFuture<'static, (usize, Result<(Value, u64), Fault>)>;

/// Runs children, `limit` at a time and begun in order; `ended` takes each end as it comes and
/// may stop the rest.
async fn children(
    limit: usize,
    mut waiting: impl Iterator<Item = Child> + Send,
    mut ended: impl FnMut(usize, Result<(Value, u64), Fault>) -> Result<(), Fault> + Send,
) -> Result<(), Fault> {
    let mut running = FuturesUnordered::new();
    running.extend(waiting.by_ref().take(limit));
    while let Some((index, end)) = running.next().await {
        ended(index, end)?;
        running.extend(waiting.next());
    }
    Ok(())
}

async fn inline(
    visit: &Visit<'_>,
    map: &MapState,
    items: Vec<Value>,
    limit: usize,
    cursor: &mut u64,
) -> Result<Value, Fault> {
    let run = visit.run;
    run.trail.leave(cursor, history::map_started(items.len()))?;
    let mut outputs = vec![Value::Null; items.len()];
    let mut last = *cursor;
    let started = *cursor;
    let waiting = items
        .into_iter()
        .enumerate()
        .map(|(index, item)| iteration(visit, map, index, item, started));
    let outcome = children(limit, waiting, |index, end| {
        let (output, event) = end?;
        outputs[index] = output;
        last = last.max(event);
        Ok(())
    });
    let outcome = outcome.await;
    *cursor = last;
    let kind = match outcome {
        Ok(()) => "MapStateSucceeded",
        Err(_) => "MapStateFailed",
    };
    run.trail.leave(cursor, history::plain(kind))?;
    outcome.map(|()| Value::Array(outputs))
}

/// One item through the inner states of an inline Map.
fn iteration(visit: &Visit<'_>, map: &MapState, index: usize, item: Value, after: u64) -> Child {
    let run = Arc::clone(visit.run);
    let machine = Arc::clone(&map.processor);
    let name = visit.state.name.clone();
    let variables = visit.frame.variables.clone();
    Box::pin(async move {
        let mut cursor = after;
        let started = history::map_iteration("Started", &name, index);
        if let Err(fault) = run.trail.leave(&mut cursor, started) {
            return (index, Err(fault));
        }
        let frame = Frame {
            state: machine.start_at.clone(),
            input: item.clone(),
            variables,
            item: Some((index, item)),
            cursor,
            checkpoints: Checkpoints::Never,
        };
        let end = run::states(Arc::clone(&run), machine, frame).await;
        let outcome = if end.is_ok() { "Succeeded" } else { "Failed" };
        cursor = end.as_ref().map_or(cursor, |(_, last)| *last);
        let event = history::map_iteration(outcome, &name, index);
        let left = run.trail.leave(&mut cursor, event);
        (index, left.and(end.map(|(output, _)| (output, cursor))))
    })
}

/// The children of a distributed Map and what may go wrong among them.
struct Batches<'a> {
    map: &'a MapState,
    arn: String,
    /// Each child's input and how many items it stands for.
    inputs: Vec<(Value, usize)>,
    items: usize,
    tolerated_count: u64,
    tolerated_percentage: u64,
}

impl<'a> Batches<'a> {
    fn new(
        visit: &Visit<'_>,
        map: &'a MapState,
        distributed: &'a Distributed,
        items: Vec<Value>,
    ) -> Result<Self, Fault> {
        let tolerated = |count: &Option<_>| match count {
            Some(count) => visit.count(count),
            None => Ok(0),
        };
        let machine = &visit.run.execution.machine_name;
        let uuid = visit.run.clock.uuid();
        Ok(Self {
            map,
            arn: super::arn::map_run_arn(machine, &distributed.label, &uuid),
            items: items.len(),
            inputs: match &distributed.batcher {
                None => items.into_iter().map(|item| (item, 1)).collect(),
                Some(batcher) => batched(visit, batcher, items)?,
            },
            tolerated_count: tolerated(&distributed.tolerated_count)?,
            tolerated_percentage: tolerated(&distributed.tolerated_percentage)?,
        })
    }

    async fn run(
        mut self,
        visit: &Visit<'_>,
        limit: usize,
        cursor: &mut u64,
    ) -> Result<Value, Fault> {
        let trail = &visit.run.trail;
        trail.leave(cursor, history::map_started(self.items))?;
        trail.leave(cursor, history::map_run_started(&self.arn))?;
        match self.all(visit, limit).await {
            Ok(outputs) => {
                trail.leave(cursor, history::plain("MapRunSucceeded"))?;
                trail.leave(cursor, history::plain("MapStateSucceeded"))?;
                Ok(Value::Array(outputs))
            }
            Err(fault) => {
                trail.leave(cursor, history::map_run_failed(&fault))?;
                trail.leave(cursor, history::plain("MapStateFailed"))?;
                Err(fault)
            }
        }
    }

    /// The outputs of the children that succeeded, in the order of their items.
    async fn all(&mut self, visit: &Visit<'_>, limit: usize) -> Result<Vec<Value>, Fault> {
        let inputs = std::mem::take(&mut self.inputs);
        let sizes: Vec<usize> = inputs.iter().map(|(_, items)| *items).collect();
        let mut outputs: Vec<Option<Value>> = vec![None; sizes.len()];
        let mut failed = 0;
        let waiting = inputs.into_iter().enumerate();
        let waiting = waiting.map(|(index, (input, _))| self.child(visit, index, input));
        children(limit, waiting, |index, end| {
            match end {
                Ok((output, _)) => outputs[index] = Some(output),
                Err(fault) => {
                    failed += sizes[index];
                    self.tolerate(failed, &fault)?;
                    tracing::warn!(
                        map = visit.state.name,
                        child = index,
                        error = fault.error,
                        cause = fault.cause,
                        "a child of a distributed Map failed and is tolerated"
                    );
                }
            }
            Ok(())
        })
        .await?;
        Ok(outputs.into_iter().flatten().collect())
    }

    fn tolerate(&self, failed: usize, fault: &Fault) -> Result<(), Fault> {
        let (failed, items) = (failed as u128, self.items as u128);
        let by_count = failed <= u128::from(self.tolerated_count);
        let by_percentage = failed * 100 <= items * u128::from(self.tolerated_percentage);
        // Left out, a threshold is 0; when both are given, passing either one fails the Map.
        let tolerated = match (self.tolerated_count, self.tolerated_percentage) {
            (0, _) => by_percentage,
            (_, 0) => by_count,
            _ => by_count && by_percentage,
        };
        if tolerated {
            return Ok(());
        }
        Err(Fault::new(
            TOLERATED,
            format!(
                "The specified tolerated failure threshold was exceeded: {failed} of {items} items failed. The last failure was {}: {}",
                fault.error, fault.cause
            ),
        ))
    }

    /// One child execution, with a context of its own and none of the outer variables.
    fn child(&self, visit: &Visit<'_>, index: usize, input: Value) -> Child {
        let outer = &visit.run.execution;
        let name = visit.run.clock.uuid();
        let machine = Arc::clone(&self.map.processor);
        let run = Arc::new(Run {
            clock: Arc::clone(&visit.run.clock),
            services: visit.run.services.clone(),
            trail: Trail::Counted(AtomicU64::new(0)),
            execution: Identity {
                arn: super::arn::child_arn(&self.arn, &name),
                name,
                input: Arc::new(input.clone()),
                started_ms: visit.run.clock.now_ms(),
                ..outer.clone()
            },
        });
        let frame = Frame {
            state: machine.start_at.clone(),
            input,
            variables: super::expression::Variables::new(),
            item: None,
            cursor: 0,
            checkpoints: Checkpoints::Never,
        };
        Box::pin(async move { (index, run::states(run, machine, frame).await) })
    }
}

/// Items in groups, each the input of a child as `{BatchInput, Items}`.
fn batched(
    visit: &Visit<'_>,
    batcher: &ItemBatcher,
    items: Vec<Value>,
) -> Result<Vec<(Value, usize)>, Fault> {
    let size = usize::try_from(visit.count(&batcher.max_items)?).unwrap_or(usize::MAX);
    let shared = batcher.batch_input.as_ref();
    let shared = shared.map(|input| visit.evaluate(input)).transpose()?;
    let batch = |items: &[Value]| {
        let mut input = json!({ "Items": items });
        if let Some(shared) = &shared {
            input["BatchInput"] = shared.clone();
        }
        (input, items.len())
    };
    Ok(items.chunks(size).map(batch).collect())
}
