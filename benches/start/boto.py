"""A search as a handler with boto3's three clients begins it: space, manifest, first bytes of a segment, the question's vector.

It ranks nothing: it is measured for getting so far.
"""

import json
import os

import boto3

table = boto3.client("dynamodb")
bucket = boto3.client("s3")
bedrock = boto3.client("bedrock-runtime")


def rows():
    """The space's and the manifest's."""
    name, kinds = os.environ["OUTCROP_TABLE"], ["SETTINGS", "MANIFEST"]
    keys = [{"pk": {"S": "SPACE#default"}, "sk": {"S": kind}} for kind in kinds]
    found = table.batch_get_item(RequestItems={name: {"Keys": keys, "ConsistentRead": True}})["Responses"][name]
    return {item["sk"]["S"]: item for item in found}


def first_bytes(key):
    """From disk where a file is named."""
    if file := os.environ.get("SEGMENT_FILE"):
        with open(file, "rb") as segment:
            return segment.read(65536)
    return bucket.get_object(Bucket=os.environ["OUTCROP_BUCKET"], Key=key, Range="bytes=0-65535")["Body"].read()


def search(event, context):
    question = json.loads(event["body"])["query"]
    segment = json.loads(rows()["MANIFEST"]["body"]["S"])["segments"][0]
    first = first_bytes(segment["key"])
    body = {"inputText": question, "dimensions": int(os.environ["OUTCROP_EMBED_DIMENSIONS"]), "normalize": True}
    reply = bedrock.invoke_model(modelId=os.environ["OUTCROP_EMBED_MODEL"], body=json.dumps(body))
    vector = json.load(reply["body"])["embedding"]
    return {"statusCode": 200, "body": json.dumps({"results": [len(first), len(vector)]})}


def health(event, context):
    rows()
    return {"statusCode": 200, "body": "{}"}
