use serde_json::json;

use super::*;

const REAL: &str = include_str!("../../../../template.yaml");
const MACHINE: &str = include_str!("../../../../infra/ingest.asl.json");

const GUARDRAIL_FILE: &str = include_str!("../../../../infra/guardrail.json");

fn file(path: &str) -> Option<String> {
    match path {
        "infra/ingest.asl.json" => Some(MACHINE.to_owned()),
        "infra/guardrail.json" => Some(GUARDRAIL_FILE.to_owned()),
        _ => None,
    }
}

#[test]
fn the_deployed_template_is_read() {
    let overrides = [("EmbedDimensions".to_owned(), "256".to_owned())].into();
    let template = read(REAL, &overrides, file).unwrap();
    let names: Vec<_> = template
        .functions
        .iter()
        .map(|function| (function.name.as_str(), function.binary.as_str()))
        .collect();
    assert!(names.contains(&("outcrop-query", "query")), "{names:?}");
    assert!(names.contains(&("outcrop-ingest", "ingest")), "{names:?}");
    let environment = &template.functions[0].environment;
    assert_eq!(environment["OUTCROP_TABLE"], "outcrop-table");
    assert_eq!(environment["OUTCROP_EMBED_DIMENSIONS"], "256");
    assert_eq!(
        environment["OUTCROP_STATE_MACHINE_ARN"],
        "arn:aws:states:us-east-1:000000000000:stateMachine:outcrop-ingest"
    );
    assert_eq!(template.buckets, ["outcrop-bucket"]);
    let (name, definition) = &template.state_machines[0];
    assert_eq!(name, "outcrop-ingest");
    assert!(definition.contains("arn:aws:lambda:us-east-1:000000000000:function:outcrop-ingest"));
    assert_eq!(
        template.times_to_live,
        [("outcrop-table".to_owned(), "expires_at".to_owned())]
    );
    let skipped = template.skipped.iter();
    let others: Vec<&str> = skipped
        .filter(|(_, kind)| kind != "AWS::Lambda::Permission")
        .map(|(id, _)| id.as_str())
        .collect();
    let expected = [
        // What Bedrock takes.
        "BatchRole",
        "BucketPolicy",
        // What may send to the queue.
        "EntryQueuePolicy",
        "NoNetworkInterfaces",
        // What watches.
        "QueryLogs",
        "IngestLogs",
        "AgentActionLogs",
        "GuardrailCheckLogs",
        "Alarms",
        "FunctionErrors",
        "FunctionThrottles",
        "RunsFailed",
        "EntriesLeft",
        "InputTokens",
        "OutputTokens",
        "SnapshotsRejected",
        "BudgetLow",
        "Dashboard",
    ];
    assert_eq!(others, expected);
}

