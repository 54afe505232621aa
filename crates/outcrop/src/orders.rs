//! `outcrop orders import`: a shop's orders from a file into an instance.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::arguments::{ImportArguments, OrdersArguments, OrdersCommand};
use crate::client::{Api, Failure};
use crate::commands::Session;
use crate::output::{self, DONE};

/// Orders of one request; the API's own bound.
const REQUEST_ORDERS: usize = 500;

pub async fn run(arguments: OrdersArguments) -> Result<u8, Failure> {
    let OrdersCommand::Import(arguments) = arguments.command;
    let orders = read(&arguments.file, &arguments.readers)?;
    let session = Session::open(&arguments.connection).await?;
    let imported = import(&session.api, &arguments, &orders).await;
    session.close().await;
    imported
}

async fn import(api: &Api, arguments: &ImportArguments, orders: &[Value]) -> Result<u8, Failure> {
    let mut stored = 0;
    for chunk in orders.chunks(REQUEST_ORDERS) {
        let body = json!({ "space": api.space, "orders": chunk });
        let reply = api.post("/v1/orders", &body).await?;
        stored += reply["stored"].as_u64().unwrap_or_default();
    }
    if arguments.connection.json {
        output::json(&json!({ "stored": stored }));
    } else {
        output::line(&format!("{stored} orders stored"));
    }
    Ok(DONE)
}

/// The orders of a file, in the form of the API.
fn read(file: &Path, readers: &[String]) -> Result<Vec<Value>, Failure> {
    let told = |words: String| Failure(format!("{}: {words}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| told(error.to_string()))?;
    let is_csv = file
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
    let orders = if is_csv {
        from_csv(&text)
    } else {
        from_json_lines(&text)
    };
    let mut orders = orders.map_err(told)?;
    for order in orders.iter_mut().filter(|_| !readers.is_empty()) {
        let own = order["readers"].as_array().cloned().unwrap_or_default();
        let all = own
            .into_iter()
            .chain(readers.iter().map(|reader| json!(reader)));
        order["readers"] = all.collect();
    }
    Ok(orders)
}

fn from_json_lines(text: &str) -> Result<Vec<Value>, String> {
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| {
            let order: Value = serde_json::from_str(line)
                .map_err(|error| format!("line {}: {error}", number + 1))?;
            let is_order = order.is_object();
            is_order
                .then_some(order)
                .ok_or_else(|| format!("line {} is no JSON object", number + 1))
        })
        .collect()
}

fn from_csv(text: &str) -> Result<Vec<Value>, String> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| error.to_string())?.clone();
    reader
        .records()
        .map(|record| {
            let record = record.map_err(|error| error.to_string())?;
            let fields = header.iter().zip(&record);
            let fields = fields.map(|(name, value)| (name.trim(), value.trim()));
            let order: Map<String, Value> = fields
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| (name.to_owned(), cell(name, value)))
                .collect();
            Ok(Value::Object(order))
        })
        .collect()
}

fn cell(column: &str, value: &str) -> Value {
    let parts = value
        .split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    match column {
        "readers" => parts.map(|reader| json!(reader)).collect(),
        "items" => parts.map(item).collect(),
        _ => json!(value),
    }
}

/// `Lamp x 2`: two lamps. Without a number it is one.
fn item(text: &str) -> Value {
    let counted = text
        .rsplit_once(" x ")
        .and_then(|(name, count)| Some((name.trim(), count.trim().parse::<u32>().ok()?)));
    match counted {
        Some((name, quantity)) => json!({ "name": name, "quantity": quantity }),
        None => json!({ "name": text }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_from_both_formats() {
        let folder = tempfile::tempdir().unwrap();
        let check = |name: &str, text: &str, expected: Result<Value, &str>| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).unwrap();
            match (read(&file, &["group:support".to_owned()]), expected) {
                (Ok(orders), Ok(expected)) => assert_eq!(json!(orders), expected),
                (Err(Failure(words)), Err(part)) => assert!(words.contains(part), "{words}"),
                (found, _) => panic!("{name}: {found:?}"),
            }
        };
        check(
            "a.csv",
            "number,status,customer,readers,items\nA-1,shipped,ada,user:bob;everyone,Lamp x 2; Bulb\nA-2,packed,,,\n",
            Ok(json!([
                {
                    "number": "A-1", "status": "shipped", "customer": "ada",
                    "readers": ["user:bob", "everyone", "group:support"],
                    "items": [{"name": "Lamp", "quantity": 2}, {"name": "Bulb"}],
                },
                {"number": "A-2", "status": "packed", "readers": ["group:support"]},
            ])),
        );
        check(
            "a.jsonl",
            "{\"number\": \"A-1\", \"status\": \"shipped\"}\n\n",
            Ok(json!([{"number": "A-1", "status": "shipped", "readers": ["group:support"]}])),
        );
        check("b.jsonl", "{}\n{", Err("line 2"));
        check("c.jsonl", "[]", Err("line 1 is no JSON object"));
        check("d.csv", "number,status\nA-1\n", Err("d.csv"));
        assert!(read(&folder.path().join("missing.csv"), &[]).is_err());
    }
}
