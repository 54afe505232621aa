//! The operations of an OpenAPI 3.0 document, JSON or YAML.
use serde_json::{Map, Value, json};

use super::super::wire::WireError;
use super::schema::{Operation, OperationKind, Parameter};

/// Most operations of an action group. Source: Amazon Bedrock user guide, action groups.
const MAX_OPERATIONS: usize = 11;
/// How deep references may lead.
const MAX_DEPTH: usize = 16;
const METHODS: [&str; 7] = ["get", "put", "post", "delete", "options", "head", "patch"];

fn invalid(what: &str) -> WireError {
    WireError::validation(format!("The apiSchema cannot be used: {what}."))
}

/// The operations of an OpenAPI document.
pub(super) fn read(text: &str) -> Result<Vec<Operation>, WireError> {
    let document: Value = serde_json::from_str(text)
        .or_else(|_| serde_saphyr::from_str(text))
        .map_err(|error| invalid(&format!("it is neither JSON nor YAML ({error})")))?;
    let version = document["openapi"].as_str().unwrap_or_default();
    if !version.starts_with("3.0") {
        return Err(invalid(&format!(
            "openapi is \"{version}\"; the version must be 3.0.x"
        )));
    }
    let paths = document["paths"].as_object();
    let mut operations = Vec::new();
    for (path, item) in paths.into_iter().flatten() {
        for (verb, operation) in item.as_object().into_iter().flatten() {
            if METHODS.contains(&verb.as_str()) {
                let reader = Reader {
                    document: &document,
                };
                operations.push(reader.operation(path, verb, item, operation)?);
            }
        }
    }
    match operations.len() {
        0 => Err(invalid("it has no operation")),
        1..=MAX_OPERATIONS => Ok(operations),
        more => Err(invalid(&format!(
            "it has {more} operations; an action group has at most {MAX_OPERATIONS}"
        ))),
    }
}

struct Reader<'a> {
    document: &'a Value,
}

impl Reader<'_> {
    fn operation(
        &self,
        path: &str,
        verb: &str,
        item: &Value,
        operation: &Value,
    ) -> Result<Operation, WireError> {
        let place = format!("{} {path}", verb.to_uppercase());
        let described = operation["description"]
            .as_str()
            .or(operation["summary"].as_str());
        let Some(description) = described.filter(|text| !text.trim().is_empty()) else {
            return Err(invalid(&format!("{place} has no description")));
        };
        let mut parameters = Vec::new();
        let lists = [&item["parameters"], &operation["parameters"]];
        for parameter in lists.into_iter().filter_map(Value::as_array).flatten() {
            parameters.push(self.parameter(parameter, &place)?);
        }
        let content_type = self.body(&operation["requestBody"], &mut parameters, &place)?;
        Ok(Operation {
            kind: OperationKind::Api {
                path: path.to_owned(),
                verb: verb.to_uppercase(),
                content_type,
            },
            name: operation["operationId"].as_str().unwrap_or(path).to_owned(),
            description: description.to_owned(),
            parameters,
            confirm: operation["x-requireConfirmation"] == "ENABLED",
        })
    }

    fn parameter(&self, parameter: &Value, place: &str) -> Result<Parameter, WireError> {
        let parameter = self.resolved(parameter, 0)?;
        let Some(name) = parameter["name"].as_str() else {
            return Err(invalid(&format!("a parameter of {place} has no name")));
        };
        let mut schema = self.resolved(&parameter["schema"], 0)?;
        if let (Some(members), Some(text)) =
            (schema.as_object_mut(), parameter["description"].as_str())
        {
            members.entry("description").or_insert_with(|| json!(text));
        }
        Ok(Parameter {
            name: name.to_owned(),
            r#type: type_of(&schema),
            required: parameter["required"] == true || parameter["in"] == "path",
            in_body: false,
            schema,
        })
    }

    /// Adds the properties of a request body; its content type, if there is a body.
    fn body(
        &self,
        body: &Value,
        parameters: &mut Vec<Parameter>,
        place: &str,
    ) -> Result<Option<String>, WireError> {
        if body.is_null() {
            return Ok(None);
        }
        let body = self.resolved(body, 0)?;
        let content = body["content"].as_object();
        let Some((content_type, media)) = content.and_then(|content| content.iter().next()) else {
            return Err(invalid(&format!(
                "the requestBody of {place} has no content"
            )));
        };
        let schema = self.resolved(&media["schema"], 0)?;
        let required: Vec<&str> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            parameters.push(Parameter {
                name: name.clone(),
                r#type: type_of(property),
                required: required.contains(&name.as_str()),
                in_body: true,
                schema: property.clone(),
            });
        }
        Ok(Some(content_type.clone()))
    }

    /// The value with every `$ref` replaced by what it names.
    fn resolved(&self, value: &Value, depth: usize) -> Result<Value, WireError> {
        if depth > MAX_DEPTH {
            return Err(invalid("its references lead too deep, or in a circle"));
        }
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let pointer = reference.strip_prefix('#').unwrap_or("/");
            let target = self.document.pointer(pointer);
            let target = target.ok_or_else(|| invalid(&format!("there is no {reference}")))?;
            return self.resolved(target, depth + 1);
        }
        Ok(match value {
            Value::Object(members) => {
                let mut resolved = Map::new();
                for (name, member) in members {
                    resolved.insert(name.clone(), self.resolved(member, depth + 1)?);
                }
                Value::Object(resolved)
            }
            Value::Array(items) => {
                let items = items.iter().map(|item| self.resolved(item, depth + 1));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            plain => plain.clone(),
        })
    }
}

