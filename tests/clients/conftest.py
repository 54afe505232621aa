"""A running laptop cloud with its sample handbook, and boto3 clients that know nothing but its endpoint."""

import contextlib
import json
import os
import pathlib
import subprocess
import time
import urllib.error
import urllib.request

import boto3
import pytest
from botocore.config import Config

PATIENCE_SECONDS = 120


class Instance:
    def __init__(self, api, aws, log):
        self.api, self.aws, self.log = api, aws, log

    def client(self, service):
        # Path-style addresses: loopback has no names for buckets. One attempt: a test wants to see each failure.
        config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
        return boto3.client(
            service,
            endpoint_url=self.aws,
            region_name="us-east-1",
            aws_access_key_id="outcrop",
            aws_secret_access_key="outcrop",
            config=config,
        )

    def http(self, method, path, body=None, headers=None):
        """Status, headers, and the body as JSON where it is."""
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        request = urllib.request.Request(self.api + path, data=data, method=method)
        request.add_header("content-type", "application/json")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as reply:
                return reply.status, reply.headers, decoded(reply.read())
        except urllib.error.HTTPError as error:
            return error.code, error.headers, decoded(error.read())

    @contextlib.contextmanager
    def fault(self, fault):
        """Makes the local Bedrock fail as told, until the block ends."""
        url = self.aws + "/_local/faults"
        urllib.request.urlopen(urllib.request.Request(url, data=json.dumps(fault).encode(), method="POST")).close()
        try:
            yield
        finally:
            urllib.request.urlopen(urllib.request.Request(url, method="DELETE")).close()

    def stream(self, question):
        """An answer's events as they come; closing the generator hangs up."""
        request = urllib.request.Request(self.api + "/v1/ask", data=json.dumps({"question": question}).encode())
        request.add_header("content-type", "application/json")
        request.add_header("accept", "text/event-stream")
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as reply:
            for line in reply:
                field, _, value = line.decode().strip().partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    yield name, json.loads(value)

    def wait_for_log(self, words, seconds=20):
        begun = time.monotonic()
        while words not in self.log.read_text():
            assert time.monotonic() - begun < seconds, self.log.read_text()
            time.sleep(0.05)


def decoded(raw):
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode()


@pytest.fixture(scope="session")
def instance(tmp_path_factory):
    data = tmp_path_factory.mktemp("outcrop")
    binary = os.environ.get("OUTCROP_BIN", "target/debug/outcrop")
    log = open(data / "log", "wb")
    child = subprocess.Popen(
        [binary, "dev", "--verbose", "--port", "0", "--aws-port", "0", "--data", str(data)],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    try:
        yield wait(child, data)
    finally:
        child.terminate()
        assert child.wait(timeout=30) == 0, "the instance ends cleanly"


def wait(child, data: pathlib.Path):
    begun = time.monotonic()
    while time.monotonic() - begun < PATIENCE_SECONDS:
        assert child.poll() is None, (data / "log").read_text()
        record = data / "instance.json"
        if record.exists():
            found = json.loads(record.read_text())
            instance = Instance(found["api"], found["aws"], data / "log")
            # Documents answer before their run has verified them, and are shown when it has.
            runs = instance.http("GET", "/v1/runs")[2]["runs"]
            if any(run["status"] == "SUCCEEDED" for run in runs):
                assert instance.http("GET", "/v1/health")[2]["documents"] >= 30
                return instance
        time.sleep(0.2)
    raise AssertionError((data / "log").read_text())
