//! Holds `infra/openapi.yaml` and the code together: routes, integrations, and the fields of replies.

#![expect(
    clippy::unwrap_used,
    reason = "clippy knows a test's helpers only inside #[cfg(test)]"
)]

use std::collections::{BTreeMap, BTreeSet};

use aws::RetrieverSetting;
use aws::bedrock::IngestionCounters;
use knowledge::answers::{
    CitedPlace, PassageRow, PassageState, ReplayedAnswer, ReplayedCitation, ReplayedPassage,
};
use knowledge::ask::{Answer, AnswerSource, Timings, Usage};
use knowledge::batch_embedding::BatchEmbedding;
use knowledge::cite::Citation;
use knowledge::documents::{Document, DocumentPage, DocumentText, Stages};
use knowledge::grounding::Support;
use knowledge::guard::{Finding, GuardCheckReply, GuardReport, Verdict};
use knowledge::http::Route;
use knowledge::ledger::{
    BudgetStanding, BudgetView, Group, Line, Span, SteppedDown, Task, UsageCounts, UsageGroup,
    UsagePage,
};
use knowledge::limits::Limits;
use knowledge::rerank::{CANDIDATES, Reranking};
use knowledge::roles::{Role, Roles};
use knowledge::runs::{Counts, EstimateView, Failure, KnowledgeBaseView, Phase, Run, RunPage, Way};
use knowledge::search::{SearchReply, SearchResult};
use knowledge::sources::{S3Setting, SourcePage, SourceRun, SourceSetting, SourceView};
use knowledge::spaces::Space;
use knowledge::sync::Estimate;
use knowledge::sync::rows::{DocumentStatus, RunStatus, Screening, ScreeningFinding};
use serde::Serialize;
use serde_json::{Value, json};

fn description() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra/openapi.yaml");
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Every operation as `METHOD path`.
fn operations(api: &Value) -> BTreeMap<String, &Value> {
    let paths = api["paths"].as_object().unwrap();
    let methods = paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().unwrap();
        item.iter().map(move |(method, operation)| {
            (format!("{} {path}", method.to_uppercase()), operation)
        })
    });
    methods.collect()
}

fn names(routes: &[Route]) -> BTreeSet<String> {
    routes
        .iter()
        .map(|route| format!("{} {}", route.method, route.path))
        .collect()
}

#[test]
fn the_routes_are_the_functions_routes() {
    let api = description();
    let described: BTreeSet<String> = operations(&api).into_keys().collect();
    let (query, ingest) = (names(query::ROUTES), names(ingest::ROUTES));
    let (agents, guards) = (names(agent_action::ROUTES), names(guardrail_check::ROUTES));
    let count = query.len() + ingest.len() + agents.len() + guards.len();
    let served = &(&(&query | &ingest) | &agents) | &guards;
    assert_eq!(served.len(), count, "a route has two functions");
    assert_eq!(described, served);
}

#[test]
fn each_route_reaches_its_function_in_its_way() {
    let api = description();
    let (query, agents) = (names(query::ROUTES), names(agent_action::ROUTES));
    let guards = names(guardrail_check::ROUTES);
    for (name, operation) in operations(&api) {
        let integration = &operation["x-amazon-apigateway-integration"];
        let function = if query.contains(&name) {
            "QueryFunction"
        } else if agents.contains(&name) {
            "AgentActionFunction"
        } else if guards.contains(&name) {
            "GuardrailCheckFunction"
        } else {
            "IngestFunction"
        };
        let streams = name == "POST /v1/ask";
        let call = match streams {
            true => ("2021-11-15", "response-streaming-invocations"),
            false => ("2015-03-31", "invocations"),
        };
        let uri = format!(
            "arn:${{AWS::Partition}}:apigateway:${{AWS::Region}}:lambda:path/{}/functions/${{{function}.Arn}}/{}",
            call.0, call.1
        );
        assert_eq!(integration["uri"], json!({ "Fn::Sub": uri }), "{name}");
        assert_eq!(integration["type"], "aws_proxy", "{name}");
        assert_eq!(integration["httpMethod"], "POST", "{name}");
        assert_eq!(
            integration["responseTransferMode"] == "STREAM",
            streams,
            "{name}"
        );
    }
}

