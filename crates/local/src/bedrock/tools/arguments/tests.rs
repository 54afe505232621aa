use super::*;

#[track_caller]
fn check(properties: Value, required: &[&str], text: &str, expected: Result<Value, &str>) {
    let schema = json!({"type": "object", "properties": properties, "required": required});
    assert_eq!(
        fill(&schema, text, text),
        expected.map_err(str::to_owned),
        "{text}"
    );
}

#[test]
fn identifiers_are_found_by_form_and_noun() {
    let order = json!({"order_id": {"type": "string", "description": "Number of the order."}});
    let found = |id: &str| Ok(json!({ "order_id": id }));
    check(
        order.clone(),
        &["order_id"],
        "Where is order ORD-1001?",
        found("ORD-1001"),
    );
    check(
        order.clone(),
        &["order_id"],
        "Where is my order #20077?",
        found("20077"),
    );
    check(
        order.clone(),
        &["order_id"],
        "Where is it? T-9, or order 4711?",
        found("4711"),
    );
    check(
        order.clone(),
        &["order_id"],
        "Where is my order?",
        Err("the order id (Number of the order)"),
    );
    check(
        order.clone(),
        &["order_id"],
        "It has 2 lamps",
        Err("the order id (Number of the order)"),
    );
    check(order, &[], "See ticket T-12", Ok(json!({})));
    let both = json!({"ticketId": {"type": "string"}, "orderId": {"type": "string"}});
    check(
        both,
        &["ticketId", "orderId"],
        "Add order ORD-7 to ticket T-12",
        Ok(json!({"ticketId": "T-12", "orderId": "ORD-7"})),
    );
    let pattern = json!({"id": {"type": "string", "pattern": "^[A-Z]{3}$"}});
    check(
        pattern,
        &["id"],
        "the code is XYZ.",
        Ok(json!({"id": "XYZ"})),
    );
}

#[test]
fn other_kinds_are_found_where_they_are_named() {
    let properties = json!({
        "priority": {"enum": ["low", "high"]}, "limit": {"type": "integer"}, "urgent": {"type": "boolean"},
        "email": {"type": "string"}, "due_date": {"type": "string"}, "title": {"type": "string"},
    });
    check(
        properties.clone(),
        &["priority", "limit", "title"],
        "Open a not urgent one with high priority and a limit of 5, titled \"Broken lamp\", for ada@example.com by 2026-12-01",
        Ok(
            json!({"priority": "high", "limit": 5, "urgent": false, "email": "ada@example.com",
            "due_date": "2026-12-01", "title": "Broken lamp"}),
        ),
    );
    check(properties, &["priority"], "Open one", Err("the priority"));
    check(
        json!({"query": {"type": "string"}}),
        &["query"],
        " How? ",
        Ok(json!({"query": "How?"})),
    );
    check(
        json!({"query": {"type": "string"}, "note": {"type": "string"}}),
        &["query"],
        "a",
        Ok(json!({"query": "a"})),
    );
    check(
        json!({"tags": {"type": "array", "items": {"type": "string"}}}),
        &["tags"],
        "a b",
        Ok(json!({"tags": ["a b"]})),
    );
    check(
        json!({"top": {"type": "integer", "default": 3}}),
        &["top"],
        "a b",
        Ok(json!({"top": 3})),
    );
}

#[test]
fn a_demanded_call_is_filled_whatever_is_said() {
    let schema = json!({"properties": {"kind": {"enum": ["a", "b"]}, "id": {"type": "string"}, "n": {"type": "number"}},
        "required": ["kind", "id", "n"]});
    assert_eq!(
        guess(&schema, "well"),
        json!({"kind": "a", "id": "well", "n": 0})
    );
}
