"""boto3 against DynamoDB, S3, Step Functions and Lambda of the laptop, with only the endpoint set."""

import io
import json
import urllib.error
import urllib.request

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

BUCKET = "outcrop-bucket"


def test_dynamodb_keeps_items_and_conditions(instance):
    dynamo = instance.client("dynamodb")
    key = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
    attributes = [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")]
    dynamo.create_table(TableName="mine", KeySchema=key, AttributeDefinitions=attributes, BillingMode="PAY_PER_REQUEST")
    for number in range(3):
        dynamo.put_item(TableName="mine", Item={"pk": {"S": "a"}, "sk": {"S": str(number)}, "n": {"N": str(number)}})
    item = dynamo.get_item(TableName="mine", Key={"pk": {"S": "a"}, "sk": {"S": "1"}})["Item"]
    assert item["n"] == {"N": "1"}
    found = dynamo.query(
        TableName="mine", KeyConditionExpression="pk = :a", ExpressionAttributeValues={":a": {"S": "a"}}
    )
    assert found["Count"] == 3
    with pytest.raises(ClientError) as caught:
        dynamo.put_item(
            TableName="mine",
            Item={"pk": {"S": "a"}, "sk": {"S": "1"}},
            ConditionExpression="attribute_not_exists(pk)",
        )
    assert caught.value.response["Error"]["Code"] == "ConditionalCheckFailedException"


def test_dynamodb_batches_and_pages(instance):
    dynamo = instance.client("dynamodb")
    key = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
    attributes = [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")]
    dynamo.create_table(
        TableName="batches", KeySchema=key, AttributeDefinitions=attributes, BillingMode="PAY_PER_REQUEST"
    )
    keys = [{"pk": {"S": "a"}, "sk": {"S": f"{number:03}"}} for number in range(26)]
    puts = [{"PutRequest": {"Item": item}} for item in keys]
    with pytest.raises(ClientError) as caught:
        dynamo.batch_write_item(RequestItems={"batches": puts})
    assert caught.value.response["Error"]["Code"] == "ValidationException", "25 is the limit of one batch"
    assert dynamo.batch_write_item(RequestItems={"batches": puts[:25]})["UnprocessedItems"] == {}
    found = dynamo.batch_get_item(RequestItems={"batches": {"Keys": keys}})["Responses"]["batches"]
    assert {item["sk"]["S"] for item in found} == {f"{number:03}" for number in range(25)}
    pages = dynamo.get_paginator("query").paginate(
        TableName="batches",
        KeyConditionExpression="pk = :a AND sk BETWEEN :low AND :high",
        ExpressionAttributeValues={":a": {"S": "a"}, ":low": {"S": "003"}, ":high": {"S": "009"}},
        ScanIndexForward=False,
        PaginationConfig={"PageSize": 3},
    )
    found = [[item["sk"]["S"] for item in page["Items"]] for page in pages]
    assert found[:3] == [["009", "008", "007"], ["006", "005", "004"], ["003"]]
    with pytest.raises(ClientError) as caught:
        dynamo.get_item(TableName="nothing", Key=keys[0])
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_s3_keeps_objects(instance):
    s3 = instance.client("s3")
    s3.put_object(Bucket=BUCKET, Key="try/größe.txt", Body=b"granite")
    assert s3.get_object(Bucket=BUCKET, Key="try/größe.txt")["Body"].read() == b"granite"
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix="try/")
    assert [entry["Key"] for entry in listed["Contents"]] == ["try/größe.txt"]
    s3.delete_object(Bucket=BUCKET, Key="try/größe.txt")
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket=BUCKET, Key="try/größe.txt")
    assert caught.value.response["Error"]["Code"] == "NoSuchKey"


def test_s3_buckets_parts_ranges_and_pages(instance):
    s3 = instance.client("s3")
    s3.create_bucket(Bucket="mine-own")
    assert {"mine-own", BUCKET} <= {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    large = bytes(range(256)) * (6 << 12)
    parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    s3.upload_fileobj(io.BytesIO(large), "mine-own", "large", Config=parts)
    assert s3.get_object(Bucket="mine-own", Key="large")["Body"].read() == large
    piece = s3.get_object(Bucket="mine-own", Key="large", Range="bytes=1000-1299")["Body"].read()
    assert piece == large[1000:1300]
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket="mine-own", Key="large", Body=b"x", IfNoneMatch="*")
    assert caught.value.response["Error"]["Code"] == "PreconditionFailed"
    for number in range(5):
        s3.put_object(Bucket="mine-own", Key=f"l/{number}", Body=b"")
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket="mine-own", Prefix="l/", PaginationConfig={"PageSize": 2}
    )
    listed = [[entry["Key"] for entry in page["Contents"]] for page in pages]
    assert listed == [["l/0", "l/1"], ["l/2", "l/3"], ["l/4"]]


def test_s3_links_work_without_credentials(instance):
    s3 = instance.client("s3")
    put = s3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "try/link"}, ExpiresIn=60)
    # The older signature form covers the content type, and urllib would make one up.
    request = urllib.request.Request(put, data=b"by link", method="PUT", headers={"content-type": ""})
    urllib.request.urlopen(request).close()
    get = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "try/link"}, ExpiresIn=60)
    with urllib.request.urlopen(get) as reply:
        assert reply.read() == b"by link"


def test_s3_verifies_signatures(instance):
    s3 = instance.client("s3")
    link = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "try/x"}, ExpiresIn=60)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(link.replace("try/x", "try/y"))
    assert caught.value.code == 403 and b"SignatureDoesNotMatch" in caught.value.read()


def test_step_functions_show_the_samples_run(instance):
    states = instance.client("stepfunctions")
    machine = states.list_state_machines()["stateMachines"][0]
    assert machine["name"] == "outcrop-ingest"
    execution = states.list_executions(stateMachineArn=machine["stateMachineArn"])["executions"][-1]
    described = states.describe_execution(executionArn=execution["executionArn"])
    assert described["status"] == "SUCCEEDED"
    assert json.loads(described["output"])["status"] == "SUCCEEDED"
    events = states.get_execution_history(executionArn=execution["executionArn"], maxResults=1000)["events"]
    kinds = [event["type"] for event in events]
    assert kinds[0] == "ExecutionStarted" and kinds[-1] == "ExecutionSucceeded"
    assert "MapRunStarted" in kinds or "MapStateStarted" in kinds


def test_lambda_tells_a_functions_error_from_its_own(instance):
    functions = instance.client("lambda")
    reply = functions.invoke(FunctionName="outcrop-ingest", Payload=b'{"step": "dance"}')
    assert reply["StatusCode"] == 200 and reply["FunctionError"] == "Unhandled"
    assert json.loads(reply["Payload"].read())["errorType"] == "InvalidStepInput"
    with pytest.raises(ClientError) as caught:
        functions.invoke(FunctionName="nobody")
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_a_service_that_is_not_here_is_named(instance):
    with pytest.raises(ClientError) as caught:
        instance.client("sqs").list_queues()
    assert "sqs" in caught.value.response["Error"]["Message"]
