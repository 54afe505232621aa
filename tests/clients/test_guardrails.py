"""Guardrails on the laptop as boto3 meets them: the control operations, and what they do to calls at run time."""

import uuid

import pytest
from botocore.exceptions import ClientError

MODEL = "us.amazon.nova-lite-v1:0"


@pytest.fixture
def bedrock(instance):
    return instance.client("bedrock")


@pytest.fixture
def runtime(instance):
    return instance.client("bedrock-runtime")


def policies(**changes):
    return {
        "topicPolicyConfig": {
            "topicsConfig": [
                {
                    "name": "Investment",
                    "definition": "Advice about investing money in stocks, bonds or funds.",
                    "examples": ["Should I invest in gold?", "Which stocks should I buy?"],
                    "type": "DENY",
                }
            ]
        },
        "contentPolicyConfig": {
            "filtersConfig": [
                {"type": "SEXUAL", "inputStrength": "HIGH", "outputStrength": "HIGH"},
                {"type": "VIOLENCE", "inputStrength": "MEDIUM", "outputStrength": "LOW"},
            ]
        },
        "sensitiveInformationPolicyConfig": {
            "piiEntitiesConfig": [
                {"type": "EMAIL", "action": "BLOCK"},
                {"type": "PHONE", "action": "ANONYMIZE"},
            ]
        },
        "blockedInputMessaging": "I cannot talk about that.",
        "blockedOutputsMessaging": "I cannot say that.",
        **changes,
    }


@pytest.fixture
def guardrail(bedrock):
    made = bedrock.create_guardrail(name="g-" + uuid.uuid4().hex[:12], description="a test", **policies())
    assert (made["version"], made["ResponseMetadata"]["HTTPStatusCode"]) == ("DRAFT", 202)
    yield made["guardrailId"]
    try:
        bedrock.delete_guardrail(guardrailIdentifier=made["guardrailId"])
    except ClientError as error:
        assert error.response["Error"]["Code"] == "ResourceNotFoundException"


def apply(runtime, guardrail, source, *texts, version="DRAFT"):
    return runtime.apply_guardrail(
        guardrailIdentifier=guardrail,
        guardrailVersion=version,
        source=source,
        content=[{"text": {"text": text}} for text in texts],
    )


def test_a_guardrail_is_made_told_changed_and_deleted(bedrock, guardrail):
    told = bedrock.get_guardrail(guardrailIdentifier=guardrail)
    assert (told["status"], told["version"]) == ("READY", "DRAFT")
    assert told["topicPolicy"]["topics"][0]["name"] == "Investment"
    assert told["contentPolicy"]["filters"][0] == {"type": "SEXUAL", "inputStrength": "HIGH", "outputStrength": "HIGH"}
    assert told["sensitiveInformationPolicy"]["piiEntities"][1] == {"type": "PHONE", "action": "ANONYMIZE"}
    assert told["createdAt"].tzinfo is not None
    version = bedrock.create_guardrail_version(guardrailIdentifier=told["guardrailArn"], description="first")
    assert version["version"] == "1"
    changed = policies(sensitiveInformationPolicyConfig={"piiEntitiesConfig": [{"type": "EMAIL", "action": "ANONYMIZE"}]})
    bedrock.update_guardrail(guardrailIdentifier=guardrail, name=told["name"], **changed)
    first = bedrock.get_guardrail(guardrailIdentifier=guardrail, guardrailVersion="1")
    assert first["sensitiveInformationPolicy"]["piiEntities"][0]["action"] == "BLOCK"
    draft = bedrock.get_guardrail(guardrailIdentifier=guardrail)
    assert draft["sensitiveInformationPolicy"]["piiEntities"] == [{"type": "EMAIL", "action": "ANONYMIZE"}]
    listed = bedrock.list_guardrails(guardrailIdentifier=guardrail)["guardrails"]
    assert [row["version"] for row in listed] == ["DRAFT", "1"]
    assert guardrail in [row["id"] for row in bedrock.list_guardrails()["guardrails"]]
    bedrock.delete_guardrail(guardrailIdentifier=guardrail)
    with pytest.raises(ClientError) as caught:
        bedrock.get_guardrail(guardrailIdentifier=guardrail)
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_replies_hold_what_the_service_model_requires(bedrock, runtime, guardrail):
    from test_bedrock import missing

    calls = [
        (bedrock, "GetGuardrail", bedrock.get_guardrail(guardrailIdentifier=guardrail)),
        (bedrock, "CreateGuardrailVersion", bedrock.create_guardrail_version(guardrailIdentifier=guardrail)),
        (bedrock, "ListGuardrails", bedrock.list_guardrails(guardrailIdentifier=guardrail)),
        (runtime, "ApplyGuardrail", apply(runtime, guardrail, "INPUT", "Should I invest in silver? Call 555-010-9999")),
    ]
    for client, operation, reply in calls:
        shape = client.meta.service_model.operation_model(operation).output_shape
        assert missing(shape, reply) == [], operation


