"""boto3's agents against the laptop: made, prepared, asked; every reply is held against botocore's service models."""

import json
import os
import pathlib
import subprocess
import uuid

import pytest
from botocore.exceptions import ClientError, EventStreamError
from cfnlint.decode import decode
from test_bedrock import missing

MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
INSTRUCTION = "You help the users of a knowledge service with their orders and with questions about its documents."
KNOWLEDGE_BASE = "defaultXXX"
QUESTION = "How many ingestion jobs can a knowledge base run at once?"
ORDERS = {
    "functions": [
        {
            "name": "get_order_status",
            "description": "Says how an order of the user stands: status, items, carrier, expected delivery.",
            "parameters": {"order_number": {"type": "string", "description": "The order's number", "required": True}},
        }
    ]
}


class Agents:
    """Both clients; each call's reply has what the service model requires and nothing that it does not name."""

    def __init__(self, instance):
        self.control, self.runtime = instance.client("bedrock-agent"), instance.client("bedrock-agent-runtime")

    def __call__(self, operation, **arguments):
        method = "".join("_" + c.lower() if c.isupper() else c for c in operation).lstrip("_")
        reply = getattr(self.control, method)(**arguments)
        shape = self.control.meta.service_model.operation_model(operation).output_shape
        if shape is not None:
            assert missing(shape, reply) == []
            assert set(reply) - {"ResponseMetadata"} <= set(shape.members)
        return reply

    def create(self, **more):
        name = f"agent-{uuid.uuid4().hex[:8]}"
        reply = self("CreateAgent", agentName=name, instruction=INSTRUCTION, foundationModel=MODEL, **more)
        return reply["agent"]["agentId"]

    def group(self, agent, executor, **more):
        schema = more or {"functionSchema": ORDERS}
        return self(
            "CreateAgentActionGroup",
            agentId=agent,
            agentVersion="DRAFT",
            actionGroupName="support",
            actionGroupExecutor=executor,
            **schema,
        )["agentActionGroup"]

    def knowledge(self, agent):
        description = "Documentation of Amazon Bedrock and of the service."
        arguments = {"knowledgeBaseId": KNOWLEDGE_BASE, "description": description}
        return self("AssociateAgentKnowledgeBase", agentId=agent, agentVersion="DRAFT", **arguments)

    def prepare(self, agent):
        assert self("PrepareAgent", agentId=agent)["agentStatus"] == "PREPARED"

    def publish(self, agent):
        self.prepare(agent)
        return self("CreateAgentAlias", agentId=agent, agentAliasName="live")["agentAlias"]

    def invoke(self, agent, text=None, alias="TSTALIASID", session="session-1", **more):
        """The events of an invocation, each held against its shape."""
        if text is not None:
            more["inputText"] = text
        reply = self.runtime.invoke_agent(agentId=agent, agentAliasId=alias, sessionId=session, enableTrace=True, **more)
        assert reply["sessionId"] == session and reply["contentType"] == "application/json"
        model = self.runtime.meta.service_model.operation_model("InvokeAgent")
        members = model.output_shape.members["completion"].members
        events = []
        for event in reply["completion"]:
            (name, body), = event.items()
            assert missing(members[name], body) == []
            events.append(event)
        return events


@pytest.fixture()
def agents(instance):
    return Agents(instance)


def answer(events):
    assert "chunk" in events[-1], events[-1]
    chunk = events[-1]["chunk"]
    return chunk["bytes"].decode(), chunk.get("attribution", {}).get("citations", [])


def steps(events):
    """(collaborator, what) of each orchestration trace that tells of a call or of what came of it."""
    found = []
    for trace in (event["trace"] for event in events if "trace" in event):
        for step in trace["trace"].get("orchestrationTrace", {}).values():
            kind = step.get("invocationType") or step.get("type")
            if kind and "foundationModel" not in step:
                found.append((trace.get("collaboratorName"), kind))
    return found


