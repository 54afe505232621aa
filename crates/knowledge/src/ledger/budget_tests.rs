use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn settings() -> Settings {
    models::tests::settings(&[
        ("OUTCROP_ANSWER_MODEL", "m.large"),
        ("OUTCROP_ALLOWED_MODELS", "m.small"),
    ])
}

fn set(change: Value) -> Result<Budget, KnowledgeError> {
    let change = serde_json::from_value(change).unwrap();
    Budget::default().changed(change, &settings())
}

fn day() -> Day {
    "2026-11-30".parse().unwrap()
}

#[test]
fn a_budget_is_set_or_told_what_is_wrong_with_it() {
    let check = |change: Value, expected: Result<Value, &str>| match (set(change), expected) {
        (Ok(budget), Ok(view)) => assert_eq!(json!(budget.view()), view),
        (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
        (found, expected) => panic!("{found:?} where {expected:?} was expected"),
    };
    check(json!({}), Ok(json!({})));
    check(
        json!({"day_usd": 0.1, "month_usd": 5}),
        Ok(json!({"day_usd": 0.1, "month_usd": 5.0})),
    );
    check(
        json!({"day_usd": 1, "soft_percent": 80, "soft_model": "m.small", "soft_passages": 4}),
        Ok(
            json!({"day_usd": 1.0, "soft_percent": 80, "soft_model": "m.small", "soft_passages": 4}),
        ),
    );
    check(json!({"day_usd": -1}), Err("day_usd is -1"));
    check(json!({"month_usd": 1e7}), Err("from 0 to 1000000"));
    check(
        json!({"soft_percent": 100, "soft_passages": 1}),
        Err("1 to 99"),
    );
    check(json!({"soft_percent": 80}), Err("say what"));
    check(json!({"soft_passages": 0}), Err("1 to 30"));
    check(json!({"soft_model": "m.huge"}), Err("not offered"));
}

#[test]
fn a_change_changes_what_it_names() {
    let before = set(json!({"day_usd": 1, "month_usd": 5})).unwrap();
    let change = serde_json::from_value(json!({"day_usd": null})).unwrap();
    let after = before.changed(change, &settings()).unwrap();
    assert_eq!(json!(after.view()), json!({"month_usd": 5.0}));
    assert!(after.is_set() && !Budget::default().is_set());
    let unknown: Result<BudgetChange, _> = serde_json::from_value(json!({"week_usd": 1}));
    assert!(unknown.is_err());
}

fn numbers(rows: &[(&str, i64)]) -> Numbers {
    rows.iter()
        .map(|(name, number)| ((*name).to_owned(), *number))
        .collect()
}

#[test]
fn spans_stand_as_the_row_says() {
    let budget = set(json!({"day_usd": 1, "month_usd": 5})).unwrap();
    let row = numbers(&[
        ("month", 3_000_000_000),
        ("day_29", 2_000_000_000),
        ("day_30", 900_000_000),
        ("held_30_29800000", 200_000_000),
        ("held_30_29800100_01k9", 100_000_000),
        ("held_29_29800000", 50_000_000),
        ("expires_at", 9),
    ]);
    let found = standings(&budget, &row, day());
    let of_day = found[0];
    assert_eq!(
        (of_day.span, of_day.taken, of_day.held),
        (Span::Day, 900_000_000, 300_000_000)
    );
    assert_eq!((of_day.spent(), of_day.percent()), (600_000_000, 90));
    assert_eq!(
        aws::clock::rfc3339(of_day.resets_ms),
        "2026-12-01T00:00:00.000Z"
    );
    let of_month = found[1];
    assert_eq!(
        (of_month.taken, of_month.held),
        (3_000_000_000, 350_000_000)
    );
    assert_eq!(standings(&Budget::default(), &row, day()), []);
}

#[test]
fn what_is_held_beyond_its_time_is_not_told() {
    let row = [
        ("month", 1_000),
        ("day_29", 300),
        ("day_30", 700),
        ("held_29_100_01k9", 30),
        ("held_30_100", 5),
        ("held_30_101", 7),
    ];
    let check = |minute: u64, left: &[(&str, i64)]| {
        let mut found = numbers(&row);
        names::forget_expired(&mut found, minute);
        assert_eq!(found, numbers(left), "{minute}");
    };
    check(100, &row);
    let later = [
        ("month", 965),
        ("day_29", 270),
        ("day_30", 695),
        ("held_30_101", 7),
    ];
    check(101, &later);
    check(102, &[("month", 958), ("day_29", 270), ("day_30", 688)]);
}

#[test]
fn a_refusal_says_why_and_until_when() {
    let standing = Standing {
        span: Span::Day,
        limit: 1_000_000_000,
        taken: 995_000_000,
        held: 300_000_000,
        resets_ms: 90_000,
    };
    let check = |standing: Standing, needed: u64, wait: u64, words: &[&str]| {
        let error = standing.refusal(needed, 30_000);
        let KnowledgeError::BudgetSpent { seconds, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!((error.status(), *seconds), (429, wait), "{error}");
        for word in words {
            assert!(error.to_string().contains(word), "{word}: {error}");
        }
    };
    // What others hold may come back at once.
    let words = [
        "this day",
        "1 USD",
        "0.695 USD are spent",
        "0.3 USD are held",
        "0.0165 USD",
    ];
    check(standing, 16_500_000, SOON, &words);
    let spent = Standing {
        held: 0,
        ..standing
    };
    check(spent, 16_500_000, 60, &["1970-01-01T00:01:30.000Z"]);
}

#[test]
fn the_soft_limit_steps_down_to_what_is_offered() {
    let budget = |soft: Value| {
        let mut change = json!({"day_usd": 1, "soft_percent": 80});
        change
            .as_object_mut()
            .unwrap()
            .extend(soft.as_object().unwrap().clone());
        set(change).unwrap()
    };
    let check = |budget: &Budget, taken: i64, expected: Option<(&str, usize)>| {
        let found = standings(budget, &numbers(&[("day_30", taken)]), day());
        let down = stepped_down(budget, &found, &settings(), ("m.large", 8));
        let told = down
            .as_ref()
            .map(|down| (down.model.as_str(), down.passages));
        assert_eq!(told, expected);
    };
    let both = budget(json!({"soft_model": "m.small", "soft_passages": 3}));
    check(&both, 800_000_000, None);
    check(&both, 810_000_000, Some(("m.small", 3)));
    check(
        &budget(json!({"soft_model": "m.small"})),
        990_000_000,
        Some(("m.small", 8)),
    );
    check(
        &budget(json!({"soft_passages": 20})),
        990_000_000,
        Some(("m.large", 8)),
    );
    let gone = Budget {
        soft_model: Some("m.gone".into()),
        ..both
    };
    check(&gone, 990_000_000, Some(("m.large", 3)));
}

#[test]
fn amounts_are_told_without_needless_digits() {
    let check = |nano: u64, text: &str| assert_eq!(in_usd(nano), text);
    check(0, "0 USD");
    check(16_500_000, "0.0165 USD");
    check(1, "0.000000001 USD");
    check(100_000_000_000, "100 USD");
}

proptest! {
    #[test]
    fn names_of_what_is_held_come_back(days in 0u64..2_000_000, until in any::<u32>(), whom in proptest::option::of("[a-z0-9]{1,26}")) {
        let day = Day::of(0).plus(days);
        let name = names::held(day, until.into(), whom.as_deref());
        prop_assert_eq!(names::parse_held(&name), Some((day.of_month(), until.into())));
        prop_assert_eq!(names::parse_held(&names::day(day)), None);
        prop_assert_eq!(names::parse_held(names::MONTH), None);
    }
}
