"""The API as an HTTP client of another language sees it."""

import json
import time
import urllib.request

import pytest


def test_each_quote_is_the_stored_text(instance):
    status, _, answer = instance.http(
        "POST", "/v1/ask", {"question": "How many ingestion jobs may run at the same time for a knowledge base?"}
    )
    assert status == 200 and answer["answered"] and answer["citations"], answer
    for citation in answer["citations"]:
        _, _, document = instance.http("GET", f"/v1/documents/{citation['document_id']}/text")
        stored = document["text"].encode()[citation["start"] : citation["end"]]
        assert stored == citation["quote"].encode()
        assert citation["marker"] in answer["answer"]


def test_the_stream_arrives_in_pieces(instance):
    fault = json.dumps({"operation": "ConverseStream", "every_ms": 40, "times": 1}).encode()
    urllib.request.urlopen(urllib.request.Request(instance.aws + "/_local/faults", data=fault)).close()
    body = json.dumps({"question": "What does a guardrail do with an e-mail address?"}).encode()
    request = urllib.request.Request(instance.api + "/v1/ask", data=body)
    request.add_header("content-type", "application/json")
    request.add_header("accept", "text/event-stream")
    arrivals, names, deltas, done = [], [], [], None
    with urllib.request.urlopen(request) as reply:
        assert reply.headers["content-type"] == "text/event-stream"
        for line in reply:
            if line.startswith(b"event: "):
                names.append(line.decode().split()[1])
                arrivals.append(time.monotonic())
            elif line.startswith(b"data: ") and names[-1] == "delta":
                deltas.append(json.loads(line[6:])["text"])
            elif line.startswith(b"data: ") and names[-1] == "done":
                done = json.loads(line[6:])
    assert names[0] == "sources" and names[-1] == "done"
    assert deltas and done["answer"] == "".join(deltas)
    assert arrivals[-1] - arrivals[0] > 0.2


def test_a_file_sent_by_link_can_be_found(instance):
    text = "Pangolins sleep through the dünne harmattan."
    status, _, upload = instance.http("POST", "/v1/uploads", {"name": "notes/ü.txt", "bytes": len(text.encode())})
    assert status == 200, upload
    put = urllib.request.Request(upload["upload_url"], data=text.encode(), method="PUT")
    put.add_header("content-type", "text/plain")
    urllib.request.urlopen(put).close()
    status, _, started = instance.http("POST", "/v1/runs", {"documents": [upload["document_id"]]})
    assert status == 202, started
    run = {"status": "QUEUED"}
    begun = time.monotonic()
    while run["status"] in ("QUEUED", "RUNNING"):
        assert time.monotonic() - begun < 120, run
        time.sleep(0.2)
        run = instance.http("GET", f"/v1/runs/{started['run_id']}")[2]
    assert (run["status"], run["counts"]["published"]) == ("SUCCEEDED", 1), run
    _, _, found = instance.http("POST", "/v1/search", {"query": "pangolins harmattan"})
    first = found["results"][0]
    assert first["document_id"] == upload["document_id"]
    assert text.encode()[first["start"] : first["end"]] == first["text"].encode()


def test_the_page_comes_with_its_policy(instance):
    status, headers, page = instance.http("GET", "/")
    assert status == 200 and headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "app.js" in page


