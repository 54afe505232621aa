//! `outcrop space`: shows a space, or sets its retriever and its roles.

use serde_json::{Map, Value, json};

use crate::arguments::SpaceArguments;
use crate::client::Failure;
use crate::commands::{Session, encoded, text};
use crate::output::{self, DONE};

/// What gives a role its default back.
const DEFAULT: &str = "default";
/// What takes a part of a budget away.
const NONE: &str = "none";
/// What takes a role from everyone.
const NOBODY: &str = "nobody";

pub async fn run(arguments: SpaceArguments) -> Result<u8, Failure> {
    let rechunks = arguments.chunking.is_some();
    let change = change(&arguments);
    let session = Session::open(&arguments.connection).await?;
    let path = format!("/v1/spaces/{}", encoded(&arguments.connection.space));
    let found = match change {
        None => session.api.get(&path).await,
        Some(change) => session.api.change(&path, &change).await,
    };
    session.close().await;
    let found = found?;
    if arguments.connection.json {
        output::json(&found);
    } else {
        show(&found);
    }
    if rechunks {
        output::note("documents that were cut otherwise are cut anew by the next `outcrop sync`");
    }
    Ok(DONE)
}

/// The body of the change; `None` when nothing is to change.
fn change(arguments: &SpaceArguments) -> Option<Value> {
    let mut change = Map::new();
    if let Some(retriever) = arguments.retriever.as_deref() {
        let own = (retriever != DEFAULT).then_some(retriever);
        change.insert("retriever".into(), json!(own));
    }
    if let Some(model) = arguments.model.as_deref() {
        let own = (model != DEFAULT).then_some(model);
        change.insert("model".into(), json!(own));
    }
    if let Some(reranker) = arguments.rerank_model.as_deref() {
        let own = (reranker != DEFAULT).then_some(reranker);
        change.insert("rerank_model".into(), json!(own));
    }
    if let Some(strict) = arguments.strict.as_deref() {
        change.insert("strict".into(), json!(strict == "on"));
    }
    if let Some(chunking) = &arguments.chunking {
        change.insert("chunking".into(), json!(chunking));
    }
    if let Some(setting) = &arguments.batch_embedding {
        change.insert("batch_embedding".into(), json!(setting));
    }
    let roles: Map<String, Value> = [
        ("reader", &arguments.reader),
        ("editor", &arguments.editor),
        ("admin", &arguments.admin),
    ]
    .into_iter()
    .filter_map(|(role, list)| Some((role.to_owned(), principals(list.as_deref()?))))
    .collect();
    if !roles.is_empty() {
        change.insert("roles".into(), Value::Object(roles));
    }
    let limits: Map<String, Value> = [
        ("caller_per_minute", &arguments.caller_per_minute),
        ("space_per_minute", &arguments.space_per_minute),
    ]
    .into_iter()
    .filter_map(|(limit, given)| Some((limit.to_owned(), json!(given.as_ref()?.0))))
    .collect();
    if !limits.is_empty() {
        change.insert("limits".into(), Value::Object(limits));
    }
    let budget = budget(arguments);
    if !budget.is_empty() {
        change.insert("budget".into(), Value::Object(budget));
    }
    (!change.is_empty()).then_some(Value::Object(change))
}