fn type_of(schema: &Value) -> String {
    schema["type"].as_str().unwrap_or("string").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERS: &str = r##"
openapi: 3.0.1
info: {title: Orders, version: "1"}
paths:
  /orders/{order_id}:
    get:
      operationId: get_order_status
      description: Status of an order
      parameters:
        - {name: order_id, in: path, required: true, schema: {type: string}, description: Number of the order}
  /tickets:
    post:
      description: Opens a ticket
      x-requireConfirmation: ENABLED
      requestBody:
        content:
          application/json:
            schema: {$ref: "#/components/schemas/Ticket"}
components:
  schemas:
    Ticket:
      type: object
      required: [subject]
      properties:
        subject: {type: string}
        urgent: {type: boolean}
"##;

    #[test]
    fn operations_are_read_with_their_parameters() {
        let operations = read(ORDERS).expect("a schema");
        assert_eq!(operations[0].name, "get_order_status");
        assert_eq!(
            operations[0].input_schema(),
            json!({"type": "object", "properties": {"order_id": {"type": "string", "description": "Number of the order"}}, "required": ["order_id"]})
        );
        let ticket = &operations[1];
        assert!(ticket.confirm && ticket.parameters[1].in_body);
        assert_eq!(ticket.parameters[1].r#type, "boolean");
        let expected = OperationKind::Api {
            path: "/tickets".into(),
            verb: "POST".into(),
            content_type: Some("application/json".into()),
        };
        assert_eq!(ticket.kind, expected);
    }

    #[test]
    fn what_cannot_be_called_is_refused() {
        let check = |text: &str, words: &str| {
            let error = read(text).expect_err(text);
            assert!(error.message.contains(words), "{text}: {error}");
        };
        let with = |operation: &str| {
            format!(r#"{{"openapi": "3.0.0", "paths": {{"/a": {{"get": {operation}}}}}}}"#)
        };
        check("{", "neither JSON nor YAML");
        check(r#"{"openapi": "2.0"}"#, "3.0.x");
        check(r#"{"openapi": "3.0.0", "paths": {}}"#, "no operation");
        check(&with("{}"), "GET /a has no description");
        check(
            &with(r##"{"description": "a", "parameters": [{"$ref": "#/nowhere"}]}"##),
            "there is no #/nowhere",
        );
        check(
            &with(
                r##"{"description": "a", "parameters": [{"$ref": "#/paths/~1a/get/parameters/0"}]}"##,
            ),
            "in a circle",
        );
        let many: Vec<String> = (0..12)
            .map(|n| format!(r#""/{n}": {{"get": {{"description": "a"}}}}"#))
            .collect();
        check(
            &format!(r#"{{"openapi": "3.0.0", "paths": {{{}}}}}"#, many.join(",")),
            "at most 11",
        );
    }
}
