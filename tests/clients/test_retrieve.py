"""boto3's Bedrock agent runtime against the laptop: a knowledge base is a space."""

import time

import pytest
from botocore.exceptions import ClientError

KNOWLEDGE_BASE = "defaultXXX"
QUESTION = {"text": "How many ingestion jobs can a knowledge base run at once?"}


@pytest.fixture()
def runtime(instance):
    return instance.client("bedrock-agent-runtime")


def vector(**fields):
    return {"vectorSearchConfiguration": fields}


def test_retrieve_gives_passages_with_their_place(runtime, instance):
    reply = runtime.retrieve(
        knowledgeBaseId=KNOWLEDGE_BASE, retrievalQuery=QUESTION, retrievalConfiguration=vector(numberOfResults=3)
    )
    results = reply["retrievalResults"]
    assert len(results) == 3
    assert [result["score"] for result in results] == sorted((result["score"] for result in results), reverse=True)
    first = results[0]
    assert first["content"]["type"] == "TEXT" and "ingestion job" in first["content"]["text"]
    assert first["location"]["type"] == "S3"
    assert first["location"]["s3Location"]["uri"] == first["metadata"]["x-amz-bedrock-kb-source-uri"]
    assert first["metadata"]["readers"] == ["everyone", "user:local"]
    # The sample's run goes on with verifying for a moment after it has become searchable.
    path, begun = f"/v1/documents/{first['documentId']}/text", time.monotonic()
    while instance.http("GET", path)[0] == 404 and time.monotonic() - begun < 60:
        time.sleep(0.2)
    assert first["content"]["text"] in instance.http("GET", path)[2]["text"]


def test_retrieve_takes_an_arn_and_the_managed_form(runtime):
    arn = f"arn:aws:bedrock:us-east-1:000000000000:knowledge-base/{KNOWLEDGE_BASE}"
    reply = runtime.retrieve(
        knowledgeBaseId=arn,
        retrievalQuery=QUESTION,
        retrievalConfiguration={"managedSearchConfiguration": {"numberOfResults": 2}},
    )
    assert len(reply["retrievalResults"]) == 2


def test_retrieve_pages_without_gaps_or_repeats(runtime):
    pages = runtime.get_paginator("retrieve").paginate(
        knowledgeBaseId=KNOWLEDGE_BASE, retrievalQuery=QUESTION, retrievalConfiguration=vector(numberOfResults=40)
    )
    chunks = [[result["metadata"]["x-amz-bedrock-kb-chunk-id"] for result in page["retrievalResults"]] for page in pages]
    assert len(chunks) > 1 and all(len(chunk) == 40 for chunk in chunks[:-1])
    flat = [chunk for page in chunks for chunk in page]
    assert len(flat) == len(set(flat))


def test_retrieve_filters(runtime):
    def found(condition):
        reply = runtime.retrieve(
            knowledgeBaseId=KNOWLEDGE_BASE,
            retrievalQuery=QUESTION,
            retrievalConfiguration=vector(numberOfResults=100, filter=condition, overrideSearchType="SEMANTIC"),
        )
        return len(reply["retrievalResults"])

    everyone = {"listContains": {"key": "readers", "value": "everyone"}}
    nobody = {"listContains": {"key": "readers", "value": "user:nobody"}}
    assert found(everyone) > 0 and found(nobody) == 0
    assert found({"orAll": [everyone, nobody]}) == found(everyone)
    assert found({"andAll": [everyone, nobody]}) == 0


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"knowledgeBaseId": "ABCDEFGHIJ"}, "ResourceNotFoundException", "ABCDEFGHIJ"),
        ({"knowledgeBaseId": "nothereXXX"}, "ResourceNotFoundException", "nothereXXX"),
        ({"retrievalQuery": {"text": ""}}, "ValidationException", "retrievalQuery.text"),
        ({"nextToken": "forged"}, "ValidationException", "nextToken"),
        ({"userContext": {"userId": "ada"}}, "ValidationException", "userContext is not supported"),
        (
            {"retrievalConfiguration": vector(filter={"in": {"key": "team", "value": []}})},
            "ValidationException",
            "in.value: must have 1 to 100 values",
        ),
    ],
)
def test_retrieve_refuses_by_name(runtime, change, code, words):
    with pytest.raises(ClientError) as caught:
        runtime.retrieve(**{"knowledgeBaseId": KNOWLEDGE_BASE, "retrievalQuery": QUESTION, **change})
    assert caught.value.response["Error"]["Code"] == code
    assert words in caught.value.response["Error"]["Message"]


def test_retrieve_can_be_made_to_fail(runtime, instance):
    with instance.fault({"operation": "Retrieve", "error": "ThrottlingException", "times": 1}):
        with pytest.raises(ClientError) as caught:
            runtime.retrieve(knowledgeBaseId=KNOWLEDGE_BASE, retrievalQuery=QUESTION)
        assert caught.value.response["Error"]["Code"] == "ThrottlingException"
        assert runtime.retrieve(knowledgeBaseId=KNOWLEDGE_BASE, retrievalQuery=QUESTION)["retrievalResults"]