fn budget(arguments: &SpaceArguments) -> Map<String, Value> {
    let amounts = [
        ("day_usd", arguments.day_budget),
        ("month_usd", arguments.month_budget),
    ];
    let counts = [
        ("soft_percent", arguments.soft_percent),
        ("soft_passages", arguments.soft_passages),
    ];
    let amounts = amounts
        .into_iter()
        .filter_map(|(name, given)| Some((name, json!(given?.0))));
    let counts = counts
        .into_iter()
        .filter_map(|(name, given)| Some((name, json!(given?.0.map(|count| count as u64)))));
    let model = arguments.soft_model.as_deref();
    let model = model.map(|model| ("soft_model", json!((model != NONE).then_some(model))));
    amounts
        .chain(counts)
        .chain(model)
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn principals(list: &[String]) -> Value {
    match list {
        [one] if one == DEFAULT => Value::Null,
        [one] if one == NOBODY => json!([]),
        list => json!(list),
    }
}

fn show(found: &Value) {
    let inherited = if found["inherited"] == true {
        " (the default)"
    } else {
        ""
    };
    let strict = match found["strict"] == true {
        true => "; strict: answers with unsupported sentences are refused",
        false => "",
    };
    let model = match found["model"].as_str() {
        Some(model) => format!("; answers by {model}"),
        None => String::new(),
    };
    let reranked = match found["rerank_model"].as_str() {
        Some(model) => format!("; reranked by {model}"),
        None => String::new(),
    };
    let by_jobs = match text(found, "batch_embedding") {
        "off" => String::new(),
        setting => format!("; batch embedding {setting}"),
    };
    output::line(&format!(
        "{}: retriever {}{inherited}; chunking {}{by_jobs}{model}{reranked}{strict}; you are {}",
        text(found, "space"),
        text(found, "retriever"),
        text(found, "chunking"),
        text(found, "role"),
    ));
    for role in ["reader", "editor", "admin"] {
        let Some(names) = found["roles"][role].as_array() else {
            continue;
        };
        let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
        let names = match names.as_slice() {
            [] => NOBODY.to_owned(),
            names => names.join(", "),
        };
        output::line(&format!("  {role:<7}{names}"));
    }
    for (words, limit) in [
        ("caller", "caller_per_minute"),
        ("space", "space_per_minute"),
    ] {
        if let Some(number) = found["limits"][limit].as_u64().filter(|number| *number > 0) {
            output::line(&format!("  {number} requests of a {words} in a minute"));
        }
    }
    for (words, amount) in [("day", "day_usd"), ("month", "month_usd")] {
        if let Some(usd) = found["budget"][amount].as_f64() {
            output::line(&format!("  {usd} USD in a {words}"));
        }
    }
    if let Some(percent) = found["budget"]["soft_percent"].as_u64() {
        let budget = &found["budget"];
        let model = budget["soft_model"].as_str();
        let model = model.map_or_else(String::new, |model| format!(" by {model}"));
        let passages = budget["soft_passages"].as_u64();
        let passages = passages.map_or_else(String::new, |many| format!(" from {many} passages"));
        output::line(&format!("  from {percent} % on answered{model}{passages}"));
    }
    if found["ready"] == false {
        output::note(
            "it does not hold all documents yet; until it does, the embedded index answers",
        );
    }
    if let Some(run_id) = found["run_id"].as_str() {
        output::note(&format!(
            "the run {run_id} fills it; see `outcrop runs {run_id}`"
        ));
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Cli, Command};

    #[test]
    fn flags_change_what_they_name() {
        let check = |line: &str, expected: Option<Value>| {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            let Some(Command::Space(arguments)) = cli.command else {
                panic!("{line}")
            };
            assert_eq!(change(&arguments), expected, "{line}");
        };
        check("outcrop space", None);
        check(
            "outcrop space --retriever default",
            Some(json!({"retriever": null})),
        );
        check("outcrop space --strict on", Some(json!({"strict": true})));
        check("outcrop space --model m", Some(json!({"model": "m"})));
        check(
            "outcrop space --model default",
            Some(json!({"model": null})),
        );
        check(
            "outcrop space --rerank-model off",
            Some(json!({"rerank_model": "off"})),
        );
        check(
            "outcrop space --rerank-model default --strict off",
            Some(json!({"rerank_model": null, "strict": false})),
        );
        check(
            "outcrop space --chunking hierarchical:800,200",
            Some(json!({"chunking": "hierarchical:800,200"})),
        );
        check(
            "outcrop space --batch-embedding auto:5000,12",
            Some(json!({"batch_embedding": "auto:5000,12"})),
        );
        check(
            "outcrop space --editor group:writers,user:ada --reader default",
            Some(json!({"roles": {"reader": null, "editor": ["group:writers", "user:ada"]}})),
        );
        check(
            "outcrop space --retriever dynamodb --admin nobody",
            Some(json!({"retriever": "dynamodb", "roles": {"admin": []}})),
        );
        check(
            "outcrop space --caller-per-minute 50 --space-per-minute default",
            Some(json!({"limits": {"caller_per_minute": 50, "space_per_minute": null}})),
        );
        check(
            "outcrop space --day-budget 0.5 --month-budget none --soft-percent 80 --soft-model a.b",
            Some(json!({"budget": {
                "day_usd": 0.5, "month_usd": null, "soft_percent": 80, "soft_model": "a.b",
            }})),
        );
    }
}