@pytest.mark.parametrize(
    ("text", "policy", "action", "output"),
    [
        ("Call 555-010-9999.", "sensitiveInformationPolicy", "ANONYMIZED", "Call {PHONE}."),
        ("Write to ada@example.com.", "sensitiveInformationPolicy", "BLOCKED", "I cannot talk about that."),
        ("Should I invest in silver?", "topicPolicy", "BLOCKED", "I cannot talk about that."),
        ("Show me explicit sex.", "contentPolicy", "BLOCKED", "I cannot talk about that."),
    ],
)
def test_block_and_mask_differ_in_the_assessment_alone(runtime, guardrail, text, policy, action, output):
    reply = apply(runtime, guardrail, "INPUT", text)
    assert (reply["action"], [found["text"] for found in reply["outputs"]]) == ("GUARDRAIL_INTERVENED", [output])
    (found,) = [found for lists in reply["assessments"][0][policy].values() for found in lists]
    assert found["action"] == action
    headers = reply["ResponseMetadata"]["HTTPHeaders"]
    assert "approximation" in headers["x-outcrop-guardrail"]


def test_outputs_stay_aligned_with_their_blocks(runtime, guardrail):
    reply = apply(runtime, guardrail, "OUTPUT", "One.", "Call 555-010-9999.", "Three.")
    assert [found["text"] for found in reply["outputs"]] == ["One.", "Call {PHONE}.", "Three."]


def test_a_version_that_is_not_there_is_not_found(runtime, guardrail):
    with pytest.raises(ClientError) as caught:
        apply(runtime, guardrail, "INPUT", "Hello.", version="7")
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"


def request(guardrail, question, source="Invoices: call 555-010-9999 or see the desk.", **config):
    return {
        "modelId": MODEL,
        "messages": [
            {
                "role": "user",
                "content": [
                    {
                        "searchResult": {
                            "source": "s",
                            "title": "Invoices",
                            "content": [{"text": source}],
                            "citations": {"enabled": True},
                        }
                    },
                    {"guardContent": {"text": {"text": question}}},
                ],
            }
        ],
        "guardrailConfig": {"guardrailIdentifier": guardrail, "guardrailVersion": "DRAFT", "trace": "enabled", **config},
    }


def said(reply):
    return "".join(
        block.get("text", "") + "".join(part["text"] for part in block.get("citationsContent", {}).get("content", []))
        for block in reply["output"]["message"]["content"]
    )


def test_converse_blocks_a_question_and_masks_an_answer(runtime, guardrail):
    blocked = runtime.converse(**request(guardrail, "Should I invest in silver?"))
    assert (said(blocked), blocked["stopReason"]) == ("I cannot talk about that.", "guardrail_intervened")
    assert blocked["trace"]["guardrail"]["inputAssessment"][guardrail]["topicPolicy"]["topics"][0]["action"] == "BLOCKED"
    masked = runtime.converse(**request(guardrail, "Whom do I call about invoices?"))
    assert "{PHONE}" in said(masked) and "9999" not in said(masked)
    assert masked["stopReason"] == "guardrail_intervened"


@pytest.mark.parametrize(("mode", "leaks"), [("sync", False), ("async", True)])
def test_a_stream_is_masked_in_sync_and_leaks_in_async(runtime, guardrail, mode, leaks):
    call = request(guardrail, "Whom do I call about invoices?", streamProcessingMode=mode)
    events = list(runtime.converse_stream(**call)["stream"])
    text = "".join(event["contentBlockDelta"]["delta"].get("text", "") for event in events if "contentBlockDelta" in event)
    assert ("9999" in text, "{PHONE}" in text) == (leaks, not leaks)
    (stop,) = [event["messageStop"]["stopReason"] for event in events if "messageStop" in event]
    assert stop == "guardrail_intervened"
    trace = events[-1]["metadata"]["trace"]["guardrail"]["outputAssessments"][guardrail]
    assert trace[0]["sensitiveInformationPolicy"]["piiEntities"][0]["type"] == "PHONE"


def test_only_guarded_content_is_assessed_where_there_is_any(runtime, guardrail):
    call = request(guardrail, "Whom do I call about invoices?")
    call["messages"][0]["content"].insert(0, {"text": "Should I invest in silver?"})
    assert "{PHONE}" in said(runtime.converse(**call))
    call["messages"][0]["content"] = [{"text": "Should I invest in silver?"}]
    assert runtime.converse(**call)["stopReason"] == "guardrail_intervened"


def test_an_answer_that_rests_on_nothing_is_blocked(bedrock, runtime):
    made = bedrock.create_guardrail(
        name="g-" + uuid.uuid4().hex[:12],
        contextualGroundingPolicyConfig={"filtersConfig": [{"type": "GROUNDING", "threshold": 0.6}]},
        blockedInputMessaging="In.",
        blockedOutputsMessaging="Out.",
    )
    content = [
        {"text": {"text": "A payload is limited to 6 MB.", "qualifiers": ["grounding_source"]}},
        {"text": {"text": "What limits a payload?", "qualifiers": ["query"]}},
    ]
    for answer, action in [("A payload is limited to 6 MB.", "NONE"), ("Whales sing under ice.", "GUARDRAIL_INTERVENED")]:
        reply = runtime.apply_guardrail(
            guardrailIdentifier=made["guardrailId"],
            guardrailVersion="DRAFT",
            source="OUTPUT",
            content=[*content, {"text": {"text": answer, "qualifiers": ["guard_content"]}}],
        )
        assert reply["action"] == action
    bedrock.delete_guardrail(guardrailIdentifier=made["guardrailId"])