@pytest.mark.parametrize("metadata", [{"": 1}, {"a": {"": 1}}, {"a": [{"": 1}]}])
@pytest.mark.parametrize("path, more", [("/v1/uploads", {"bytes": 5}), ("/v1/documents", {"content": "words"})])
def test_metadata_without_a_name_is_refused(path, more, instance, metadata):
    status, _, body = instance.http("POST", path, {"name": "clients/a.txt", "metadata": metadata, **more})
    assert (status, body["name"]) == (400, "InvalidRequest"), body
    assert "empty" in body["detail"]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "name"),
    [
        ("POST", "/v1/ask", b"{", {}, 400, "NotJson"),
        ("POST", "/v1/ask", {"question": ""}, {}, 400, "EmptyQuestion"),
        ("POST", "/v1/ask", {"question": "a", "space": "nowhere"}, {}, 404, "UnknownSpace"),
        ("POST", "/v1/ask", b"a", {"content-type": "text/plain"}, 415, "UnsupportedMediaType"),
        ("POST", "/v1/search", {"query": "a", "filter": {"equalz": {}}}, {}, 400, "InvalidFilter"),
        ("GET", "/v1/serach", None, {}, 404, "UnknownRoute"),
        ("PUT", "/v1/ask", {}, {}, 405, "MethodNotAllowed"),
        ("GET", "/v1/documents/default.0", None, {}, 404, "DocumentNotFound"),
        ("POST", "/v1/documents", {"name": "a.txt", "content": "x" * 5_000_000}, {}, 413, "PayloadTooLarge"),
        ("POST", "/v1/ask", b"", {}, 400, "NotJson"),
        ("POST", "/v1/ask", {}, {}, 400, "EmptyQuestion"),
        ("POST", "/v1/ask", {"question": "x" * (1 << 20)}, {}, 400, "QuestionTooLong"),
        ("POST", "/v1/ask", {"question": 7}, {}, 400, "InvalidRequest"),
        ("POST", "/v1/ask", {"qestion": "a"}, {}, 400, "UnknownField"),
        ("POST", "/v1/ask", b'{"question": "\xff"}', {}, 400, "InvalidUtf8"),
        ("POST", "/v1/search", {"query": "a", "mode": "psychic"}, {}, 400, "InvalidRequest"),
        ("GET", "/v1/documents?limit=abc", None, {}, 400, "InvalidRequest"),
        ("GET", "/v1/documents?space=nowhere", None, {}, 404, "UnknownSpace"),
        ("GET", "/v1/documents/..%2f..%2fetc", None, {}, 404, "DocumentNotFound"),
        ("GET", "/v1/documents/default.0/text", None, {}, 404, "DocumentNotFound"),
        ("DELETE", "/v1/documents/default.0", None, {}, 404, "DocumentNotFound"),
        ("GET", "/v1/runs/default.0", None, {}, 404, "RunNotFound"),
        ("POST", "/v1/documents", {"name": "../../etc/passwd", "content": "x"}, {}, 400, "InvalidDocumentName"),
        ("POST", "/v1/documents", {"name": "a.txt", "content_base64": "***"}, {}, 400, "InvalidBase64"),
        ("POST", "/v1/documents", {"name": "a.txt", "content": "x", "space": "Not A"}, {}, 400, "InvalidSpaceName"),
        ("POST", "/v1/documents", {"name": "a.txt"}, {}, 400, "InvalidRequest"),
        ("POST", "/v1/uploads", {"name": "../x", "bytes": 3}, {}, 400, "InvalidDocumentName"),
        ("GET", "/", None, {"host": "evil.example"}, 403, "ForeignHost"),
    ],
)
def test_bad_input_is_named(instance, method, path, body, headers, status, name):
    found, replied, problem = instance.http(method, path, body, headers)
    assert (found, problem["name"]) == (status, name), problem
    assert replied["content-type"] == "application/problem+json"
    assert problem["detail"]


def test_a_file_that_is_not_what_its_name_says_is_refused(instance):
    body = {"name": "clients/fake.md", "content": "%!PS-Adobe-3.0 and so on"}
    status, _, accepted = instance.http("POST", "/v1/documents", body)
    assert status == 202, accepted
    begun = time.monotonic()
    while (run := instance.http("GET", f"/v1/runs/{accepted['run_id']}")[2])["status"] in ("QUEUED", "RUNNING"):
        assert time.monotonic() - begun < 120, run
        time.sleep(0.2)
    assert run["status"] == "FAILED", "nothing of the run got in"
    assert [(failure["document_id"], failure["error"]) for failure in run["failures"]] == [
        (accepted["document_id"], "ContentMismatch")
    ]


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [("ThrottlingException", 429, "ModelThrottled"), ("ModelErrorException", 502, "ModelUnavailable")],
)
def test_a_model_that_fails_is_named(instance, error, status, name):
    # More often than the service asks again.
    with instance.fault({"operation": "ConverseStream", "error": error, "times": 50}):
        found, _, problem = instance.http("POST", "/v1/ask", {"question": "What is a guardrail?"})
    assert (found, problem["name"]) == (status, name), problem
    found, _, answer = instance.http("POST", "/v1/ask", {"question": "What is a guardrail?"})
    assert found == 200 and answer["answered"], answer


def test_a_model_that_breaks_off_ends_the_stream_with_an_error(instance):
    fault = {"operation": "ConverseStream", "error": "ModelStreamErrorException", "after_events": 3, "times": 1}
    with instance.fault(fault):
        events = list(instance.stream("What does a guardrail do with an e-mail address?"))
    name, problem = events[-1]
    assert name == "error" and problem["name"] and isinstance(problem["retry"], bool), events[-1]


def test_a_client_that_hangs_up_stops_the_model(instance):
    assert "converse_stream_abandoned" not in instance.log.read_text()
    with instance.fault({"operation": "ConverseStream", "every_ms": 150, "times": 1}):
        stream = instance.stream("What does a guardrail do with an e-mail address?")
        assert next(stream)[0] == "sources"
        stream.close()
        instance.wait_for_log("converse_stream_abandoned")
