"""Batch inference on the laptop as boto3 meets it: jobs over objects, their statuses, their output."""

import json
import time
import uuid

import pytest
from botocore.exceptions import ClientError

TITAN = "amazon.titan-embed-text-v2:0"
ROLE = "arn:aws:iam::000000000000:role/batch"
RECORDS = 120


@pytest.fixture
def bedrock(instance):
    return instance.client("bedrock")


@pytest.fixture
def bucket(instance):
    name = "batch-" + uuid.uuid4().hex[:12]
    instance.client("s3").create_bucket(Bucket=name)
    return name


def body(number):
    return {"inputText": f"Marmot number {number} sleeps.", "dimensions": 256, "normalize": True}


def records(count, first=0):
    rows = ({"recordId": f"R{number:010}", "modelInput": body(number)} for number in range(first, first + count))
    return "".join(json.dumps(row) + "\n" for row in rows)


def create(bedrock, bucket, **changes):
    wanted = {
        "jobName": "job-" + uuid.uuid4().hex[:12],
        "roleArn": ROLE,
        "modelId": TITAN,
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": f"s3://{bucket}/in/", "s3InputFormat": "JSONL"}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": f"s3://{bucket}/out/"}},
        **changes,
    }
    return bedrock.create_model_invocation_job(**wanted)["jobArn"]


def ended(bedrock, arn, seconds=60):
    begun = time.monotonic()
    while True:
        job = bedrock.get_model_invocation_job(jobIdentifier=arn)
        if job["status"] not in ("Submitted", "Validating", "Scheduled", "InProgress", "Stopping"):
            return job
        assert time.monotonic() - begun < seconds, job
        time.sleep(0.05)


def output(instance, bucket, arn, name):
    key = f"out/{arn.rsplit('/')[-1]}/{name}"
    text = instance.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode()
    return [json.loads(line) for line in text.splitlines()]


def test_a_job_embeds_as_invoke_model_does(instance, bedrock, bucket):
    instance.client("s3").put_object(Bucket=bucket, Key="in/a.jsonl", Body=records(RECORDS))
    arn = create(bedrock, bucket, timeoutDurationInHours=48, tags=[{"key": "team", "value": "search"}])
    job = ended(bedrock, arn)
    assert job["status"] == "Completed", job
    counts = ("totalRecordCount", "processedRecordCount", "successRecordCount", "errorRecordCount")
    assert [job[name] for name in counts] == [RECORDS, RECORDS, RECORDS, 0]
    assert job["endTime"] >= job["submitTime"]
    assert (job["jobExpirationTime"] - job["submitTime"]).total_seconds() == 48 * 3600
    told = output(instance, bucket, arn, "a.jsonl.out")
    assert [line["recordId"] for line in told] == [f"R{number:010}" for number in range(RECORDS)]
    runtime = instance.client("bedrock-runtime")
    invoked = runtime.invoke_model(modelId=TITAN, body=json.dumps(body(7)))
    assert told[7]["modelOutput"] == json.loads(invoked["body"].read())
    (manifest,) = output(instance, bucket, arn, "manifest.json.out")
    assert manifest["successRecordCount"] == RECORDS
    assert manifest["inputTokenCount"] == sum(line["modelOutput"]["inputTextTokenCount"] for line in told)


def test_records_that_fail_are_told_and_the_others_are_there(instance, bedrock, bucket):
    instance.client("s3").put_object(Bucket=bucket, Key="in/a.jsonl", Body=records(RECORDS))
    fault = {"operation": "ModelInvocationJobRecord", "error": "ThrottlingException", "share": 0.25}
    with instance.fault(fault):
        arn = create(bedrock, bucket)
        job = ended(bedrock, arn)
    assert (job["status"], job["errorRecordCount"]) == ("Completed", RECORDS // 4)
    told = output(instance, bucket, arn, "a.jsonl.out")
    errors = [line["error"] for line in told if "error" in line]
    assert len(errors) == RECORDS // 4 and {error["errorCode"] for error in errors} == {429}
    assert all(("modelOutput" in line) != ("error" in line) for line in told)


def test_too_few_records_fail_the_job(instance, bedrock, bucket):
    instance.client("s3").put_object(Bucket=bucket, Key="in/a.jsonl", Body=records(99))
    job = ended(bedrock, create(bedrock, bucket))
    assert job["status"] == "Failed"
    assert "less records (99) than the required minimum of: 100" in job["message"]


def test_a_token_is_one_job_however_often_it_is_sent(instance, bedrock, bucket):
    instance.client("s3").put_object(Bucket=bucket, Key="in/a.jsonl", Body=records(RECORDS))
    token, name = uuid.uuid4().hex, "once-" + uuid.uuid4().hex[:12]
    arns = {create(bedrock, bucket, clientRequestToken=token, jobName=name) for _ in range(3)}
    assert len(arns) == 1
    pages = bedrock.get_paginator("list_model_invocation_jobs").paginate(nameContains=name)
    assert [job["jobArn"] for page in pages for job in page["invocationJobSummaries"]] == list(arns)


def test_a_job_is_stopped_and_keeps_what_it_has(instance, bedrock, bucket):
    instance.client("s3").put_object(Bucket=bucket, Key="in/a.jsonl", Body=records(RECORDS))
    with instance.fault({"operation": "ModelInvocationJobRecord", "delay_ms": 100}):
        arn = create(bedrock, bucket)
        while not bedrock.get_model_invocation_job(jobIdentifier=arn).get("processedRecordCount"):
            time.sleep(0.02)
        bedrock.stop_model_invocation_job(jobIdentifier=arn)
        job = ended(bedrock, arn)
    assert job["status"] == "Stopped"
    assert 0 < len(output(instance, bucket, arn, "a.jsonl.out")) < RECORDS
    with pytest.raises(ClientError) as refused:
        bedrock.stop_model_invocation_job(jobIdentifier=arn)
    assert refused.value.response["Error"]["Code"] == "ConflictException"


@pytest.mark.parametrize(
    "changes, code",
    [
        ({"roleArn": "arn:aws:iam::000000000000:user/me"}, "ValidationException"),
        ({"modelId": "mars.embed-v1"}, "ValidationException"),
        ({"timeoutDurationInHours": 200}, "ValidationException"),
        ({"jobName": "-"}, "ValidationException"),
    ],
)
def test_what_can_be_no_job_is_refused(bedrock, bucket, changes, code):
    with pytest.raises(ClientError) as refused:
        create(bedrock, bucket, **changes)
    assert refused.value.response["Error"]["Code"] == code


def test_a_job_that_is_not_there_is_told(bedrock):
    with pytest.raises(bedrock.exceptions.ResourceNotFoundException):
        bedrock.get_model_invocation_job(jobIdentifier="abcdefghijkl")