def check_citations(text, citations):
    assert citations
    for citation in citations:
        part = citation["generatedResponsePart"]["textResponsePart"]
        assert text[part["span"]["start"] : part["span"]["end"] + 1] == part["text"]
        reference = citation["retrievedReferences"][0]
        assert part["text"] in " ".join(reference["content"]["text"].split())
        assert reference["location"]["s3Location"]["uri"].startswith("s3://")


def test_an_agent_is_made_prepared_and_asked(agents):
    agent = agents.create(description="Knows orders and documents")
    agents.group(agent, {"customControl": "RETURN_CONTROL"})
    agents.knowledge(agent)
    agents.prepare(agent)
    events = agents.invoke(agent, QUESTION)
    text, citations = answer(events)
    assert "ingestion job" in text
    check_citations(text, citations)
    assert steps(events) == [(None, "KNOWLEDGE_BASE"), (None, "KNOWLEDGE_BASE"), (None, "FINISH")]

    returned = agents.invoke(agent, "Where is my order A-1001?")[-1]["returnControl"]
    call = returned["invocationInputs"][0]["functionInvocationInput"]
    assert (call["function"], call["parameters"][0]["value"]) == ("get_order_status", "A-1001")
    result = {"actionGroup": "support", "function": "get_order_status", "responseBody": {"TEXT": {"body": "It is at sea."}}}
    state = {"invocationId": returned["invocationId"], "returnControlInvocationResults": [{"functionResult": result}]}
    assert answer(agents.invoke(agent, sessionState=state))[0] == "It is at sea."
    assert "order number" in answer(agents.invoke(agent, "Where is my order?"))[0]


