"""boto3's Bedrock agent client against the laptop: knowledge bases, their data sources, jobs and documents."""

import json
import time
import uuid

import pytest
from botocore.exceptions import ClientError

ROLE = "arn:aws:iam::000000000000:role/knowledge-base"
MODEL = "arn:aws:bedrock:us-east-1::foundation-model/amazon.titan-embed-text-v2:0"
VECTOR = {
    "type": "VECTOR",
    "vectorKnowledgeBaseConfiguration": {
        "embeddingModelArn": MODEL,
        "embeddingModelConfiguration": {"bedrockEmbeddingModelConfiguration": {"dimensions": 256}},
    },
}
STORAGE = {"type": "S3_VECTORS", "s3VectorsConfiguration": {"indexArn": "arn:aws:s3vectors:us-east-1:000000000000:bucket/b/index/i"}}
BUCKET = "outcrop-bucket"


@pytest.fixture()
def agent(instance):
    return instance.client("bedrock-agent")


@pytest.fixture()
def s3(instance):
    return instance.client("s3")


@pytest.fixture()
def runtime(instance):
    return instance.client("bedrock-agent-runtime")


def put(s3, key, text, attributes=None):
    s3.put_object(Bucket=BUCKET, Key=key, Body=text)
    if attributes is not None:
        s3.put_object(Bucket=BUCKET, Key=key + ".metadata.json", Body=json.dumps({"metadataAttributes": attributes}))


@pytest.fixture()
def base(agent):
    made = agent.create_knowledge_base(
        name="kb-" + uuid.uuid4().hex[:12],
        roleArn=ROLE,
        knowledgeBaseConfiguration=VECTOR,
        storageConfiguration=STORAGE,
    )["knowledgeBase"]
    yield made["knowledgeBaseId"]
    agent.delete_knowledge_base(knowledgeBaseId=made["knowledgeBaseId"])


@pytest.fixture()
def source(agent, base):
    """A data source over a prefix of its own: its ids, and the prefix."""
    prefix = f"kb-test/{uuid.uuid4().hex}/"
    made = agent.create_data_source(
        knowledgeBaseId=base,
        name="documents",
        dataSourceConfiguration={
            "type": "S3",
            "s3Configuration": {"bucketArn": f"arn:aws:s3:::{BUCKET}", "inclusionPrefixes": [prefix]},
        },
    )["dataSource"]
    assert made["status"] == "AVAILABLE" and made["dataDeletionPolicy"] == "DELETE"
    return {"knowledgeBaseId": base, "dataSourceId": made["dataSourceId"]}, prefix


