//! `Conditions` of a template, as far as the laptop knows them: whether a parameter has a value, or has another; `Fn::If`
//! and resources on that.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{TemplateError, plain};

/// The template with every `Fn::If` decided, and what `AWS::NoValue` stands for left out, as are resources whose condition
/// does not hold.
///
/// # Errors
/// [`TemplateError::Unresolved`] for a condition that is not made of `Fn::Equals` of parameters and texts, `Fn::Not`, `Fn::And`,
/// `Fn::Or` and conditions by name, or one of no name.
pub(super) fn apply(
    mut root: Value,
    overrides: &BTreeMap<String, String>,
) -> Result<Value, TemplateError> {
    let mut decided = BTreeMap::new();
    let conditions = root
        .as_object_mut()
        .and_then(|fields| fields.shift_remove("Conditions"));
    let conditions = conditions.unwrap_or_default();
    for (name, condition) in conditions.as_object().into_iter().flatten() {
        let holds = decide(name, condition, &root, &conditions, overrides)?;
        decided.insert(name.clone(), holds);
    }
    let mut chosen = choose(root, &decided)?.unwrap_or_default();
    leave_out_resources(&mut chosen, &decided)?;
    Ok(chosen)
}

fn leave_out_resources(
    root: &mut Value,
    decided: &BTreeMap<String, bool>,
) -> Result<(), TemplateError> {
    let Some(resources) = root.get_mut("Resources").and_then(Value::as_object_mut) else {
        return Ok(());
    };
    for (id, resource) in std::mem::take(resources) {
        let holds = match resource["Condition"].as_str() {
            None => true,
            Some(name) => *decided.get(name).ok_or_else(|| TemplateError::Unresolved {
                place: id.clone(),
                detail: format!("there is no condition {name:?}"),
            })?,
        };
        if holds {
            resources.insert(id, resource);
        }
    }
    Ok(())
}

fn decide(
    name: &str,
    condition: &Value,
    root: &Value,
    conditions: &Value,
    overrides: &BTreeMap<String, String>,
) -> Result<bool, TemplateError> {
    let unknown = || {
        TemplateError::Unresolved {
        place: format!("Conditions.{name}"),
        detail: "the laptop knows Fn::Equals of parameters and texts, Fn::Not, Fn::And and Fn::Or of conditions, and no \
                 condition that leads back to itself"
            .to_owned(),
    }
    };
    let inner = |inner: &Value| decide(name, inner, root, conditions, overrides);
    let Some((word, operands)) = condition
        .as_object()
        .filter(|fields| fields.len() == 1)
        .and_then(|fields| fields.iter().next())
    else {
        return Err(unknown());
    };
    let list = operands.as_array().map(Vec::as_slice).unwrap_or_default();
    match (word.as_str(), list) {
        ("Condition", _) => {
            let other = operands.as_str().unwrap_or_default();
            // A condition that was named once is not there for those that it names.
            let mut rest = conditions.clone();
            let found = rest.as_object_mut().and_then(|all| all.shift_remove(other));
            let found = found.ok_or_else(unknown)?;
            decide(name, &found, root, &rest, overrides)
        }
        ("Fn::Not", [negated]) => Ok(!inner(negated)?),
        ("Fn::And", [_, _, ..]) => list
            .iter()
            .try_fold(true, |all, one| Ok(inner(one)? && all)),
        ("Fn::Or", [_, _, ..]) => list
            .iter()
            .try_fold(false, |any, one| Ok(inner(one)? || any)),
        ("Fn::Equals", [left, right]) => {
            let side = |value: &Value| match value["Ref"].as_str() {
                Some(parameter) => overrides
                    .get(parameter)
                    .cloned()
                    .or_else(|| plain(&root["Parameters"][parameter]["Default"])),
                None => plain(value),
            };
            let sides = side(left).zip(side(right));
            let (left, right) = sides.ok_or_else(unknown)?;
            Ok(left == right)
        }
        _ => Err(unknown()),
    }
}

/// `None` for what is left out.
fn choose(value: Value, decided: &BTreeMap<String, bool>) -> Result<Option<Value>, TemplateError> {
    match value {
        Value::Object(mut fields) if fields.len() == 1 && fields.contains_key("Fn::If") => {
            let parts = fields.shift_remove("Fn::If").unwrap_or_default();
            choose(branch(parts, decided)?, decided)
        }
        Value::Object(fields)
            if fields.get("Ref").and_then(Value::as_str) == Some("AWS::NoValue") =>
        {
            Ok(None)
        }
        Value::Object(fields) => {
            let mut kept = Map::new();
            for (name, value) in fields {
                if let Some(value) = choose(value, decided)? {
                    kept.insert(name, value);
                }
            }
            Ok(Some(Value::Object(kept)))
        }
        Value::Array(items) => {
            let mut kept = Vec::with_capacity(items.len());
            for item in items {
                kept.extend(choose(item, decided)?);
            }
            Ok(Some(Value::Array(kept)))
        }
        other => Ok(Some(other)),
    }
}