def test_every_control_operation_has_its_shape(agents):
    agent = agents.create(tags={"team": "one"})
    draft = {"agentId": agent, "agentVersion": "DRAFT"}
    group = agents.group(agent, {"customControl": "RETURN_CONTROL"})
    agents.knowledge(agent)
    one_group = {**draft, "actionGroupId": group["actionGroupId"]}
    assert agents("GetAgentActionGroup", **one_group)["agentActionGroup"]["functionSchema"] == group["functionSchema"]
    agents(
        "UpdateAgentActionGroup",
        **one_group,
        actionGroupName="renamed",
        actionGroupExecutor={"customControl": "RETURN_CONTROL"},
        functionSchema=ORDERS,
    )
    assert agents("ListAgentActionGroups", **draft)["actionGroupSummaries"][0]["actionGroupName"] == "renamed"
    agents("UpdateAgentKnowledgeBase", **draft, knowledgeBaseId=KNOWLEDGE_BASE, knowledgeBaseState="DISABLED")
    base = agents("GetAgentKnowledgeBase", **draft, knowledgeBaseId=KNOWLEDGE_BASE)["agentKnowledgeBase"]
    assert base["knowledgeBaseState"] == "DISABLED"
    assert len(agents("ListAgentKnowledgeBases", **draft)["agentKnowledgeBaseSummaries"]) == 1
    alias = agents.publish(agent)
    one_alias = {"agentId": agent, "agentAliasId": alias["agentAliasId"]}
    assert agents("GetAgentAlias", **one_alias)["agentAlias"]["routingConfiguration"] == [{"agentVersion": "1"}]
    updated = agents("UpdateAgentAlias", **one_alias, agentAliasName="other", routingConfiguration=[{"agentVersion": "1"}])
    assert updated["agentAlias"]["agentAliasName"] == "other"
    aliases = agents("ListAgentAliases", agentId=agent)["agentAliasSummaries"]
    assert {row["agentAliasId"] for row in aliases} == {alias["agentAliasId"], "TSTALIASID"}
    assert agents("GetAgentVersion", agentId=agent, agentVersion="1")["agentVersion"]["version"] == "1"
    versions = agents("ListAgentVersions", agentId=agent)["agentVersionSummaries"]
    assert {row["agentVersion"] for row in versions} == {"DRAFT", "1"}

    lead = agents.create(agentCollaboration="SUPERVISOR")
    of_lead = {"agentId": lead, "agentVersion": "DRAFT"}
    described = {
        "agentDescriptor": {"aliasArn": alias["agentAliasArn"]},
        "collaboratorName": "clerk",
        "collaborationInstruction": "Orders.",
    }
    collaborator = agents("AssociateAgentCollaborator", **of_lead, **described)["agentCollaborator"]
    one = {**of_lead, "collaboratorId": collaborator["collaboratorId"]}
    agents("UpdateAgentCollaborator", **one, **described, relayConversationHistory="TO_COLLABORATOR")
    assert agents("GetAgentCollaborator", **one)["agentCollaborator"]["relayConversationHistory"] == "TO_COLLABORATOR"
    assert len(agents("ListAgentCollaborators", **of_lead)["agentCollaboratorSummaries"]) == 1
    agents("DisassociateAgentCollaborator", **one)

    arn = agents("GetAgent", agentId=agent)["agent"]["agentArn"]
    agents("TagResource", resourceArn=arn, tags={"stage": "test"})
    agents("UntagResource", resourceArn=arn, tagKeys=["team"])
    assert agents("ListTagsForResource", resourceArn=arn)["tags"] == {"stage": "test"}
    role = "arn:aws:iam::000000000000:role/agent"
    changed = agents("UpdateAgent", agentId=agent, agentName=f"x-{agent}", foundationModel=MODEL, agentResourceRoleArn=role)
    assert changed["agent"]["agentStatus"] == "NOT_PREPARED"
    pages = agents.control.get_paginator("list_agents").paginate(PaginationConfig={"PageSize": 1})
    assert {agent, lead} <= {row["agentId"] for page in pages for row in page["agentSummaries"]}
    assert "agentSummaries" in agents("ListAgents")

    agents("DisassociateAgentKnowledgeBase", **draft, knowledgeBaseId=KNOWLEDGE_BASE)
    agents("DeleteAgentActionGroup", **one_group, skipResourceInUseCheck=True)
    agents("DeleteAgentAlias", **one_alias)
    agents("DeleteAgentVersion", agentId=agent, agentVersion="1")
    for each in (lead, agent):
        agents("DeleteAgent", agentId=each)
    with pytest.raises(ClientError) as caught:
        agents("GetAgent", agentId=agent)
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_an_openapi_schema_may_lie_in_s3(agents, instance):
    bucket = instance.client("s3").list_buckets()["Buckets"][0]["Name"]
    schema = {
        "openapi": "3.0.1",
        "info": {"title": "Orders", "version": "1"},
        "paths": {
            "/orders/{order_number}": {
                "get": {
                    "operationId": "getOrder",
                    "description": "Says how an order stands",
                    "parameters": [{"name": "order_number", "in": "path", "required": True, "schema": {"type": "string"}}],
                    "responses": {"200": {"description": "The order"}},
                }
            }
        },
    }
    instance.client("s3").put_object(Bucket=bucket, Key="agents/orders.json", Body=json.dumps(schema))
    agent = agents.create()
    place = {"s3": {"s3BucketName": bucket, "s3ObjectKey": "agents/orders.json"}}
    agents.group(agent, {"customControl": "RETURN_CONTROL"}, apiSchema=place)
    agents.prepare(agent)
    call = agents.invoke(agent, "Where is my order A-1001?")[-1]["returnControl"]["invocationInputs"][0]["apiInvocationInput"]
    assert (call["httpMethod"], call["apiPath"]) == ("GET", "/orders/{order_number}")
    assert call["parameters"] == [{"name": "order_number", "type": "string", "value": "A-1001"}]