def start(agent, ids, **more):
    """Starts a job once the account's quota has room: 0.1 requests a second."""
    begun = time.monotonic()
    while True:
        try:
            return agent.start_ingestion_job(**ids, **more)["ingestionJob"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ThrottlingException" or time.monotonic() - begun > 60:
                raise
            time.sleep(0.5)


def ended(agent, ids, job):
    begun = time.monotonic()
    while True:
        found = agent.get_ingestion_job(**ids, ingestionJobId=job["ingestionJobId"])["ingestionJob"]
        if found["status"] in ("COMPLETE", "FAILED", "STOPPED"):
            return found
        assert time.monotonic() - begun < 60, found
        time.sleep(0.05)


def settled(agent, ids, identifiers):
    """Statuses of documents once none is under way."""
    begun = time.monotonic()
    while True:
        details = agent.get_knowledge_base_documents(**ids, documentIdentifiers=identifiers)["documentDetails"]
        statuses = [detail["status"] for detail in details]
        if not set(statuses) & {"PENDING", "STARTING", "IN_PROGRESS", "DELETING", "DELETE_IN_PROGRESS"}:
            return details
        assert time.monotonic() - begun < 60, details
        time.sleep(0.3)


def s3_document(uri):
    return {"dataSourceType": "S3", "s3": {"uri": uri}}


def found(runtime, base, text, filter=None):
    search = {"numberOfResults": 10, **({"filter": filter} if filter else {})}
    reply = runtime.retrieve(
        knowledgeBaseId=base,
        retrievalQuery={"text": text},
        retrievalConfiguration={"vectorSearchConfiguration": search},
    )
    return reply["retrievalResults"]


def uris(results):
    return [result["location"]["s3Location"]["uri"] for result in results]


def test_a_job_reads_the_prefix_and_retrieve_finds_what_it_read(agent, s3, runtime, source):
    ids, prefix = source
    base = ids["knowledgeBaseId"]
    put(s3, prefix + "lamp.txt", "The lighthouse burns oil all night.", {"readers": ["user:ada"], "year": 1890})
    put(s3, prefix + "bread.md", "# Bread\n\nBread is baked from flour.", {"readers": ["everyone"]})
    put(s3, "kb-test/elsewhere.txt", "Oil that no data source reads.")
    assert found(runtime, base, "oil") == []
    job = start(agent, ids, description="first")
    assert job["status"] == "STARTING" and job["description"] == "first"
    job = ended(agent, ids, job)
    assert job["status"] == "COMPLETE"
    statistics = job["statistics"]
    assert (statistics["numberOfDocumentsScanned"], statistics["numberOfMetadataDocumentsScanned"]) == (2, 2)
    assert (statistics["numberOfNewDocumentsIndexed"], statistics["numberOfDocumentsFailed"]) == (2, 0)
    lamp = f"s3://{BUCKET}/{prefix}lamp.txt"
    results = found(runtime, base, "Which lighthouse burns oil?")
    assert uris(results)[0] == lamp and results[0]["content"]["text"] == "The lighthouse burns oil all night."
    assert results[0]["metadata"]["year"] == 1890
    assert results[0]["metadata"]["x-amz-bedrock-kb-data-source-id"] == ids["dataSourceId"]
    for_ada = {"listContains": {"key": "readers", "value": "user:ada"}}
    assert uris(found(runtime, base, "oil or bread", for_ada)) == [lamp]

    # Only what changed is brought in again; what is gone is taken out.
    put(s3, prefix + "lamp.txt", "The lighthouse has an electric lamp.", {"readers": ["everyone"], "year": 1920})
    s3.delete_object(Bucket=BUCKET, Key=prefix + "bread.md")
    job = ended(agent, ids, start(agent, ids))
    statistics = job["statistics"]
    assert statistics["numberOfModifiedDocumentsIndexed"] == 1 and statistics["numberOfDocumentsDeleted"] == 1
    assert found(runtime, base, "oil or bread", for_ada) == []
    assert uris(found(runtime, base, "electric lamp")) == [lamp]
    jobs = agent.list_ingestion_jobs(**ids, sortBy={"attribute": "STARTED_AT", "order": "DESCENDING"})
    assert [one["ingestionJobId"] for one in jobs["ingestionJobSummaries"]][0] == job["ingestionJobId"]
    running = {"attribute": "STATUS", "operator": "EQ", "values": ["STARTING", "IN_PROGRESS"]}
    assert agent.list_ingestion_jobs(**ids, filters=[running])["ingestionJobSummaries"] == []


def test_a_job_can_complete_while_documents_fail(agent, s3, runtime, source):
    ids, prefix = source
    put(s3, prefix + "good.txt", "Good words.")
    put(s3, prefix + "empty.txt", " ")
    put(s3, prefix + "picture.txt", b"\x89PNG\r\n\x1a\n" + bytes(64))
    s3.put_object(Bucket=BUCKET, Key=prefix + "torn.txt", Body="Words with torn metadata.")
    s3.put_object(Bucket=BUCKET, Key=prefix + "torn.txt.metadata.json", Body="{")
    job = ended(agent, ids, start(agent, ids))
    assert job["status"] == "COMPLETE"
    assert job["statistics"]["numberOfNewDocumentsIndexed"] == 1
    assert job["statistics"]["numberOfDocumentsFailed"] == 3
    assert any("empty.txt" in reason for reason in job["failureReasons"])
    names = ["good.txt", "empty.txt", "picture.txt", "torn.txt", "never.txt"]
    identifiers = [s3_document(f"s3://{BUCKET}/{prefix}{name}") for name in names]
    details = settled(agent, ids, identifiers)
    statuses = [detail["status"] for detail in details]
    assert statuses[0] == "INDEXED" and statuses[1] == "FAILED" and statuses[3:] == ["FAILED", "NOT_FOUND"]
    assert statuses[2] in ("FAILED", "IGNORED")
    assert "holds no text" in details[1]["statusReason"] and "metadata file" in details[3]["statusReason"]
    listed = agent.list_knowledge_base_documents(**ids)["documentDetails"]
    assert len(listed) == 4


def test_documents_are_sent_and_deleted_directly(agent, s3, runtime, source):
    ids, prefix = source
    base = ids["knowledgeBaseId"]
    put(s3, prefix + "a.txt", "Anchors hold the ship.", {"readers": ["user:ada"]})
    uri = f"s3://{BUCKET}/{prefix}a.txt"
    sent = {
        "content": {"dataSourceType": "S3", "s3": {"s3Location": {"uri": uri}}},
        "metadata": {"type": "S3_LOCATION", "s3Location": {"uri": uri + ".metadata.json"}},
    }
    missing = {"content": {"dataSourceType": "S3", "s3": {"s3Location": {"uri": f"s3://{BUCKET}/{prefix}none.txt"}}}}
    token = uuid.uuid4().hex + "-token"
    details = agent.ingest_knowledge_base_documents(**ids, clientToken=token, documents=[sent, missing])["documentDetails"]
    assert [detail["status"] for detail in details] == ["STARTING", "STARTING"]
    details = settled(agent, ids, [detail["identifier"] for detail in details])
    assert [detail["status"] for detail in details] == ["INDEXED", "FAILED"]
    assert "does not exist" in details[1]["statusReason"]
    for_ada = {"listContains": {"key": "readers", "value": "user:ada"}}
    assert uris(found(runtime, base, "anchors", for_ada)) == [uri]
    details = agent.delete_knowledge_base_documents(**ids, documentIdentifiers=[s3_document(uri)])["documentDetails"]
    assert details[0]["status"] == "DELETING"
    assert settled(agent, ids, [s3_document(uri)])[0]["status"] == "NOT_FOUND"
    assert found(runtime, base, "anchors") == []


def custom(id, text):
    inline = {"type": "TEXT", "textContent": {"data": text}}
    content = {"customDocumentIdentifier": {"id": id}, "sourceType": "IN_LINE", "inlineContent": inline}
    return {"content": {"dataSourceType": "CUSTOM", "custom": content}}


@pytest.mark.parametrize("last", ["sent", "deleted"])
def test_of_two_calls_about_a_document_the_last_one_counts(agent, instance, runtime, base, last):
    """A worker that still read what an earlier call had sent once wrote it over the later one."""
    made = agent.create_data_source(knowledgeBaseId=base, name="own", dataSourceConfiguration={"type": "CUSTOM"})
    ids = {"knowledgeBaseId": base, "dataSourceId": made["dataSource"]["dataSourceId"]}
    identifier = {"dataSourceType": "CUSTOM", "custom": {"id": "a"}}
    with instance.fault({"operation": "IngestDocument", "delay_ms": 20}):
        # Longer to read than what comes after it.
        agent.ingest_knowledge_base_documents(**ids, documents=[custom("a", "The marmot sleeps in winter. " * 4000)])
        time.sleep(0.2)
        if last == "sent":
            agent.ingest_knowledge_base_documents(**ids, documents=[custom("a", "The ibex climbs in summer.")])
        else:
            agent.delete_knowledge_base_documents(**ids, documentIdentifiers=[identifier])
    (detail,) = settled(agent, ids, [identifier])
    assert detail["status"] == ("INDEXED" if last == "sent" else "NOT_FOUND")
    # Long enough for a worker that nobody waits for.
    time.sleep(3)
    texts = [result["content"]["text"] for result in found(runtime, base, "marmot")]
    assert texts == (["The ibex climbs in summer."] if last == "sent" else [])


def test_a_custom_source_takes_text(agent, runtime, base):
    made = agent.create_data_source(knowledgeBaseId=base, name="custom", dataSourceConfiguration={"type": "CUSTOM"})
    ids = {"knowledgeBaseId": base, "dataSourceId": made["dataSource"]["dataSourceId"]}
    custom = {
        "customDocumentIdentifier": {"id": "note-1"},
        "sourceType": "IN_LINE",
        "inlineContent": {"type": "TEXT", "textContent": {"data": "The keeper sleeps at noon."}},
    }
    attribute = {"key": "team", "value": {"type": "STRING", "stringValue": "keepers"}}
    document = {
        "content": {"dataSourceType": "CUSTOM", "custom": custom},
        "metadata": {"type": "IN_LINE_ATTRIBUTE", "inlineAttributes": [attribute]},
    }
    agent.ingest_knowledge_base_documents(**ids, documents=[document])
    identifier = {"dataSourceType": "CUSTOM", "custom": {"id": "note-1"}}
    assert settled(agent, ids, [identifier])[0]["status"] == "INDEXED"
    result = found(runtime, base, "keeper")[0]
    assert result["location"] == {"type": "CUSTOM", "customDocumentLocation": {"id": "note-1"}}
    assert result["metadata"]["team"] == "keepers"
    with pytest.raises(ClientError) as caught:
        start(agent, ids)
    assert caught.value.response["Error"]["Code"] == "ValidationException"


def test_one_job_at_a_time_ten_seconds_apart(agent, instance, s3, source):
    ids, prefix = source
    put(s3, prefix + "a.txt", "Words.")
    token = uuid.uuid4().hex + "-token"
    with instance.fault({"operation": "IngestionJob", "delay_ms": 20}):
        job = start(agent, ids, clientToken=token)
        with pytest.raises(ClientError) as caught:
            agent.start_ingestion_job(**ids)
        assert caught.value.response["Error"]["Code"] == "ThrottlingException"
        assert start(agent, ids, clientToken=token)["ingestionJobId"] == job["ingestionJobId"]
        other = agent.create_data_source(
            knowledgeBaseId=ids["knowledgeBaseId"],
            name="other",
            dataSourceConfiguration={"type": "S3", "s3Configuration": {"bucketArn": f"arn:aws:s3:::{BUCKET}"}},
        )["dataSource"]
        with pytest.raises(ClientError) as caught:
            start(agent, {**ids, "dataSourceId": other["dataSourceId"]})
        assert caught.value.response["Error"]["Code"] == "ConflictException"
        assert job["ingestionJobId"] in caught.value.response["Error"]["Message"]
        assert agent.stop_ingestion_job(**ids, ingestionJobId=job["ingestionJobId"])["ingestionJob"]["status"] == "STOPPING"
        assert ended(agent, ids, job)["status"] == "STOPPED"
    with instance.fault({"operation": "IngestionJob", "error": "InternalServerException", "times": 1}):
        job = ended(agent, ids, start(agent, ids))
        assert job["status"] == "FAILED" and job["failureReasons"]


def test_the_control_operations_have_their_shapes(agent, base, source):
    ids, _ = source
    token = uuid.uuid4().hex + "-token"
    made = dict(
        name="twice-" + uuid.uuid4().hex[:8], roleArn=ROLE, knowledgeBaseConfiguration=VECTOR, storageConfiguration=STORAGE
    )
    first = agent.create_knowledge_base(clientToken=token, **made)["knowledgeBase"]
    assert agent.create_knowledge_base(clientToken=token, **made)["knowledgeBase"]["knowledgeBaseId"] == first["knowledgeBaseId"]
    refused(agent.create_knowledge_base, "ConflictException", "already exists", **made)
    agent.delete_knowledge_base(knowledgeBaseId=first["knowledgeBaseId"])
    known = agent.get_knowledge_base(knowledgeBaseId=base)["knowledgeBase"]
    assert known["status"] == "ACTIVE" and known["knowledgeBaseArn"].endswith(base)
    pages = agent.get_paginator("list_knowledge_bases").paginate()
    listed = [one["knowledgeBaseId"] for page in pages for one in page["knowledgeBaseSummaries"]]
    assert base in listed and first["knowledgeBaseId"] not in listed
    source_known = agent.get_data_source(**ids)["dataSource"]
    configuration = source_known["dataSourceConfiguration"]
    updated = agent.update_data_source(**ids, name="renamed", dataSourceConfiguration=configuration)["dataSource"]
    assert updated["name"] == "renamed"
    summaries = agent.list_data_sources(knowledgeBaseId=base)["dataSourceSummaries"]
    assert [one["name"] for one in summaries] == ["renamed"]
    assert agent.delete_data_source(**ids)["status"] == "DELETING"
    refused(agent.get_data_source, "ResourceNotFoundException", "was not found", **ids)


def refused(call, code, words, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    assert caught.value.response["Error"]["Code"] == code, caught.value
    assert words in caught.value.response["Error"]["Message"]


def test_what_is_wrong_or_not_there_is_refused_by_name(agent, base, source):
    ids, prefix = source
    nowhere = {"knowledgeBaseId": "NOTHERE000", "dataSourceId": "NOTHERE000"}
    refused(agent.get_knowledge_base, "ResourceNotFoundException", "NOTHERE000", knowledgeBaseId="NOTHERE000")
    refused(agent.get_ingestion_job, "ResourceNotFoundException", "NOTHERE000", **ids, ingestionJobId="NOTHERE000")
    refused(agent.list_knowledge_base_documents, "ResourceNotFoundException", "NOTHERE000", **nowhere)
    kendra = {"type": "KENDRA", "kendraKnowledgeBaseConfiguration": {"kendraIndexArn": "arn:aws:kendra:us-east-1:000000000000:index/" + "a" * 36}}
    made = {"name": "refused", "roleArn": ROLE, "storageConfiguration": STORAGE}
    refused(agent.create_knowledge_base, "ValidationException", "KENDRA is not supported", knowledgeBaseConfiguration=kendra, **made)
    web = {"type": "WEB", "webConfiguration": {"sourceConfiguration": {"urlConfiguration": {"seedUrls": [{"url": "https://example.com"}]}}}}
    refused(agent.create_data_source, "ValidationException", "type WEB is not supported", knowledgeBaseId=base, name="web", dataSourceConfiguration=web)
    long = s3_document("s3://bucket/" + "x" * 128)
    refused(agent.get_knowledge_base_documents, "ValidationException", "s3.uri", **ids, documentIdentifiers=[long])
    custom = {"dataSourceType": "CUSTOM", "custom": {"id": "a"}}
    refused(agent.delete_knowledge_base_documents, "ValidationException", "CUSTOM", **ids, documentIdentifiers=[custom])
    inline = {
        "content": {"dataSourceType": "S3", "s3": {"s3Location": {"uri": "s3://bucket/key"}}},
        "metadata": {"type": "IN_LINE_ATTRIBUTE", "inlineAttributes": [{"key": "a", "value": {"type": "STRING", "stringValue": "b"}}]},
    }
    refused(agent.ingest_knowledge_base_documents, "ValidationException", "S3_LOCATION", **ids, documents=[inline])
