"""boto3's Rerank against the laptop."""

import pytest
from botocore.exceptions import ClientError

MODEL = "arn:aws:bedrock:us-west-2::foundation-model/cohere.rerank-v3-5:0"
QUESTION = "When does the gate of the lighthouse open?"
TEXTS = [
    "Gate, gate, gate! Lighthouse, lighthouse! Open, open!",
    "The keeper of the lighthouse sleeps all day.",
    "Visitors come by boat. The gate of the lighthouse does open at nine.",
]


@pytest.fixture()
def runtime(instance):
    return instance.client("bedrock-agent-runtime")


def inline(text):
    return {"type": "INLINE", "inlineDocumentSource": {"type": "TEXT", "textDocument": {"text": text}}}


def wanted(texts=TEXTS, model=MODEL, **fields):
    return {
        "queries": [{"type": "TEXT", "textQuery": {"text": QUESTION}}],
        "sources": [inline(text) for text in texts],
        "rerankingConfiguration": {
            "type": "BEDROCK_RERANKING_MODEL",
            "bedrockRerankingConfiguration": {"modelConfiguration": {"modelArn": model}, **fields},
        },
    }


def test_rerank_orders_by_what_answers(runtime):
    results = runtime.rerank(**wanted())["results"]
    assert [result["index"] for result in results][0] == 2
    scores = [result["relevanceScore"] for result in results]
    assert len(results) == 3 and scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert runtime.rerank(**wanted(numberOfResults=1))["results"] == results[:1]
    # What is said of a text does not depend on the others, nor on who is asked.
    alone = runtime.rerank(**wanted(TEXTS[2:], model="amazon.rerank-v1:0"))["results"]
    assert alone[0]["relevanceScore"] == scores[0]


def test_rerank_takes_json_documents(runtime):
    request = wanted()
    request["sources"][1]["inlineDocumentSource"] = {"type": "JSON", "jsonDocument": {"hours": TEXTS[2]}}
    results = runtime.rerank(**request)["results"]
    assert [result["index"] for result in results][:2] == [1, 2]


def test_rerank_pages(runtime):
    texts = [f"{'The gate does open. ' * (number % 7)}Number {number}." for number in range(90)]
    pages = list(runtime.get_paginator("rerank").paginate(**wanted(texts)))
    found = [result["index"] for page in pages for result in page["results"]]
    assert len(pages) > 1 and sorted(found) == list(range(90))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (wanted(model="anthropic.claude-3-haiku-20240307-v1:0"), "model identifier is invalid"),
        (wanted(numberOfResults=4), "exceeds the number of sources"),
        (wanted(["x" * 32_001]), "1 to 32000 characters"),
        (wanted(["x"] * 1_001), "1 to 1000 members"),
        ({"nextToken": "forged"}, "nextToken"),
    ],
)
def test_rerank_refuses_by_name(runtime, change, words):
    with pytest.raises(ClientError) as caught:
        runtime.rerank(**{**wanted(), **change})
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert words in caught.value.response["Error"]["Message"]


def test_rerank_can_be_made_to_fail(runtime, instance):
    with instance.fault({"operation": "Rerank", "error": "ThrottlingException", "times": 1}):
        with pytest.raises(ClientError) as caught:
            runtime.rerank(**wanted())
        assert caught.value.response["Error"]["Code"] == "ThrottlingException"
        assert runtime.rerank(**wanted())["results"]
