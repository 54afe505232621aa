"""What the template grants and watches, held to what the programs call and emit."""

import functools
import json
import os
import pathlib
import re
import subprocess
import tomllib

import pytest
from cfnlint.decode import decode

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEMPLATE = decode(str(ROOT / "template.yaml"))[0]
RESOURCES = TEMPLATE["Resources"]
# What parameters add, one template each.
NESTED = {
    path.name: decode(str(path))[0]
    for path in sorted((ROOT / "infra").glob("*.yaml"))
    if "AWSTemplateFormatVersion" in path.read_text()
}
FOLDER = pathlib.Path(os.environ.get("OUTCROP_BIN", "target/debug/outcrop")).resolve().parent

FUNCTIONS = {
    "QueryFunction": "query",
    "IngestFunction": "ingest",
    "AgentActionFunction": "agent-action",
    "GuardrailCheckFunction": "guardrail-check",
}
# The symbol of an operation's code: aws_sdk_<service>::operation::<name>::<Name>::orchestrate, each part after its length.
OPERATION = re.compile(rb"aws_sdk_([a-z0-9]+?)9operation(\d+)([a-z]\w*?)11orchestrate")
SERVICES = {
    "bedrockagentruntime": "bedrock",
    "bedrockruntime": "bedrock",
    "bedrockagent": "bedrock",
    "bedrock": "bedrock",
    "dynamodb": "dynamodb",
    "s3": "s3",
    "secretsmanager": "secretsmanager",
    "sfn": "states",
}
# Source: Service Authorization Reference, where an operation's permission has another name than the operation.
ACTIONS = {
    "bedrockruntime converse": {"bedrock:InvokeModel"},
    "bedrockruntime converse_stream": {"bedrock:InvokeModelWithResponseStream"},
    "dynamodb transact_write_items": {"dynamodb:PutItem", "dynamodb:UpdateItem"},
    "s3 copy_object": {"s3:GetObject", "s3:PutObject"},
    "s3 create_session": set(),
    "s3 head_object": {"s3:GetObject"},
    "s3 list_objects_v2": {"s3:ListBucket"},
    "bedrock create_model_invocation_job": {"bedrock:CreateModelInvocationJob", "iam:PassRole"},
}
# Linked and never reached: the function refuses every step but its own.
UNREACHED = {
    "guardrail-check": {
        "bedrock:CreateModelInvocationJob",
        "bedrock:DeleteKnowledgeBaseDocuments",
        "bedrock:GetDataSource",
        "bedrock:GetIngestionJob",
        "bedrock:GetKnowledgeBaseDocuments",
        "bedrock:GetModelInvocationJob",
        "bedrock:IngestKnowledgeBaseDocuments",
        "bedrock:InvokeModel",
        "bedrock:ListIngestionJobs",
        "bedrock:ListKnowledgeBaseDocuments",
        "bedrock:StartIngestionJob",
        "bedrock:StopModelInvocationJob",
        "dynamodb:DeleteItem",
        "dynamodb:Query",
        "iam:PassRole",
        "s3:ListBucket",
        "secretsmanager:GetSecretValue",
        "states:DescribeExecution",
        "states:StartExecution",
    },
    "query": set(),
    "ingest": {"bedrock:ApplyGuardrail"},
    "agent-action": set(),
}
# Source: Service Authorization Reference, actions without a resource type: they are granted for everything or for nothing.
WITHOUT_RESOURCES = {"bedrock:Rerank"}
# Granted for what no operation's name shows.
BESIDES = {
    # With the right to list, a missing object is told as missing and not as forbidden.
    "ingest": {"s3:ListBucket"},
}


def camel(name):
    return "".join(part.title() for part in name.split("_"))


@functools.cache
def operations(binary):
    """Service and name of the operations whose code is in the program."""
    program = (FOLDER / binary).read_bytes()
    found = {(service.decode(), name[: int(length)].decode()) for service, length, name in OPERATION.findall(program)}
    assert found, f"{binary} has no symbols"
    return found


def called(binary):
    """Permissions of these operations."""
    actions = set()
    for service, name in operations(binary):
        actions |= ACTIONS.get(f"{service} {name}", {f"{SERVICES[service]}:{camel(name)}"})
    return actions


