//! What starts functions by itself: rules of EventBridge, queues, and the mappings that bring queues to functions.
//!
//! Rules send to queues and queues go to functions; another target, or a field that changes what is sent, is refused.

use serde_json::Value;

use super::{ACCOUNT, Names, REGION, TemplateError, plain};

/// Four days. Source: SQS, `MessageRetentionPeriod`, the default.
const RETENTION_SECONDS: u64 = 345_600;
/// Source: Lambda, `BatchSize` of a mapping of SQS, the default.
const BATCH_SIZE: usize = 10;

/// A queue of SQS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueResource {
    pub name: String,
    pub retention_seconds: u64,
    pub redrive: Option<Redrive>,
}

/// Where messages go that were received so often and not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redrive {
    pub max_receives: u32,
    pub queue: String,
}

/// A rule of EventBridge that is in force.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleResource {
    pub name: String,
    pub when: When,
    pub targets: Vec<Target>,
}

/// What a rule waits for.
#[derive(Debug, Clone, PartialEq)]
pub enum When {
    /// Events that this pattern matches.
    Event(Value),
    /// `rate(…)` or `cron(…)`.
    Schedule(String),
}

/// A queue that a rule sends to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub queue: String,
    /// What is sent in place of the event.
    pub input: Option<String>,
}

/// A queue whose messages Lambda brings to a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingResource {
    pub function: String,
    pub queue: String,
    pub batch_size: usize,
    /// How long messages are gathered.
    pub window_seconds: u64,
    /// Whether the function's reply names the messages that it could not take.
    pub reports_failures: bool,
}

pub(super) fn queue(
    id: &str,
    resource: &Value,
    names: &Names,
) -> Result<QueueResource, TemplateError> {
    let properties = names.resolve(&resource["Properties"], id)?;
    let redrive = &properties["RedrivePolicy"];
    let redrive = match redrive["deadLetterTargetArn"].as_str() {
        Some(arn) => Some(Redrive {
            queue: queue_of(arn, id)?,
            max_receives: whole(&redrive["maxReceiveCount"])
                .and_then(|count| u32::try_from(count).ok())
                .ok_or_else(|| missing(format!("{id}.RedrivePolicy.maxReceiveCount")))?,
        }),
        None => None,
    };
    let retention = whole(&properties["MessageRetentionPeriod"]);
    Ok(QueueResource {
        name: names.reference(id, id)?,
        retention_seconds: retention.unwrap_or(RETENTION_SECONDS),
        redrive,
    })
}

/// A rule; `None` where it is not in force.
pub(super) fn rule(
    id: &str,
    resource: &Value,
    names: &Names,
) -> Result<Option<RuleResource>, TemplateError> {
    let properties = names.resolve(&resource["Properties"], id)?;
    if properties["State"] == "DISABLED" {
        return Ok(None);
    }
    let pattern = &properties["EventPattern"];
    let when = match (pattern, &properties["ScheduleExpression"]) {
        (Value::Object(_), Value::Null) => When::Event(pattern.clone()),
        (Value::Null, Value::String(expression)) => When::Schedule(expression.clone()),
        _ => return Err(missing(format!("{id}.EventPattern"))),
    };
    let listed = properties["Targets"].as_array();
    let listed = listed.ok_or_else(|| missing(format!("{id}.Targets")))?;
    let targets: Vec<Target> = listed
        .iter()
        .map(|one| target(one, id))
        .collect::<Result<_, _>>()?;
    if matches!(when, When::Schedule(_)) && targets.iter().any(|one| one.input.is_none()) {
        return Err(missing(format!("{id}.Targets.Input")));
    }
    Ok(Some(RuleResource {
        name: names.reference(id, id)?,
        when,
        targets,
    }))
}

fn target(target: &Value, id: &str) -> Result<Target, TemplateError> {
    let fields = target.as_object().into_iter().flatten();
    for (name, _) in fields {
        if !["Id", "Arn", "Input"].contains(&name.as_str()) {
            return Err(TemplateError::Unresolved {
                place: format!("{id}.Targets"),
                detail: format!("{name} is not known on the laptop"),
            });
        }
    }
    let arn = target["Arn"].as_str().unwrap_or_default();
    Ok(Target {
        queue: queue_of(arn, id)?,
        input: target["Input"].as_str().map(str::to_owned),
    })
}

/// The mappings among the `Events` of a function.
pub(super) fn mappings(
    id: &str,
    resource: &Value,
    names: &Names,
) -> Result<Vec<MappingResource>, TemplateError> {
    let events = resource.pointer("/Properties/Events");
    let events = events.and_then(Value::as_object).into_iter().flatten();
    let of_queues = events.filter(|(_, event)| event["Type"] == "SQS");
    of_queues
        .map(|(name, event)| {
            let place = format!("{id}.Events.{name}");
            let properties = names.resolve(&event["Properties"], &place)?;
            let size = whole(&properties["BatchSize"]).and_then(|size| usize::try_from(size).ok());
            let types = properties["FunctionResponseTypes"].as_array();
            let mut types = types.into_iter().flatten();
            Ok(MappingResource {
                function: names.reference(id, &place)?,
                queue: queue_of(properties["Queue"].as_str().unwrap_or_default(), &place)?,
                batch_size: size.unwrap_or(BATCH_SIZE).max(1),
                window_seconds: whole(&properties["MaximumBatchingWindowInSeconds"])
                    .unwrap_or_default(),
                reports_failures: types.any(|one| one == "ReportBatchItemFailures"),
            })
        })
        .collect()
}

/// Whether a bucket tells EventBridge of its objects.
pub(super) fn tells_events(resource: &Value) -> bool {
    let path = "/Properties/NotificationConfiguration/EventBridgeConfiguration/EventBridgeEnabled";
    resource
        .pointer(path)
        .and_then(plain)
        .is_some_and(|enabled| enabled == "true")
}

/// The ARN of a queue.
pub(crate) fn queue_arn(name: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
}

fn queue_of(arn: &str, place: &str) -> Result<String, TemplateError> {
    let name = arn.strip_prefix(&queue_arn(""));
    name.map(str::to_owned)
        .ok_or_else(|| TemplateError::Unresolved {
            place: place.to_owned(),
            detail: format!("{arn:?} is no queue, and the laptop knows no other target"),
        })
}

/// A number, which a parameter gives as text.
fn whole(value: &Value) -> Option<u64> {
    plain(value).and_then(|text| text.parse().ok())
}

fn missing(place: String) -> TemplateError {
    TemplateError::Missing { place }
}
