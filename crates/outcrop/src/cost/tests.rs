use super::*;

fn usage() -> Value {
    let row = |day: &str, model: &str, nano: u64| {
        json!({
            "day": day, "model": model, "uses": 2, "input_tokens": 12_345, "output_tokens": 678,
            "cache_read_tokens": 0, "cache_write_tokens": 0, "embedding_tokens": 0, "text_units": 0,
            "rerank_units": 0, "cost_nano_usd": nano, "unpriced_uses": u64::from(model == "x.y"),
        })
    };
    json!({
        "space": "default", "from": "2026-11-29", "to": "2026-11-30", "prices": "list",
        "usage": [
            row("2026-11-29", "a.b", 16_500_000), row("2026-11-29", "x.y", 0), row("2026-11-30", "a.b", 1_000),
            row("2026-11-30", "c.d", 5), row("2026-11-30", "e.f", 6), row("2026-11-30", "g.h", 7), row("2026-11-30", "i.j", 1),
        ],
        "total": row("", "", 16_501_019),
        "budget": [{"span": "day", "limit_usd": 5.0, "spent_usd": 0.5, "held_usd": 0.0, "resets_at": "2026-12-01T00:00:00.000Z"}],
    })
}

#[test]
fn usage_reads_as_a_table() {
    insta::assert_snapshot!(report(&usage()));
}

#[test]
fn numbers_are_grouped() {
    let check = |number: u64, text: &str| assert_eq!(grouped(number), text);
    check(0, "0");
    check(999, "999");
    check(1_000, "1,000");
    check(1_234_567, "1,234,567");
}

#[test]
fn money_is_told_in_cents_and_what_is_finer() {
    let check = |usd: f64, text: &str| assert_eq!(dollars(&json!(usd)), text);
    check(5.0, "5.00");
    check(0.5, "0.50");
    check(0.012345, "0.012345");
    check(0.0123, "0.0123");
    check(1_234.1, "1234.10");
    check(0.0, "0.00");
}

#[test]
fn a_day_without_use_has_its_place() {
    let mut found = usage();
    found["from"] = json!("2026-11-27");
    let bars = Bars::of(&found);
    assert_eq!(
        bars.days,
        ["2026-11-27", "2026-11-28", "2026-11-29", "2026-11-30"]
    );
    assert_eq!(bars.series[0].1, [0.0, 0.0, 0.0165, 0.000001]);
}

#[test]
fn bars_tell_the_dearest_models_apart() {
    let bars = Bars::of(&usage());
    assert_eq!(bars.days, ["2026-11-29", "2026-11-30"]);
    let names: Vec<&str> = bars.series.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a.b", "g.h", "e.f", "c.d", "others"]);
    assert_eq!(bars.series[0].1, [0.0165, 0.000001]);
    assert_eq!(bars.series[4].1, [0.0, 1e-9]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cost.svg");
    plot::write(&path, &bars).unwrap();
    let drawn = std::fs::read_to_string(&path).unwrap();
    assert!(drawn.starts_with("<svg") && drawn.contains("a.b") && drawn.contains("2026-11-29"));
    // Without any usage there is still a plot.
    plot::write(&path, &Bars::default()).unwrap();
}