#[test]
fn what_starts_functions_by_itself_is_read() {
    let read = |overrides: &[(&str, &str)]| {
        let overrides = overrides.iter();
        let overrides = overrides.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        read(REAL, &overrides.collect(), file).unwrap()
    };
    let template = read(&[("SyncGatherSeconds", "5"), ("SyncSpaces", "default,team")]);
    assert_eq!(template.told_buckets, ["outcrop-bucket"]);
    let queue = |name: &str, retention_seconds, redrive| QueueResource {
        name: name.to_owned(),
        retention_seconds,
        redrive,
    };
    let redrive = Redrive {
        max_receives: 5,
        queue: "outcrop-entrydeadletters".to_owned(),
    };
    let expected = [
        queue("outcrop-entryqueue", 4 * 86_400, Some(redrive)),
        queue("outcrop-entrydeadletters", 14 * 86_400, None),
    ];
    assert_eq!(template.queues, expected);
    let mapping = MappingResource {
        function: "outcrop-ingest".to_owned(),
        queue: "outcrop-entryqueue".to_owned(),
        batch_size: 10_000,
        window_seconds: 5,
        reports_failures: true,
    };
    assert_eq!(template.mappings, [mapping]);
    let rule = |name: &str, when, input: Option<&str>| RuleResource {
        name: name.to_owned(),
        when,
        targets: vec![Target {
            queue: "outcrop-entryqueue".to_owned(),
            input: input.map(str::to_owned),
        }],
    };
    let pattern = json!({
        "source": ["aws.s3"],
        "detail-type": ["Object Created", "Object Deleted"],
        "detail": {"bucket": {"name": ["outcrop-bucket"]}, "object": {"key": [{"prefix": "sources/"}]}},
    });
    let changed = rule("outcrop-sourcechanged", When::Event(pattern), None);
    let time = rule(
        "outcrop-synctime",
        When::Schedule("rate(1 day)".to_owned()),
        Some(r#"{"schedule": {"spaces": "default,team"}}"#),
    );
    assert_eq!(template.rules, [changed.clone(), time]);
    let without = read(&[("SyncScheduleState", "DISABLED")]).rules;
    assert_eq!(without, [changed]);
}

#[test]
fn the_vector_index_is_there_when_a_parameter_says_so() {
    let table = |index: &str| {
        let overrides = [
            ("EmbedDimensions".to_owned(), "256".to_owned()),
            ("VectorIndex".to_owned(), index.to_owned()),
        ];
        read(REAL, &overrides.into(), file).unwrap().tables[0].clone()
    };
    let without = table("false");
    assert!(without["VectorIndexes"].is_null());
    assert_eq!(without["AttributeDefinitions"].as_array().unwrap().len(), 4);
    let with = table("true");
    assert_eq!(with["VectorIndexes"][0]["Dimensions"], 256);
    assert_eq!(with["AttributeDefinitions"].as_array().unwrap().len(), 10);
}

#[test]
fn what_cannot_be_resolved_is_named() {
    let check = |text: &str, name: &str, part: &str| {
        let error = read(text, &BTreeMap::new(), file).unwrap_err();
        assert_eq!(error.name(), name);
        assert!(error.to_string().contains(part), "{error}");
    };
    check("Resources: [", "TemplateNotYaml", "");
    check("Parameters: {}", "TemplateMissing", "Resources");
    let function = |value: &str| {
        format!(
            "Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Metadata: {{ BuildProperties: {{ Binary: b }} }}\n    Properties:\n      Environment:\n        Variables:\n          X: {value}\n"
        )
    };
    check(&function("!Ref Nothing"), "TemplateUnresolved", "Nothing");
    check(
        &function("!GetAtt F.Color"),
        "TemplateUnresolved",
        "F.Color",
    );
    check(
        &function("!Sub \"a-${Nope}\""),
        "TemplateUnresolved",
        "Nope",
    );
    check(
        &function("{ \"Fn::Select\": [0, [a]] }"),
        "TemplateUnresolved",
        "Fn::Select",
    );
    check(
        &function("!ImportValue other"),
        "TemplateUnresolved",
        "ImportValue",
    );
    check(&function("!If [a, b, c]"), "TemplateUnresolved", "If");
    let rule = |rest: &str| {
        format!(
            "Resources:\n  Q: {{ Type: AWS::SQS::Queue }}\n  R:\n    Type: AWS::Events::Rule\n    Properties: {{ {rest} }}\n"
        )
    };
    let target = "Targets: [{ Arn: !GetAtt Q.Arn, InputPath: $.x }]";
    check(
        &rule(&format!("EventPattern: {{ source: [a] }}, {target}")),
        "TemplateUnresolved",
        "InputPath",
    );
    check(
        &rule("EventPattern: { source: [a] }, Targets: [{ Arn: \"arn:aws:sns:x:y:z\" }]"),
        "TemplateUnresolved",
        "no queue",
    );
    check(
        &rule("Targets: [{ Arn: !GetAtt Q.Arn }]"),
        "TemplateMissing",
        "R.EventPattern",
    );
    check(
        &rule("ScheduleExpression: rate(1 day), Targets: [{ Arn: !GetAtt Q.Arn }]"),
        "TemplateMissing",
        "R.Targets.Input",
    );
    check(
        "Resources:\n  F:\n    Type: AWS::S3::Bucket\n    Condition: IsProduction\n",
        "TemplateUnresolved",
        "IsProduction",
    );
    check(
        "Conditions: { A: 1 }\nResources: {}\n",
        "TemplateUnresolved",
        "Conditions",
    );
}

/// CloudFormation makes a new version when the description changes, and at no other time.
#[test]
fn the_guardrails_version_names_its_policys_hash() {
    use sha2::{Digest, Sha256};
    let hash = Sha256::digest(GUARDRAIL_FILE.as_bytes());
    let hash: String = hash
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let description = format!("Description: infra/guardrail.json {hash}");
    assert!(
        REAL.contains(&description),
        "write into template.yaml: {description}"
    );
    let template = read(REAL, &BTreeMap::new(), file).unwrap();
    let (id, properties) = &template.guardrails[0];
    assert_eq!(
        (id.as_str(), &properties["Name"]),
        (GUARDRAIL, &Value::from(STACK))
    );
    let policy: Value = serde_json::from_str(GUARDRAIL_FILE).unwrap();
    for (name, value) in policy.as_object().unwrap() {
        assert_eq!(&properties[name], value, "{name}");
    }
}