def statements(resource):
    """Whatever conditions stand before them."""
    for policy in RESOURCES[resource]["Properties"]["Policies"]:
        for statement in policy["Statement"]:
            yield from (one for one in statement.get("Fn::If", [None, statement])[1:] if "Effect" in one)


@pytest.mark.parametrize("resource, binary", FUNCTIONS.items())
def test_a_function_may_do_what_it_calls_and_nothing_else(resource, binary):
    granted = {action for statement in statements(resource) for action in statement["Action"]}
    needed = called(binary) - UNREACHED[binary]
    assert granted - needed - BESIDES.get(binary, set()) == set(), "granted, and never called"
    assert needed - granted == set(), "called, and not granted"


# The endpoint of each service, where it is not called as its SDK is.
ENDPOINTS = {
    "bedrockagent": "bedrock-agent",
    "bedrockagentruntime": "bedrock-agent-runtime",
    "bedrockruntime": "bedrock-runtime",
    "sfn": "states",
}


def test_a_vpc_has_an_endpoint_of_each_service_that_a_function_calls_and_no_other():
    services = {service for binary in FUNCTIONS.values() for service, _ in operations(binary)}
    kinds = NESTED["network.yaml"]["Resources"].values()
    names = [one["Properties"]["ServiceName"]["Fn::Sub"] for one in kinds if one["Type"] == "AWS::EC2::VPCEndpoint"]
    assert sorted(names) == sorted(f"com.amazonaws.${{AWS::Region}}.{ENDPOINTS.get(one, one)}" for one in services)


@pytest.mark.parametrize("resource, binary", FUNCTIONS.items())
def test_sam_build_finds_the_binary(resource, binary):
    """`cargo lambda build --bin NAME` looks among the default members only."""
    assert RESOURCES[resource]["Metadata"]["BuildProperties"]["Binary"] == binary
    told = subprocess.run(["cargo", "metadata", "--no-deps", "--format-version", "1"], cwd=ROOT, check=True, capture_output=True)
    workspace = json.loads(told.stdout)
    default = [package for package in workspace["packages"] if package["id"] in workspace["workspace_default_members"]]
    assert binary in [target["name"] for package in default for target in package["targets"] if "bin" in target["kind"]]


def test_functions_unwind():
    """cargo-lambda's own optimizations are `panic = "abort"` too."""
    build = tomllib.loads((ROOT / "CargoLambda.toml").read_text())["build"]
    assert build["disable_optimizations"] and "panic" not in str(build["config"])
    assert "panic" not in tomllib.loads((ROOT / "Cargo.toml").read_text())["profile"]["release"]


@pytest.mark.parametrize("resource", [*FUNCTIONS, "IngestStateMachine"])
def test_no_permission_is_for_everything(resource):
    for statement in statements(resource):
        assert not any("*" in action for action in statement["Action"]), statement
        assert "*" not in statement["Resource"] or set(statement["Action"]) <= WITHOUT_RESOURCES, statement


@pytest.mark.parametrize("resource", ["QueryFunction", "AgentActionFunction"])
def test_rerankers_are_asked_only_where_the_deployment_offers_them(resource):
    granted = [one for policy in RESOURCES[resource]["Properties"]["Policies"] for one in policy["Statement"]]
    [(condition, given, otherwise)] = [one["Fn::If"] for one in granted if "Fn::If" in one]
    assert (condition, given["Action"], otherwise) == ("HasRerankers", ["bedrock:Rerank"], {"Ref": "AWS::NoValue"})
    assert not any("bedrock:Rerank" in one.get("Action", []) for one in granted)


def roles(template):
    """Roles and policies, with those that a condition makes."""
    for name, one in template["Resources"].items():
        if isinstance(one, dict) and one["Type"] in ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy"):
            yield name, one["Properties"]


