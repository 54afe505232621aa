//! What a vector index can compare of a filter: equality of its filter keys, one search for each alternative.

use aws::FILTER_KEYS;
use retrieval::Filter;
use serde_json::Value;

use crate::vectors::slot;

/// Values that must stand at the filter keys; all `None` leaves every document in.
pub(super) type Branch = [Option<String>; FILTER_KEYS];

/// The most alternatives that are searched one by one; more would cost more than what they leave out.
const BRANCHES: usize = 8;
const OPEN: Branch = [const { None }; FILTER_KEYS];

/// Alternatives that together let through every document that the filter lets through, and as few others as they can.
/// None at all when no document can pass.
///
/// INVARIANT: never fewer than the filter lets through; the whole filter is applied to what is found.
pub(super) fn branches(filter: Option<&Filter>, keys: &[String]) -> Vec<Branch> {
    filter.map_or_else(|| vec![OPEN], |filter| of(filter, keys))
}

fn of(filter: &Filter, keys: &[String]) -> Vec<Branch> {
    match filter {
        Filter::Equals(wanted) => one_of(&wanted.key, std::slice::from_ref(&wanted.value), keys),
        Filter::In(list) => one_of(&list.key, &list.value, keys),
        Filter::AndAll(members) => members
            .as_slice()
            .iter()
            .fold(vec![OPEN], |left, member| both(left, of(member, keys))),
        Filter::OrAll(members) => {
            let all: Vec<Branch> = members
                .as_slice()
                .iter()
                .flat_map(|member| of(member, keys))
                .collect();
            bounded(all)
        }
        _ => vec![OPEN],
    }
}

fn one_of(key: &str, values: &[Value], keys: &[String]) -> Vec<Branch> {
    let Some(number) = keys.iter().take(FILTER_KEYS).position(|known| known == key) else {
        return vec![OPEN];
    };
    let slots: Option<Vec<String>> = values.iter().map(slot).collect();
    let Some(slots) = slots else {
        return vec![OPEN];
    };
    let with = |slot: String| {
        let mut branch = OPEN;
        branch[number] = Some(slot);
        branch
    };
    bounded(slots.into_iter().map(with).collect())
}

fn bounded(mut branches: Vec<Branch>) -> Vec<Branch> {
    branches.sort();
    branches.dedup();
    if branches.len() > BRANCHES || branches.contains(&OPEN) {
        return vec![OPEN];
    }
    branches
}

/// Every alternative of the left with every one of the right, but those that contradict each other. Where they are too
/// many, the left ones alone.
fn both(left: Vec<Branch>, right: Vec<Branch>) -> Vec<Branch> {
    let mut joined = Vec::new();
    for one in &left {
        joined.extend(right.iter().filter_map(|other| merged(one, other)));
    }
    joined.sort();
    joined.dedup();
    if joined.len() > BRANCHES {
        left
    } else {
        joined
    }
}

fn merged(one: &Branch, other: &Branch) -> Option<Branch> {
    let mut branch = one.clone();
    for (slot, value) in branch.iter_mut().zip(other) {
        match (slot.as_deref(), value) {
            (Some(known), Some(value)) if known != value => return None,
            (None, Some(value)) => *slot = Some(value.clone()),
            _ => {}
        }
    }
    Some(branch)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::vectors::slots;

    fn keys() -> Vec<String> {
        vec!["team".to_owned(), "year".to_owned()]
    }

    #[test]
    fn what_the_index_can_compare_it_compares() {
        let check = |filter: Value, expected: &[[Option<&str>; 2]]| {
            let parsed = Filter::parse(&filter).unwrap();
            let found: Vec<[Option<String>; 2]> = branches(Some(&parsed), &keys())
                .into_iter()
                .map(|[team, year, ..]| [team, year])
                .collect();
            let found: Vec<[Option<&str>; 2]> = found
                .iter()
                .map(|[team, year]| [team.as_deref(), year.as_deref()])
                .collect();
            assert_eq!(found, expected, "{filter}");
        };
        let one = |operator: &str, key: &str, value: Value| json!({operator: {"key": key, "value": value}});
        let team = |name: &str| one("equals", "team", json!(name));
        check(team("a"), &[[Some("text a"), None]]);
        check(one("equals", "other", json!(1)), &[[None, None]]);
        check(one("notEquals", "team", json!("a")), &[[None, None]]);
        check(
            one("in", "year", json!([2025, 2026.0])),
            &[[None, Some("number 2025")], [None, Some("number 2026")]],
        );
        check(
            one("in", "year", json!([1, 2, 3, 4, 5, 6, 7, 8, 9])),
            &[[None, None]],
        );
        check(
            one("equals", "year", json!(9_007_199_254_740_993_u64)),
            &[[None, None]],
        );
        check(
            json!({"andAll": [team("a"), one("equals", "year", json!(1))]}),
            &[[Some("text a"), Some("number 1")]],
        );
        check(
            json!({"andAll": [team("a"), one("greaterThan", "year", json!(1))]}),
            &[[Some("text a"), None]],
        );
        check(json!({"andAll": [team("a"), team("b")]}), &[]);
        check(
            json!({"orAll": [team("a"), team("b")]}),
            &[[Some("text a"), None], [Some("text b"), None]],
        );
        check(
            json!({"orAll": [team("a"), one("startsWith", "team", json!("b"))]}),
            &[[None, None]],
        );
        assert_eq!(branches(None, &keys()), [OPEN]);
    }

    fn filter() -> impl Strategy<Value = Value> {
        let value = prop_oneof![
            Just(json!("a")),
            Just(json!(1)),
            Just(json!(1.0)),
            Just(json!(true))
        ];
        let key = prop_oneof![Just("team"), Just("year"), Just("other")];
        let leaf = prop_oneof![
            (key.clone(), value.clone())
                .prop_map(|(key, value)| json!({"equals": {"key": key, "value": value}})),
            (key.clone(), value.clone())
                .prop_map(|(key, value)| json!({"notEquals": {"key": key, "value": value}})),
            (key, prop::collection::vec(value, 1..3))
                .prop_map(|(key, value)| json!({"in": {"key": key, "value": value}})),
        ];
        leaf.prop_recursive(3, 16, 3, |inner| {
            let members = prop::collection::vec(inner, 2..4);
            prop_oneof![
                members
                    .clone()
                    .prop_map(|members| json!({"andAll": members})),
                members.prop_map(|members| json!({"orAll": members})),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_that_passes_is_left_out(
            filter in filter(),
            metadata in prop::collection::btree_map(
                prop_oneof![Just("team".to_owned()), Just("year".to_owned()), Just("other".to_owned())],
                prop_oneof![Just(json!("a")), Just(json!("b")), Just(json!(1)), Just(json!(true)), Just(json!(["a"]))],
                0..3,
            ),
        ) {
            let metadata: BTreeMap<String, Value> = metadata;
            let parsed = Filter::parse(&filter).unwrap();
            let stored = slots(&keys(), &metadata);
            let found = branches(Some(&parsed), &keys()).iter().any(|branch| {
                branch.iter().zip(&stored).all(|(wanted, stored)| wanted.is_none() || wanted == stored)
            });
            prop_assert!(found || !parsed.passes(&metadata));
        }
    }
}