def test_a_function_that_is_not_there_fails_the_turn_by_name(agents):
    agent = agents.create()
    agents.group(agent, {"lambda": "arn:aws:lambda:us-east-1:000000000000:function:nobody"})
    agents.prepare(agent)
    with pytest.raises(EventStreamError) as caught:
        agents.invoke(agent, "Where is my order A-1001?")
    assert caught.value.response["Error"]["Code"] == "dependencyFailedException"
    assert "nobody" in caught.value.response["Error"]["Message"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memoryConfiguration", {"enabledMemoryTypes": ["SESSION_SUMMARY"]}),
        ("orchestrationType", "CUSTOM_ORCHESTRATION"),
        ("promptOverrideConfiguration", {"promptConfigurations": []}),
    ],
)
def test_what_is_not_supported_is_refused_by_name(agents, name, value):
    with pytest.raises(ClientError) as caught:
        agents.create(**{name: value})
    error = caught.value.response["Error"]
    assert error["Code"] == "ValidationException" and name in error["Message"]


def test_retrieve_and_generate_answers_with_citations(agents):
    base = {"knowledgeBaseId": KNOWLEDGE_BASE, "modelArn": MODEL}
    configuration = {"type": "KNOWLEDGE_BASE", "knowledgeBaseConfiguration": base}
    reply = agents.runtime.retrieve_and_generate(
        input={"text": QUESTION}, retrieveAndGenerateConfiguration=configuration
    )
    shape = agents.runtime.meta.service_model.operation_model("RetrieveAndGenerate").output_shape
    assert missing(shape, reply) == []
    assert "ingestion job" in reply["output"]["text"]
    check_citations(reply["output"]["text"], reply["citations"])


def test_converse_loops_over_a_tool(instance):
    runtime = instance.client("bedrock-runtime")
    spec = {
        "name": "get_order_status",
        "description": "Says how an order stands",
        "inputSchema": {
            "json": {"type": "object", "properties": {"order_number": {"type": "string"}}, "required": ["order_number"]}
        },
    }
    messages = [{"role": "user", "content": [{"text": "Where is my order A-1001?"}]}]
    config = {"tools": [{"toolSpec": spec}]}
    reply = runtime.converse(modelId=MODEL, messages=messages, toolConfig=config)
    assert reply["stopReason"] == "tool_use"
    call = reply["output"]["message"]["content"][0]["toolUse"]
    assert call["input"] == {"order_number": "A-1001"}
    result = {"toolUseId": call["toolUseId"], "content": [{"json": {"status": "shipped"}}]}
    messages += [reply["output"]["message"], {"role": "user", "content": [{"toolResult": result}]}]
    reply = runtime.converse(modelId=MODEL, messages=messages, toolConfig=config)
    assert (reply["stopReason"], reply["output"]["message"]["content"]) == ("end_turn", [{"text": "Status: shipped."}])


FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:outcrop-agent-action"
FOLDER = pathlib.Path(__file__).resolve().parents[2] / "infra" / "agent"


@pytest.fixture(scope="session")
def orders(instance, tmp_path_factory):
    """The order that the agents look up, imported as an operator does it."""
    file = tmp_path_factory.mktemp("orders") / "orders.jsonl"
    file.write_text(json.dumps({"number": "A-1001", "status": "shipped", "customer": "ada", "carrier": "Lighthouse Post"}))
    binary = os.environ.get("OUTCROP_BIN", "target/debug/outcrop")
    subprocess.run([binary, "orders", "import", str(file), "--url", instance.api], check=True, stdin=subprocess.DEVNULL)


def described():
    """The agents of `infra/agents.yaml`, what it includes among their properties: logical id to those."""
    for name, resource in decode(str(FOLDER.parent / "agents.yaml"))[0]["Resources"].items():
        if resource["Type"] == "AWS::Bedrock::Agent":
            included = resource["Properties"]["Fn::Transform"]["Parameters"]["Location"]
            yield name, json.loads((FOLDER.parent / included).read_text())


def as_the_api_has_it(node, of_names=False):
    """CloudFormation's words begin with capitals, the API's do not; names of parameters are nobody's words."""
    if isinstance(node, list):
        return [as_the_api_has_it(one) for one in node]
    if not isinstance(node, dict):
        return node
    if node == {"Ref": "AgentActionFunctionArn"}:
        return FUNCTION
    return {
        name if of_names else name[0].lower() + name[1:]: as_the_api_has_it(value, not of_names and name == "Parameters")
        for name, value in node.items()
    }