def found(node, field):
    """Everything of this name, however deep, and whatever conditions stand before it."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == field:
                yield from value if isinstance(value, list) else [value]
            else:
                yield from found(value, field)
    elif isinstance(node, list):
        for value in node:
            yield from found(value, field)


@pytest.mark.parametrize("file", ["template.yaml", *NESTED])
def test_no_role_may_do_everything(file):
    for name, role in roles({**NESTED, "template.yaml": TEMPLATE}[file]):
        asked = found({key: value for key, value in role.items() if key != "AssumeRolePolicyDocument"}, "Statement")
        given = [one for statement in asked for one in statement.get("Fn::If", [None, statement])[1:]]
        for statement in given:
            if statement.get("Effect") != "Allow":
                continue
            assert not any("*" in action for action in statement["Action"]), (name, statement)
            assert "*" not in statement["Resource"], (name, statement)


@pytest.mark.parametrize("file", NESTED)
def test_a_service_takes_a_role_for_this_account_only(file):
    for name, role in roles(NESTED[file]):
        for trust in found(role, "AssumeRolePolicyDocument"):
            for statement in trust["Statement"]:
                assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}, name
                assert "aws:SourceArn" in statement["Condition"]["ArnLike"], name
                assert "PermissionsBoundary" in role, name


def tasks(states):
    for name, state in states.items():
        if state["Type"] == "Task":
            yield name, state
        yield from tasks(state.get("ItemProcessor", {}).get("States", {}))


def test_a_task_waits_for_its_functions_own_end():
    """Lambda's own timeout is an error that is tried again; States.Timeout, should it come first, is not."""
    machine = json.loads((ROOT / "infra" / "ingest.asl.json").read_text())
    found = list(tasks(machine["States"]))
    assert len(found) > 10
    for name, task in found:
        function = task["Arguments"]["FunctionName"].removeprefix("${").removesuffix("Arn}")
        assert task["TimeoutSeconds"] >= RESOURCES[function]["Properties"]["Timeout"] + 60, name
        assert any("Sandbox.Timedout" in rule["ErrorEquals"] or "States.ALL" in rule["ErrorEquals"] for rule in task["Retry"]), name


def test_each_nested_template_is_given_its_parameters():
    stacks = {one["Properties"]["TemplateURL"]: one for one in RESOURCES.values() if one["Type"] == "AWS::CloudFormation::Stack"}
    assert {url.removeprefix("infra/") for url in stacks} == set(NESTED)
    for url, stack in stacks.items():
        assert set(stack["Properties"]["Parameters"]) == set(NESTED[url.removeprefix("infra/")]["Parameters"]), url
        assert stack["Condition"] in TEMPLATE["Conditions"], f"{url} is made by nobody's leave"


def test_what_nested_templates_say_and_give_is_explained_and_used():
    used = (ROOT / "template.yaml").read_text()
    for file, template in NESTED.items():
        for kind in ("Parameters", "Outputs"):
            for name, one in template.get(kind, {}).items():
                assert one["Description"].strip(), f"{file}: {name}"
        for name in template.get("Outputs", {}):
            assert re.search(rf"\w+\.Outputs\.{name}\b", used), f"{file}: nobody takes {name}"


def test_every_parameter_and_output_is_explained():
    explained = (ROOT / "infra" / "README.md").read_text()
    for name in [*TEMPLATE["Parameters"], *TEMPLATE["Outputs"]]:
        assert f"`{name}`" in explained, name


# Source: the services' own pages of metrics in the AWS documentation.
THEIRS = {
    "AWS/Lambda": {"Invocations", "Duration", "Errors", "Throttles"},
    "AWS/States": {"ExecutionsSucceeded", "ExecutionsFailed", "ExecutionsTimedOut"},
    "AWS/SQS": {"ApproximateNumberOfMessagesVisible"},
    "AWS/Bedrock": {"InputTokenCount", "OutputTokenCount"},
}
EMITTED = re.compile(r'(?:Metric \{\s*name: |figure\(\s*)"(\w+)"')


def emitted():
    sources = [path for path in (ROOT / "crates").rglob("*.rs") if path.name not in ("tests.rs", "telemetry.rs")]
    return {name for path in sources for name in EMITTED.findall(path.read_text())}


def watched():
    """Namespace and name of each metric that an alarm or the dashboard shows."""
    for resource in RESOURCES.values():
        told = resource["Properties"]
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            if "MetricName" in told:
                yield "alarm", told["Namespace"], told["MetricName"]
            for part in told.get("Metrics", []):
                if "MetricStat" in part:
                    yield "alarm", part["MetricStat"]["Metric"]["Namespace"], part["MetricStat"]["Metric"]["MetricName"]
        if resource["Type"] == "AWS::CloudWatch::Dashboard":
            for widget in json.loads(told["DashboardBody"]["Fn::Sub"][0])["widgets"]:
                for metric in widget["properties"]["metrics"]:
                    yield "dashboard", metric[0], metric[1]


