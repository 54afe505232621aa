"""The bucket's events, from a client that knows nothing of runs: what boto3 puts below sources/ can be searched by itself, what it
deletes there cannot, in every way that S3 has for either."""

import json
import time

from conftest import PATIENCE_SECONDS

BUCKET = "outcrop-bucket"
SIDECAR = json.dumps({"metadataAttributes": {"readers": ["everyone"]}})


def put(s3, key, text):
    s3.put_object(Bucket=BUCKET, Key=key, Body=text)


def put_in_parts(s3, key, text):
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    part = s3.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=1, Body=text)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload, MultipartUpload=parts)


def put_by_copy(s3, key, text):
    put(s3, "drafts/copied.txt", text)
    s3.copy_object(Bucket=BUCKET, Key=key, CopySource={"Bucket": BUCKET, "Key": "drafts/copied.txt"})


def found(instance, query):
    status, _, reply = instance.http("POST", "/v1/search", {"query": query, "mode": "lexical"})
    assert status == 200, reply
    return len(reply["results"])


def wait_until_found(instance, query, count):
    begun = time.monotonic()
    while found(instance, query) != count:
        assert time.monotonic() - begun < PATIENCE_SECONDS, instance.log.read_text()
        time.sleep(0.2)


def test_what_is_put_is_searched_and_what_is_deleted_is_not(instance):
    s3 = instance.client("s3")
    ways = {"quetzal": put, "capercaillie": put_in_parts, "ptarmigan": put_by_copy}
    keys = {word: f"sources/default/birds/{word}.txt" for word in ways}
    for word, way in ways.items():
        put(s3, f"{keys[word]}.metadata.json", SIDECAR)
        way(s3, keys[word], f"A {word} flies over the granite.".encode())
    for word in ways:
        wait_until_found(instance, word, 1)

    # One alone, then the others together; sidecars of documents that are gone are nothing.
    s3.delete_object(Bucket=BUCKET, Key=keys["quetzal"])
    wait_until_found(instance, "quetzal", 0)
    others = [{"Key": keys[word] + end} for word in ("capercaillie", "ptarmigan") for end in ("", ".metadata.json")]
    s3.delete_objects(Bucket=BUCKET, Delete={"Objects": others})
    s3.delete_object(Bucket=BUCKET, Key=keys["quetzal"] + ".metadata.json")
    for word in ways:
        wait_until_found(instance, word, 0)
