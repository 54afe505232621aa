"""boto3's Bedrock clients against the laptop, with only the endpoint set."""

import json
import math
import urllib.request

import pytest
from botocore.exceptions import ClientError, EventStreamError

MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
RESULTS = [
    {
        "searchResult": {
            "source": "handbook",
            "title": "Lighthouse",
            "content": [{"text": "The keeper climbs one hundred stairs."}, {"text": "The lamp burns oil."}],
            "citations": {"enabled": True},
        }
    }
]


def question(text, results=()):
    return [{"role": "user", "content": [*results, {"text": text}]}]


@pytest.fixture()
def runtime(instance):
    return instance.client("bedrock-runtime")


def test_converse_answers_plainly(runtime):
    reply = runtime.converse(modelId=MODEL, messages=question("hello"))
    assert reply["output"]["message"]["role"] == "assistant" and reply["stopReason"] == "end_turn"
    assert [list(block) for block in reply["output"]["message"]["content"]] == [["text"]]
    usage = reply["usage"]
    assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"]


def test_converse_cites_only_where_it_is_asked_to(runtime):
    silent = {"searchResult": {**RESULTS[0]["searchResult"], "citations": {"enabled": False}}}
    reply = runtime.converse(modelId=MODEL, messages=question("How many stairs does the keeper climb?", [silent]))
    content = reply["output"]["message"]["content"]
    assert "hundred stairs" in "".join(block["text"] for block in content)


def test_converse_cites_search_results(runtime):
    reply = runtime.converse(modelId=MODEL, messages=question("How many stairs does the keeper climb?", RESULTS))
    assert reply["stopReason"] == "end_turn"
    assert reply["usage"]["inputTokens"] > 0 and reply["usage"]["outputTokens"] > 0
    cited = [block["citationsContent"] for block in reply["output"]["message"]["content"] if "citationsContent" in block]
    location = cited[0]["citations"][0]["location"]["searchResultLocation"]
    assert location == {"searchResultIndex": 0, "start": 0, "end": 1}
    assert cited[0]["citations"][0]["sourceContent"][0]["text"] == "The keeper climbs one hundred stairs."


def test_converse_stream_sends_events_in_order(runtime):
    reply = runtime.converse_stream(modelId=MODEL, messages=question("How many stairs does the keeper climb?", RESULTS))
    events = list(reply["stream"])
    names = [next(iter(event)) for event in events]
    assert names[0] == "messageStart" and names[-2:] == ["messageStop", "metadata"]
    deltas = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
    assert "hundred stairs" in "".join(delta.get("text", "") for delta in deltas)
    assert any("citation" in delta for delta in deltas)
    assert events[-1]["metadata"]["usage"]["totalTokens"] > 0


@pytest.mark.parametrize("dimensions", [256, 512, 1024])
def test_titan_embeddings_have_length_one(runtime, dimensions):
    body = json.dumps({"inputText": "granite", "dimensions": dimensions, "normalize": True})
    reply = json.loads(runtime.invoke_model(modelId="amazon.titan-embed-text-v2:0", body=body)["body"].read())
    assert len(reply["embedding"]) == dimensions
    assert math.isclose(math.hypot(*reply["embedding"]), 1, rel_tol=1e-4)
    assert reply["inputTextTokenCount"] >= 1


def test_cohere_embeddings_come_for_each_text(runtime):
    body = json.dumps({"texts": ["granite", "basalt"], "input_type": "search_document"})
    reply = json.loads(runtime.invoke_model(modelId="cohere.embed-english-v3", body=body)["body"].read())
    assert [len(embedding) for embedding in reply["embeddings"]] == [1024, 1024]
    assert reply["response_type"] == "embeddings_floats"


def test_the_guardrail_masks_an_address(runtime):
    reply = runtime.apply_guardrail(
        guardrailIdentifier="outcrop-default",
        guardrailVersion="DRAFT",
        source="OUTPUT",
        content=[{"text": {"text": "Write to ada@example.com for the key."}}],
    )
    assert reply["action"] == "GUARDRAIL_INTERVENED"
    assert "ada@example.com" not in reply["outputs"][0]["text"]
    found = reply["assessments"][0]["sensitiveInformationPolicy"]["piiEntities"][0]
    assert (found["type"], found["action"]) == ("EMAIL", "ANONYMIZED")