#[test]
fn each_operation_is_whole() {
    let api = description();
    assert_eq!(api["openapi"], "3.0.3");
    assert_eq!(
        api["security"],
        json!([{ "sigv4": [] }]),
        "no route is open by oversight"
    );
    let mut ids = BTreeSet::new();
    for (name, operation) in operations(&api) {
        // Clients of MCP read where to get a token before they have one; nothing else is open.
        let open = name == "GET /.well-known/oauth-protected-resource";
        assert_eq!(
            operation.get("security"),
            open.then_some(&json!([{ "NONE": [] }])),
            "{name} has rules of its own"
        );
        assert!(
            ids.insert(operation["operationId"].as_str().unwrap().to_owned()),
            "{name}"
        );
        let problem = "/responses/default/content/application~1problem+json/schema/$ref";
        assert_eq!(
            operation.pointer(problem).unwrap(),
            "#/components/schemas/Problem",
            "{name}"
        );
        let parameters = operation["parameters"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let described: BTreeSet<String> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| format!("{{{}}}", parameter["name"].as_str().unwrap()))
            .collect();
        let in_path = name
            .split('/')
            .filter(|part| part.starts_with('{'))
            .map(str::to_owned);
        assert_eq!(described, in_path.collect(), "{name}");
    }
}

fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|field| references(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn every_schema_is_there_and_used() {
    let api = description();
    let mut found = BTreeSet::new();
    references(&api, &mut found);
    let there: BTreeSet<String> = api["components"]["schemas"]
        .as_object()
        .unwrap()
        .keys()
        .map(|name| format!("#/components/schemas/{name}"))
        .collect();
    assert_eq!(there, found.into_iter().map(str::to_owned).collect());
}

/// What `full` holds is what the schema describes, and what `least` holds is what it requires.
fn check<T: Serialize>(api: &Value, schema: &str, full: &T, least: &T) {
    let described = &api["components"]["schemas"][schema];
    let fields = |value: &T| -> BTreeSet<String> {
        serde_json::to_value(value)
            .unwrap()
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect()
    };
    let properties: BTreeSet<String> = described["properties"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    let required: BTreeSet<String> = described["required"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(fields(full), properties, "properties of {schema}");
    assert_eq!(fields(least), required, "required of {schema}");
}

fn reranking() -> Reranking {
    Reranking {
        model: text(),
        passages: 1,
        error: Some("ModelThrottled"),
        took_ms: 1.0,
    }
}

fn text() -> String {
    "x".into()
}

#[test]
fn answers_and_searches_have_the_fields_described() {
    let api = description();
    let citation = Citation {
        marker: text(),
        document_id: text(),
        title: text(),
        uri: text(),
        passage_id: text(),
        page: Some(3),
        start: 0,
        end: 1,
        quote: text(),
        masked: false,
        quote_hash: text(),
    };
    let support = Support {
        start: 0,
        end: 1,
        supported: true,
        passage_ids: Vec::new(),
    };
    let source = AnswerSource {
        document_id: text(),
        title: text(),
        uri: text(),
        passage_id: text(),
        heading_path: Vec::new(),
        page: Some(3),
        start: 0,
        end: 1,
        score: 0.5,
        text: text(),
    };
    let result = SearchResult {
        passage_id: text(),
        document_id: text(),
        title: text(),
        uri: text(),
        heading_path: Vec::new(),
        page: Some(3),
        text: text(),
        score: 0.5,
        start: 0,
        end: 1,
    };
    let answer = Answer {
        answer_id: text(),
        conversation_id: None,
        standalone_question: None,
        answer: text(),
        answered: true,
        citations: vec![citation.clone()],
        support: vec![support.clone()],
        strict: false,
        sources: vec![source.clone()],
        usage: Usage::default(),
        reranking: None,
        stepped_down: None,
        timings_ms: Timings::default(),
        guard: GuardReport::default(),
        stop_reason: text(),
        prompt_version: 1,
        manifest_version: None,
        replayable: true,
    };
    check(&api, "Support", &support, &support);
    let unpaged = Citation {
        page: None,
        ..citation.clone()
    };
    check(&api, "Citation", &citation, &unpaged);
    let unpaged = AnswerSource {
        page: None,
        ..source.clone()
    };
    check(&api, "AnswerSource", &source, &unpaged);
    let unpaged = SearchResult {
        page: None,
        ..result.clone()
    };
    check(&api, "SearchResult", &result, &unpaged);
    let reply = |optional: Option<String>| SearchReply {
        results: Vec::new(),
        retriever: "embedded",
        next_cursor: optional.clone(),
        reranking: optional.is_some().then(reranking),
        notice: optional,
        took_ms: 1.0,
    };
    check(&api, "SearchReply", &reply(Some(text())), &reply(None));
    let space = |run_id: Option<String>| Space {
        chunking: knowledge::spaces::parse_chunking("none").expect("it is one"),
        space: text(),
        role: Role::Admin,
        roles: run_id.is_some().then(Roles::default),
        limits: run_id.is_some().then(Limits::default),
        model: run_id.is_some().then(text),
        rerank_model: run_id.is_some().then(text),
        budget: run_id.is_some().then(BudgetView::default),
        retriever: RetrieverSetting::Embedded,
        inherited: true,
        ready: true,
        strict: false,
        batch_embedding: BatchEmbedding::default(),
        run_id,
    };
    check(&api, "Space", &space(Some(text())), &space(None));
    check(&api, "Roles", &Roles::default(), &Roles::default());
    check(&api, "Limits", &Limits::default(), &Limits::default());
    let roles = json!([Role::Reader, Role::Editor, Role::Admin]);
    let described = &api["components"]["schemas"]["Space"]["properties"]["role"]["enum"];
    assert_eq!(*described, roles);
    check(&api, "Usage", &answer.usage, &answer.usage);
    let line = Line::embedding("nobody.knows-v1", 1, false);
    let full = Line {
        cost_nano_usd: Some(1),
        estimated: true,
        ..line.clone()
    };
    check(&api, "UsageLine", &full, &line);
    let tasks = json!([
        Task::Answer,
        Task::Condense,
        Task::Embed,
        Task::Guard,
        Task::Rerank
    ]);
    let described = &api["components"]["schemas"]["UsageLine"]["properties"]["task"]["enum"];
    assert_eq!(*described, tasks);
    check(&api, "Timings", &answer.timings_ms, &answer.timings_ms);
    let stepped_down = SteppedDown {
        reason: text(),
        model: text(),
        passages: 1,
        resets_at: text(),
    };
    check(&api, "SteppedDown", &stepped_down, &stepped_down);
    let sound = Reranking {
        error: None,
        ..reranking()
    };
    check(&api, "Reranking", &reranking(), &sound);
    let most = &api["components"]["schemas"]["Reranking"]["properties"]["passages"]["maximum"];
    assert_eq!(*most, json!(CANDIDATES));
    let full = Answer {
        conversation_id: Some(text()),
        standalone_question: Some(text()),
        reranking: Some(reranking()),
        stepped_down: Some(stepped_down),
        manifest_version: Some(1),
        ..answer.clone()
    };
    check(&api, "Answer", &full, &answer);
    check(&api, "GuardReport", &answer.guard, &answer.guard);
}

#[test]
fn counters_have_the_fields_described() {
    let api = description();
    let counts = UsageCounts::default();
    check(&api, "UsageCounts", &counts, &counts);
    let group = |name: Option<String>| UsageGroup {
        day: name.clone(),
        model: name,
        counts: UsageCounts::default(),
    };
    check(&api, "UsageGroup", &group(Some(text())), &group(None));
    let standing = BudgetStanding {
        span: Span::Day,
        limit_usd: 1.0,
        spent_usd: 0.5,
        held_usd: 0.0,
        resets_at: text(),
    };
    check(&api, "BudgetStanding", &standing, &standing);
    let page = |next_cursor: Option<String>| UsagePage {
        space: text(),
        budget: next_cursor.iter().map(|_| standing.clone()).collect(),
        from: text(),
        to: text(),
        usage: Vec::new(),
        total: UsageCounts::default(),
        prices: text(),
        next_cursor,
    };
    check(&api, "UsagePage", &page(Some(text())), &page(None));
    let full = BudgetView {
        day_usd: Some(1.0),
        month_usd: Some(1.0),
        soft_percent: Some(80),
        soft_model: Some(text()),
        soft_passages: Some(1),
    };
    let fields =
        |value: Value| -> BTreeSet<String> { value.as_object().unwrap().keys().cloned().collect() };
    let described = &api["components"]["schemas"]["Budget"]["properties"];
    assert_eq!(fields(json!(full)), fields(described.clone()));
    assert_eq!(json!(BudgetView::default()), json!({}));
    let groups = json!([Group::Day, Group::Model, Group::Both]);
    let parameter = |one: &&Value| one["name"] == "group";
    let parameters = api["paths"]["/v1/usage"]["get"]["parameters"].as_array();
    let described = parameters.unwrap().iter().find(parameter).unwrap();
    assert_eq!(described["schema"]["enum"], groups);
}

#[test]
fn answers_read_back_have_the_fields_described() {
    let api = description();
    let state = PassageState::Unavailable;
    let states = json!([PassageState::Verified, PassageState::Changed, state]);
    assert_eq!(api["components"]["schemas"]["PassageState"]["enum"], states);
    let citation = |place, quote| ReplayedCitation {
        marker: text(),
        state,
        place,
        quote,
    };
    let place = CitedPlace {
        document_id: text(),
        title: text(),
        uri: text(),
        passage_id: text(),
        start: 0,
        end: 1,
        masked: false,
    };
    let full = citation(Some(place), Some(text()));
    check(&api, "ReplayedCitation", &full, &citation(None, None));
    let passage = |passage| ReplayedPassage { state, passage };
    let row = PassageRow {
        passage_id: text(),
        document_id: text(),
        content_hash: text(),
        start: 0,
        end: 1,
        text_hash: text(),
    };
    check(&api, "ReplayedPassage", &passage(Some(row)), &passage(None));
    let least = ReplayedAnswer {
        answer_id: text(),
        created_at: text(),
        expires_at: text(),
        question: text(),
        standalone_question: None,
        answer: text(),
        answered: true,
        withheld: 0,
        citations: Vec::new(),
        passages: Vec::new(),
        support: Vec::new(),
        model: text(),
        prompt_version: 1,
        manifest_version: None,
        retriever: text(),
        reranking: None,
        guard: Value::Null,
        usage: Value::Null,
        stop_reason: text(),
    };
    let full = ReplayedAnswer {
        standalone_question: Some(text()),
        manifest_version: Some(1),
        reranking: Some(Value::Null),
        ..least.clone()
    };
    check(&api, "ReplayedAnswer", &full, &least);
}

#[test]
fn verdicts_have_the_fields_described() {
    let api = description();
    let least = Finding {
        policy: "pii",
        kind: text(),
        action: "mask",
        confidence: None,
        score: None,
        start: None,
        end: None,
    };
    let full = Finding {
        confidence: Some(text()),
        score: Some(0.5),
        start: Some(0),
        end: Some(1),
        ..least.clone()
    };
    check(&api, "GuardFinding", &full, &least);
    let reply = GuardCheckReply {
        verdict: Verdict::Mask,
        text: text(),
        findings: vec![full],
        text_units: 1,
        cost_nano_usd: 150_000,
        guard: "on",
        took_ms: 1.0,
    };
    check(&api, "GuardCheckReply", &reply, &reply);
    let verdicts = json!([Verdict::Allow, Verdict::Mask, Verdict::Block]);
    assert_eq!(api["components"]["schemas"]["Verdict"]["enum"], verdicts);
    let finding = ScreeningFinding {
        kind: text(),
        action: text(),
        count: 1,
    };
    check(&api, "ScreeningFinding", &finding, &finding);
    let screening = Screening {
        verdict: text(),
        findings: vec![finding],
    };
    check(&api, "Screening", &screening, &screening);
}

#[test]
fn documents_have_the_fields_described() {
    let api = description();
    let least = Document {
        document_id: text(),
        name: text(),
        title: text(),
        uri: text(),
        status: DocumentStatus::Published,
        error: None,
        reason: None,
        screening: None,
        passages: 1,
        bytes: 1,
        content_hash: None,
        metadata: BTreeMap::new(),
        run_id: None,
        attempts: 1,
        stages: Stages::default(),
        updated_at: text(),
    };
    let stages = Stages {
        planned_at: Some(text()),
        extracting_at: Some(text()),
        screening_at: Some(text()),
        embedding_at: Some(text()),
        settled_at: Some(text()),
    };
    check(&api, "Stages", &stages, &Stages::default());
    let full = Document {
        stages,
        error: Some(text()),
        reason: Some(text()),
        screening: Some(Screening {
            verdict: text(),
            findings: Vec::new(),
        }),
        content_hash: Some(text()),
        metadata: BTreeMap::from([(text(), json!(1))]),
        run_id: Some(text()),
        ..least.clone()
    };
    check(&api, "Document", &full, &least);
    let page = |next_cursor| DocumentPage {
        documents: Vec::new(),
        next_cursor,
    };
    check(&api, "DocumentPage", &page(Some(text())), &page(None));
    let read = DocumentText {
        document_id: text(),
        title: text(),
        uri: text(),
        content_hash: text(),
        text: text(),
    };
    check(&api, "DocumentText", &read, &read);
}

#[test]
fn runs_have_the_fields_described() {
    let api = description();
    let failure = Failure {
        document_id: text(),
        name: text(),
        status: DocumentStatus::Failed,
        error: text(),
        reason: text(),
    };
    let least = Run {
        run_id: text(),
        space: text(),
        status: RunStatus::Running,
        counts: None,
        error: None,
        reason: None,
        redrive_of: None,
        redriven_by: None,
        failures: Vec::new(),
        more_failures: false,
        hidden_failures: 0,
        estimate: None,
        knowledge_base: None,
        embedding_tokens: 0,
        job_tokens: 0,
        embedding_usd: None,
        started_at: text(),
        finished_at: None,
    };
    let estimate = |usd: Option<f64>| EstimateView {
        estimate: Estimate {
            job_tokens: u64::from(usd.is_some()),
            ..Estimate::default()
        },
        usd,
        usd_per_1000_documents: usd,
        prices: usd.map(|_| text()),
    };
    check(&api, "Estimate", &estimate(Some(1.0)), &estimate(None));
    let counters = IngestionCounters::default();
    let filled = |optional: Option<String>| KnowledgeBaseView {
        knowledge_base_id: text(),
        data_source_id: text(),
        phase: Phase::UnderWay,
        way: optional.is_some().then_some(Way::Direct),
        ingestion_job_id: optional.clone(),
        waiting_for: optional.clone(),
        counters: optional.is_some().then_some(counters),
        failure_reasons: optional.clone().into_iter().collect(),
        brought_in: 0,
        taken_out: 0,
        failed: 0,
        error: optional.clone(),
        reason: optional,
    };
    check(
        &api,
        "KnowledgeBaseSync",
        &filled(Some(text())),
        &filled(None),
    );
    check(&api, "IngestionCounters", &counters, &counters);
    let described = &api["components"]["schemas"]["KnowledgeBaseSync"]["properties"];
    let phases = [Phase::Begun, Phase::Written, Phase::UnderWay, Phase::Ended];
    assert_eq!(described["phase"]["enum"], json!(phases));
    assert_eq!(described["way"]["enum"], json!([Way::Direct, Way::Job]));
    let full = Run {
        knowledge_base: Some(filled(None)),
        job_tokens: 1,
        estimate: Some(estimate(None)),
        embedding_usd: Some(1.0),
        counts: Some(Counts::default()),
        error: Some(text()),
        reason: Some(text()),
        redrive_of: Some(text()),
        redriven_by: Some(text()),
        failures: vec![failure.clone()],
        more_failures: true,
        hidden_failures: 1,
        finished_at: Some(text()),
        ..least.clone()
    };
    check(&api, "Run", &full, &least);
    check(&api, "Failure", &failure, &failure);
    check(&api, "Counts", &Counts::default(), &Counts::default());
    let page = |next_cursor| RunPage {
        runs: Vec::new(),
        next_cursor,
    };
    check(&api, "RunPage", &page(Some(text())), &page(None));
}

#[test]
fn sources_have_the_fields_described() {
    let api = description();
    let run = |error: Option<String>| SourceRun {
        run_id: text(),
        ended_at: text(),
        documents: 1,
        failed: 0,
        reason: error.clone(),
        error,
    };
    check(&api, "SourceRun", &run(Some(text())), &run(None));
    let source = |last: Option<SourceRun>| SourceView {
        name: text(),
        source: SourceSetting::S3(S3Setting {
            bucket: text(),
            prefix: text(),
        }),
        readers: Vec::new(),
        removed: last.is_some(),
        last,
    };
    check(&api, "Source", &source(Some(run(None))), &source(None));
    let page = SourcePage {
        sources: Vec::new(),
    };
    check(&api, "SourcePage", &page, &page);
}

#[test]
fn the_statuses_are_the_ones_described() {
    let api = description();
    let statuses = |pointer: &str| api.pointer(pointer).unwrap().clone();
    let document = [
        DocumentStatus::Pending,
        DocumentStatus::Extracting,
        DocumentStatus::Screening,
        DocumentStatus::Embedding,
        DocumentStatus::Published,
        DocumentStatus::Refused,
        DocumentStatus::Failed,
        DocumentStatus::Deleted,
    ];
    assert_eq!(
        statuses("/components/schemas/DocumentStatus/enum"),
        json!(document)
    );
    let run = [
        RunStatus::Queued,
        RunStatus::Running,
        RunStatus::Succeeded,
        RunStatus::Partial,
        RunStatus::Failed,
        RunStatus::Stopped,
    ];
    assert_eq!(
        statuses("/components/schemas/Run/properties/status/enum"),
        json!(run)
    );
}

/// The names that a function called `name` gives in a file of the workspace.
fn names_in(source: &'static str) -> BTreeSet<&'static str> {
    let (_, from) = source.split_once("pub fn name(&self)").unwrap();
    let (body, _) = from.split_once("\n    }\n").unwrap();
    let quoted = body.split('"').skip(1).step_by(2);
    quoted.collect()
}

/// Words such as `RoleRequired`.
fn is_name(word: &&str) -> bool {
    let capitals = word.bytes().filter(u8::is_ascii_uppercase).count();
    word.starts_with(|first: char| first.is_ascii_uppercase())
        && capitals > 1
        && word.bytes().any(|byte| byte.is_ascii_lowercase())
}

#[test]
fn each_problem_is_described_and_each_described_is_one() {
    let api = description();
    let mut texts = vec![&api["info"]["description"]];
    for operation in operations(&api).into_values() {
        texts.push(&operation["responses"]["default"]["description"]);
    }
    let texts = texts.into_iter().map(|text| text.as_str().unwrap());
    let words = texts.flat_map(|text| text.split(|letter: char| !letter.is_alphanumeric()));
    let described: BTreeSet<&str> = words.filter(is_name).collect();
    let mut known = names_in(include_str!("../../knowledge/src/problem.rs"));
    known.extend(names_in(include_str!("../../aws/src/lib.rs")));
    known.extend(names_in(include_str!("../../aws/src/bedrock/mod.rs")));
    // MCP's own, which comes with a header that says where a token is to be had.
    known.insert("OAuthRequired");
    assert_eq!(described, known);
}
