//! The functions that Step Functions adds to JSONata, and the built-in ones that read time or
//! chance, which here go through the interpreter's clock.

use std::sync::Arc;

use jsonata_core::evaluator::{Evaluator, EvaluatorError, HostFnResult};
use jsonata_core::parser;
use jsonata_core::value::JValue;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::states::clock::{Clock, hexadecimal};

/// Longest list that `$range` makes (Step Functions developer guide, "JSONata functions provided
/// by Step Functions").
const MAX_RANGE: usize = 1_000;

pub(super) fn register(
    evaluator: &mut Evaluator,
    clock: &Arc<Clock>,
) -> Result<(), EvaluatorError> {
    evaluator.register_fn("partition", partition)?;
    evaluator.register_fn("range", range)?;
    evaluator.register_fn("hash", hash)?;
    evaluator.register_fn("parse", parse)?;
    let of = Arc::clone(clock);
    evaluator.register_fn("uuid", move |_: &[JValue]| {
        Ok(JValue::string(of.uuid().as_str()))
    })?;
    evaluator.register_fn_override("eval", |_: &[JValue]| {
        refuse("$eval is not supported in a state machine")
    })?;
    let of = Arc::clone(clock);
    evaluator.register_fn_override("random", move |args: &[JValue]| Ok(random(args, &of)))?;
    let of = Arc::clone(clock);
    evaluator.register_fn_override("millis", move |_: &[JValue]| Ok(millis(&of)))?;
    let of = Arc::clone(clock);
    evaluator.register_fn_override("now", move |args: &[JValue]| now(args, &of))
}

fn refuse(message: impl Into<String>) -> HostFnResult {
    Err(EvaluatorError::EvaluationError(message.into()))
}

fn number(args: &[JValue], index: usize) -> Option<f64> {
    args.get(index).and_then(JValue::as_f64)
}

/// `$partition(array, size)`: the array in pieces of at most `size`.
fn partition(args: &[JValue]) -> HostFnResult {
    let size = number(args, 1).filter(|size| *size >= 1.0 && size.fract() == 0.0);
    let (Some(JValue::Array(items)), Some(size)) = (args.first(), size) else {
        return refuse("$partition takes an array and a whole number of at least 1");
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number of at least 1; casts saturate"
    )]
    let size = size as usize;
    let pieces = items
        .chunks(size)
        .map(|piece| JValue::array(piece.to_vec()));
    Ok(JValue::array(pieces.collect()))
}

/// `$range(first, last, step)`: both ends included.
fn range(args: &[JValue]) -> HostFnResult {
    let (Some(first), Some(last)) = (number(args, 0), number(args, 1)) else {
        return refuse("$range takes a first number, a last number and a step");
    };
    let step = number(args, 2).unwrap_or(1.0);
    if step == 0.0 || !step.is_finite() {
        return refuse("the step of $range must not be 0");
    }
    let mut list = Vec::new();
    let mut next = first;
    while (step > 0.0 && next <= last) || (step < 0.0 && next >= last) {
        if list.len() == MAX_RANGE {
            return refuse(format!("$range makes at most {MAX_RANGE} numbers"));
        }
        list.push(JValue::Number(next));
        next += step;
    }
    Ok(JValue::array(list))
}

/// `$hash(data, algorithm)` as lower-case hexadecimal; other data than text as its JSON.
fn hash(args: &[JValue]) -> HostFnResult {
    let data = match args.first() {
        Some(JValue::String(text)) => text.to_string(),
        Some(JValue::Undefined) | None => return Ok(JValue::Undefined),
        Some(value) => match value.to_json_string() {
            Ok(text) => text,
            Err(error) => return refuse(error.to_string()),
        },
    };
    let digest = match args.get(1).and_then(JValue::as_str) {
        Some("SHA-256") | None => hexadecimal(&Sha256::digest(data)),
        Some("SHA-384") => hexadecimal(&Sha384::digest(data)),
        Some("SHA-512") => hexadecimal(&Sha512::digest(data)),
        Some(other) => {
            return refuse(format!(
                "$hash here knows SHA-256, SHA-384 and SHA-512, not {other}"
            ));
        }
    };
    Ok(JValue::string(digest.as_str()))
}

/// `$parse(text)`: JSON as a value.
fn parse(args: &[JValue]) -> HostFnResult {
    let Some(text) = args.first().and_then(JValue::as_str) else {
        return refuse("$parse takes a string that holds JSON");
    };
    match serde_json::from_str::<JValue>(text) {
        Ok(value) => Ok(value),
        Err(error) => refuse(format!("$parse: {error}")),
    }
}

/// `$random([seed])`: in 0..1; the same seed gives the same number.
fn random(args: &[JValue], clock: &Clock) -> JValue {
    JValue::Number(match number(args, 0) {
        Some(seed) => StdRng::seed_from_u64(seed.to_bits()).random::<f64>(),
        None => clock.fraction(),
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds fit in 53 bits until the year 287396"
)]
fn millis(clock: &Clock) -> JValue {
    JValue::Number(clock.now_ms() as f64)
}

/// `$now([picture [, timezone]])`, by way of `$fromMillis`, which does the formatting.
fn now(args: &[JValue], clock: &Clock) -> HostFnResult {
    let source = match args.len() {
        0 => "$fromMillis($at)",
        1 => "$fromMillis($at, $picture)",
        _ => "$fromMillis($at, $picture, $zone)",
    };
    let Ok(ast) = parser::parse(source) else {
        return refuse("$now takes a picture and a time zone");
    };
    let mut context = jsonata_core::evaluator::Context::new();
    context.bind("at".to_owned(), millis(clock));
    for (name, value) in ["picture", "zone"].into_iter().zip(args) {
        context.bind(name.to_owned(), value.clone());
    }
    Evaluator::with_context(context).evaluate(&ast, &JValue::Undefined)
}