def test_the_guardrail_leaves_plain_text_alone(runtime):
    reply = runtime.apply_guardrail(
        guardrailIdentifier="outcrop-default",
        guardrailVersion="DRAFT",
        source="OUTPUT",
        content=[{"text": {"text": "The keeper climbs one hundred stairs."}}],
    )
    assert (reply["action"], reply["outputs"]) == ("NONE", [])


def test_tokens_are_counted(runtime):
    reply = runtime.count_tokens(
        modelId="anthropic.claude-sonnet-4-5-20250929-v1:0", input={"converse": {"messages": question("one two three")}}
    )
    assert reply["inputTokens"] > 0


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda runtime: runtime.converse(modelId="no.such-model", messages=question("hello")), "ValidationException"),
        (lambda runtime: runtime.converse(modelId=MODEL, messages=[]), "ValidationException"),
        (
            lambda runtime: runtime.apply_guardrail(
                guardrailIdentifier="nothing", guardrailVersion="1", source="INPUT", content=[{"text": {"text": "a"}}]
            ),
            "ResourceNotFoundException",
        ),
        (
            lambda runtime: runtime.invoke_model(modelId="amazon.titan-embed-text-v2:0", body='{"inputText": ""}'),
            "ValidationException",
        ),
    ],
)
def test_errors_have_their_names(runtime, call, code):
    with pytest.raises(ClientError) as caught:
        call(runtime)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["Error"]["Message"]


def test_a_throttled_call_says_so_once(instance, runtime):
    fault = json.dumps({"operation": "Converse", "error": "ThrottlingException", "times": 1}).encode()
    request = urllib.request.Request(instance.aws + "/_local/faults", data=fault, method="POST")
    urllib.request.urlopen(request).close()
    with pytest.raises(ClientError) as caught:
        runtime.converse(modelId=MODEL, messages=question("hello"))
    assert caught.value.response["Error"]["Code"] == "ThrottlingException"
    runtime.converse(modelId=MODEL, messages=question("hello"))


def test_a_stream_that_breaks_off_raises_after_its_first_events(instance, runtime):
    fault = json.dumps(
        {"operation": "ConverseStream", "error": "ModelStreamErrorException", "after_events": 2, "times": 1}
    ).encode()
    request = urllib.request.Request(instance.aws + "/_local/faults", data=fault, method="POST")
    urllib.request.urlopen(request).close()
    seen = []
    with pytest.raises(EventStreamError) as caught:
        for event in runtime.converse_stream(modelId=MODEL, messages=question("hello"))["stream"]:
            seen.append(next(iter(event)))
    assert seen == ["messageStart", "contentBlockDelta"]
    assert caught.value.response["Error"]["Code"] == "modelStreamErrorException"


@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("Converse", lambda runtime: runtime.converse(modelId=MODEL, messages=question("How many stairs?", RESULTS))),
        (
            "ApplyGuardrail",
            lambda runtime: runtime.apply_guardrail(
                guardrailIdentifier="outcrop-default",
                guardrailVersion="DRAFT",
                source="OUTPUT",
                content=[{"text": {"text": "Write to ada@example.com for the key."}}],
            ),
        ),
    ],
)
def test_replies_hold_what_the_service_model_requires(runtime, operation, call):
    """botocore does not check replies: a required member that is missing would only be absent."""
    shape = runtime.meta.service_model.operation_model(operation).output_shape
    assert missing(shape, call(runtime)) == []


def missing(shape, value, path="reply"):
    """Required members that are not there, and members that are null."""
    if value is None:
        return [path]
    if shape.type_name == "structure":
        absent = [f"{path}.{name}" for name in shape.required_members if name not in value]
        inner = [(shape.members[name], value[name], f"{path}.{name}") for name in value if name in shape.members]
        return absent + [found for part in inner for found in missing(*part)]
    if shape.type_name == "list":
        inner = [missing(shape.member, item, f"{path}[{index}]") for index, item in enumerate(value)]
        return [found for part in inner for found in part]
    return []