fn branch(parts: Value, decided: &BTreeMap<String, bool>) -> Result<Value, TemplateError> {
    let unresolved = |detail: String| TemplateError::Unresolved {
        place: "Fn::If".to_owned(),
        detail,
    };
    let Value::Array(parts) = parts else {
        return Err(unresolved("takes a condition and two values".to_owned()));
    };
    let Ok([condition, yes, no]) = <[Value; 3]>::try_from(parts) else {
        return Err(unresolved("takes a condition and two values".to_owned()));
    };
    let name = condition.as_str().unwrap_or_default();
    match decided.get(name) {
        Some(true) => Ok(yes),
        Some(false) => Ok(no),
        None => Err(unresolved(format!("there is no condition {name:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template(conditions: Value, value: Value) -> Value {
        json!({
            "Parameters": {"Index": {"Default": "false"}},
            "Conditions": conditions,
            "Resources": {"T": {"Properties": {"Value": value, "List": [1, {"Fn::If": ["Has", 2, {"Ref": "AWS::NoValue"}]}]}}}
        })
    }

    #[test]
    fn a_parameter_decides() {
        let has = || json!({"Has": {"Fn::Equals": [{"Ref": "Index"}, "true"]}});
        let value = || json!({"Fn::If": ["Has", {"a": 1}, {"Ref": "AWS::NoValue"}]});
        let check = |index: Option<&str>, expected: Value| {
            let overrides = index.map(|value| ("Index".to_owned(), value.to_owned()));
            let applied =
                apply(template(has(), value()), &overrides.into_iter().collect()).unwrap();
            assert_eq!(applied["Resources"]["T"]["Properties"], expected);
            assert!(applied["Conditions"].is_null());
        };
        check(None, json!({"List": [1]}));
        check(Some("true"), json!({"Value": {"a": 1}, "List": [1, 2]}));
    }

    #[test]
    fn a_resource_whose_condition_does_not_hold_is_left_out() {
        let check = |condition: Value, expected: &[&str]| {
            let mut root = template(json!({"Has": condition}), json!(1));
            root["Resources"]["Lost"] = json!({"Condition": "Has", "Type": "X"});
            let applied = apply(root, &BTreeMap::new()).unwrap();
            let left: Vec<_> = applied["Resources"].as_object().unwrap().keys().collect();
            assert_eq!(left, expected);
        };
        let equals = |text: &str| json!({"Fn::Equals": [{"Ref": "Index"}, text]});
        check(equals("true"), &["T"]);
        check(equals("false"), &["T", "Lost"]);
        check(json!({"Fn::Not": [equals("true")]}), &["T", "Lost"]);
        let mut root = template(json!({"Has": equals("true")}), json!(1));
        root["Resources"]["T"]["Condition"] = json!("Had");
        let error = apply(root, &BTreeMap::new()).unwrap_err();
        assert!(
            error.to_string().contains("no condition \"Had\""),
            "{error}"
        );
    }

    #[test]
    fn conditions_are_made_of_conditions() {
        let check = |condition: Value, expected: bool| {
            let conditions = json!({
                "Yes": {"Fn::Equals": [{"Ref": "Index"}, "false"]},
                "No": {"Fn::Not": [{"Condition": "Yes"}]},
                "Has": condition,
            });
            let value = json!({"Fn::If": ["Has", true, false]});
            let applied = apply(template(conditions, value), &BTreeMap::new()).unwrap();
            assert_eq!(applied["Resources"]["T"]["Properties"]["Value"], expected);
        };
        let (yes, no) = (json!({"Condition": "Yes"}), json!({"Condition": "No"}));
        check(json!({"Fn::And": [yes, yes]}), true);
        check(json!({"Fn::And": [no, yes]}), false);
        check(json!({"Fn::Or": [no, yes]}), true);
        check(json!({"Fn::Or": [no, no]}), false);
        check(json!({"Fn::Not": [{"Fn::And": [yes, no]}]}), true);
    }

    #[test]
    fn what_cannot_be_decided_is_named() {
        let check = |conditions: Value, part: &str| {
            let error = apply(template(conditions, json!(1)), &BTreeMap::new()).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        };
        check(json!({}), "no condition \"Has\"");
        check(json!({"Has": {"Fn::Not": []}}), "Conditions.Has");
        check(
            json!({"Has": {"Fn::Equals": [{"Ref": "Nothing"}, "a"]}}),
            "Conditions.Has",
        );
        check(json!({"Has": {"Fn::Equals": ["a"]}}), "Conditions.Has");
        check(
            json!({"Has": {"Fn::And": [{"Fn::Equals": ["a", "a"]}]}}),
            "Conditions.Has",
        );
        check(json!({"Has": {"Condition": "Had"}}), "Conditions.Has");
        let circle = json!({"Has": {"Condition": "Had"}, "Had": {"Condition": "Has"}});
        check(circle, "leads back to itself");
    }
}
