"""Agents' events and replies, read by Powertools for AWS Lambda: another reading of the same documentation."""

import json
import pathlib

import pytest
from aws_lambda_powertools.event_handler import BedrockAgentFunctionResolver, BedrockAgentResolver
from aws_lambda_powertools.utilities.parser.models import BedrockAgentEventModel, BedrockAgentFunctionEventModel

EVENTS = pathlib.Path(__file__).parents[2] / "events" / "agent-action"


def shape(value):
    """The names and types of a reply, without what it says."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    return type(value).__name__


def with_functions(event):
    app = BedrockAgentFunctionResolver()
    app.tool(name=event["function"], description="Does.")(lambda query=None: {"passages": []})
    return app.resolve(event, None)


def with_operations(event):
    app = BedrockAgentResolver()

    @app.post(event["apiPath"], description="Does.")
    def operation() -> dict:
        return {"passages": []}

    return app(event, None)


@pytest.mark.parametrize(
    "name, model, theirs",
    [
        ("api-search", BedrockAgentEventModel, with_operations),
        ("api-ticket", BedrockAgentEventModel, with_operations),
        ("function-search", BedrockAgentFunctionEventModel, with_functions),
        ("function-missing-parameter", BedrockAgentFunctionEventModel, with_functions),
    ],
)
def test_events_and_replies_are_as_others_read_them(name, model, theirs, instance):
    event = json.loads((EVENTS / f"{name}.json").read_text())
    model.model_validate(event)
    invoked = instance.client("lambda").invoke(FunctionName="outcrop-agent-action", Payload=json.dumps(event))
    ours, theirs = json.loads(invoked["Payload"].read()), theirs(event)
    # Both say more than they must: the attributes of the session go back in either.
    response = shape(ours)["response"]
    response.get("functionResponse", {}).pop("responseState", None)
    expected = shape(theirs)["response"]
    expected.get("functionResponse", {}).pop("responseState", None)
    assert response == expected
    assert ours["messageVersion"] == theirs["messageVersion"] == "1.0"
    for said in ("actionGroup", "function", "apiPath", "httpMethod"):
        assert ours["response"].get(said) == theirs["response"].get(said) == event.get(said)