@pytest.fixture()
def deployment(agents, orders):
    """The agents as the template has them, and a knowledge base for the one that answers from documents."""
    made, aliases = {}, {}
    for logical_id, properties in described():
        name = logical_id.removesuffix("Agent")
        agent = agents("CreateAgent", **{
            "agentName": f"{name}-{uuid.uuid4().hex[:6]}",
            "description": properties["Description"],
            "instruction": properties["Instruction"],
            "agentCollaboration": properties["AgentCollaboration"],
            "foundationModel": MODEL,
        })["agent"]["agentId"]
        for group in properties.get("ActionGroups", []):
            agents("CreateAgentActionGroup", agentId=agent, agentVersion="DRAFT", **as_the_api_has_it(group))
        if name == "Knowledge":
            agents.knowledge(agent)
        for collaborator in properties.get("AgentCollaborators", []):
            alias, attribute = collaborator.pop("AgentDescriptor")["AliasArn"]["Fn::GetAtt"]
            assert attribute == "AgentAliasArn"
            agents(
                "AssociateAgentCollaborator",
                agentId=agent,
                agentVersion="DRAFT",
                agentDescriptor={"aliasArn": aliases[alias]},
                **as_the_api_has_it(collaborator),
            )
        aliases[f"{name}Alias"] = agents.publish(agent)["agentAliasArn"]
        made[f"outcrop-{name.lower()}"] = agent
    return made


ADA = {"sessionAttributes": {"outcropUser": "ada"}}


def test_a_supervisor_needs_the_order_and_the_documentation(agents, deployment):
    events = agents.invoke(
        deployment["outcrop-supervisor"],
        f"Where is my order A-1001, and {QUESTION[0].lower()}{QUESTION[1:]}",
        sessionState=ADA,
    )
    text, citations = answer(events)
    assert "shipped" in text and "Lighthouse Post" in text
    assert "ingestion job" in text
    check_citations(text, citations)
    found = steps(events)
    assert found.count((None, "AGENT_COLLABORATOR")) == 4, "two calls and what came of them"
    assert ("support", "ACTION_GROUP") in found and ("knowledge", "KNOWLEDGE_BASE") in found
    # Each collaborator heard its own part.
    inputs = [
        event["trace"]["trace"]["orchestrationTrace"]["invocationInput"]["agentCollaboratorInvocationInput"]
        for event in events
        if "invocationInput" in event.get("trace", {}).get("trace", {}).get("orchestrationTrace", {})
        and event["trace"].get("collaboratorName") is None
    ]
    assert [(each["agentCollaboratorName"], each["input"]["text"]) for each in inputs] == [
        ("support", "Where is my order A-1001"),
        ("knowledge", f"{QUESTION[0].lower()}{QUESTION[1:]}"),
    ]


def test_an_order_is_told_to_its_customer_only(agents, deployment):
    support = deployment["outcrop-support"]
    assert "shipped" in answer(agents.invoke(support, "Where is my order A-1001?", sessionState=ADA))[0]
    stranger = {"sessionAttributes": {"outcropUser": "eve"}}
    text = answer(agents.invoke(support, "Where is my order A-1001?", session="session-2", sessionState=stranger))[0]
    assert "shipped" not in text and "A-1001" in text


def test_a_ticket_waits_for_the_users_word(agents, deployment):
    support = deployment["outcrop-support"]
    events = agents.invoke(support, "Open a support ticket: my lamp arrived broken", sessionState=ADA)
    returned = events[-1]["returnControl"]
    call = returned["invocationInputs"][0]["functionInvocationInput"]
    assert (call["function"], call["actionInvocationType"]) == ("create_support_ticket", "USER_CONFIRMATION")
    confirmed = {"actionGroup": call["actionGroup"], "function": call["function"], "confirmationState": "CONFIRM"}
    state = {"invocationId": returned["invocationId"], "returnControlInvocationResults": [{"functionResult": confirmed}]}
    assert "Ticket id" in answer(agents.invoke(support, sessionState=state))[0]