def test_alarms_and_dashboard_show_metrics_that_exist():
    shown = set(watched())
    assert len(shown) > 10
    for place, namespace, name in shown:
        known = emitted() if namespace == "Outcrop" else THEIRS[namespace]
        assert name in known, f"{place}: {namespace} {name}"


# Source: the same pages; without its dimension a metric of theirs shows nothing.
DIMENSIONS = {"AWS/Lambda": "FunctionName", "AWS/States": "StateMachineArn", "AWS/SQS": "QueueName", "AWS/Bedrock": "ModelId"}


def dimensions():
    """Namespace, name and dimensions of each metric that an alarm or the dashboard shows."""
    for resource in RESOURCES.values():
        told = resource["Properties"]
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            stats = [part["MetricStat"]["Metric"] for part in told.get("Metrics", []) if "MetricStat" in part]
            for metric in stats or [told]:
                yield metric["Namespace"], metric["MetricName"], [one["Name"] for one in metric.get("Dimensions", [])]
        if resource["Type"] == "AWS::CloudWatch::Dashboard":
            for widget in json.loads(told["DashboardBody"]["Fn::Sub"][0])["widgets"]:
                for namespace, name, *rest in widget["properties"]["metrics"]:
                    yield namespace, name, [one for one in rest if isinstance(one, str)][::2]


def test_metrics_are_shown_by_the_dimensions_that_they_have():
    """The code emits without any: `telemetry.rs` holds its line to that."""
    found = list(dimensions())
    assert {(namespace, name) for namespace, name, _ in found} == {(namespace, name) for _, namespace, name in watched()}
    for namespace, name, by in found:
        assert by == ([] if namespace == "Outcrop" else [DIMENSIONS[namespace]]), (namespace, name)


def test_tokens_are_watched_under_the_name_that_is_called():
    """`ARN=ID` says what a profile or a router stands for; Bedrock knows the ARN only."""
    body, named = RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    called = named["CalledModel"]
    assert body.count('"ModelId", "${CalledModel}"') == 2
    for alarm in ("InputTokens", "OutputTokens"):
        assert RESOURCES[alarm]["Properties"]["Dimensions"] == [{"Name": "ModelId", "Value": called}]
    condition, router, own = called["Fn::If"]
    assert own == {"Fn::Select": [0, {"Fn::Split": ["=", {"Ref": "AnswerModel"}]}]}
    told = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]["OUTCROP_ANSWER_MODEL"]["Fn::If"]
    assert told[0] == condition and told[2] == {"Ref": "AnswerModel"}
    assert told[1]["Fn::Sub"].split("=")[0] == "${%s}" % ".".join(router["Fn::GetAtt"])


def test_every_metric_is_on_the_dashboard():
    assert emitted() == {name for place, namespace, name in watched() if (place, namespace) == ("dashboard", "Outcrop")}


def test_every_alarm_is_told_and_explained():
    explained = (ROOT / "docs" / "operations.md").read_text()
    alarms = {name: one for name, one in RESOURCES.items() if one["Type"] == "AWS::CloudWatch::Alarm"}
    for name, alarm in alarms.items():
        assert alarm["Properties"]["AlarmActions"] == [{"Ref": "Alarms"}], name
        assert f"`{name}`" in explained, name


def test_live_checks_are_numbered_in_a_row_and_each_says_what_to_do_and_to_expect():
    text = (ROOT / "docs" / "live-checks.md").read_text()
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if re.match(r"\| \d+ \|", line)]
    assert [int(row[0]) for row in rows] == list(range(1, len(rows) + 1))
    anchors = {heading.lower().replace(". ", "-").replace(" ", "-") for heading in re.findall(r"^## (.*)$", text, re.M)}
    for number, claim, command, expected in rows:
        assert claim.strip() and expected.strip(), number
        assert re.search(r"`[^`]+`|\]\(#|\bsame\b", command), number
        assert set(re.findall(r"\]\(#([^)]*)\)", command)) <= anchors, number
