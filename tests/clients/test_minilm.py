"""The sentence embedder with its real weights: brought, served, and a space moved over to it."""

import concurrent.futures
import contextlib
import json
import math
import os
import pathlib
import subprocess
import sys
import time

import pytest
from botocore.exceptions import ClientError
from conftest import PATIENCE_SECONDS, Instance

BINARY = os.environ.get("OUTCROP_BIN", "target/debug/outcrop")
MODEL = "outcrop.minilm-l6-v2"
# Vectors of PyTorch 2.15 and transformers 5.24 from the same weights, float32, at most 512 tokens.
REFERENCE = json.loads((pathlib.Path(__file__).parent / "minilm_reference.json").read_text())

DOCUMENTS = {
    "clinic.txt": "The physician prescribed medicine because the child was feverish.",
    "alloys.txt": "High temperature alloys gave turbine blades a longer life.",
    "kids.txt": "Kids gave each other drawings for the exhibition.",
    "law.txt": "The doctor of laws gave a lecture on contracts.",
}
# More than one batch of the state machine, so that one may fail alone.
DOCUMENTS |= {f"note-{number}.txt": f"Note {number} on granite." for number in range(8)}
PARAPHRASE = "A doctor gave kids drugs for high temperature"


def outcrop(*arguments, code=0):
    ended = subprocess.run([BINARY, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended


@contextlib.contextmanager
def running(data, *flags):
    (data / "instance.json").unlink(missing_ok=True)
    with open(data / "log", "wb") as log:
        command = [BINARY, "dev", "--no-sample", "--port", "0", "--aws-port", "0", "--data", str(data), *flags]
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        begun = time.monotonic()
        while not (data / "instance.json").exists():
            assert child.poll() is None and time.monotonic() - begun < PATIENCE_SECONDS, (data / "log").read_text()
            time.sleep(0.05)
        found = json.loads((data / "instance.json").read_text())
        yield Instance(found["api"], found["aws"], data / "log")
    finally:
        child.terminate()
        assert child.wait(timeout=30) == 0


def best(instance):
    status, _, body = instance.http("POST", "/v1/search", {"query": PARAPHRASE, "mode": "vector", "limit": 1})
    assert status == 200, body
    return body["results"][0]["uri"].rsplit("/", 1)[-1]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with documents that were embedded by hashing, and MiniLM's weights that came later."""
    data = tmp_path_factory.mktemp("minilm")
    texts = tmp_path_factory.mktemp("texts")
    for name, text in DOCUMENTS.items():
        (texts / name).write_text(text)
    outcrop("dev", "--data", data, "--embedder", "minilm", code=1)
    with running(data) as instance:
        outcrop("ingest", texts, "--url", instance.api)
        assert best(instance) != "clinic.txt", "hashing knows no meaning"
    outcrop("models", "add", "minilm", "--data", data, "--python", sys.executable)
    listed = json.loads(outcrop("models", "--json", "--data", data).stdout)["models"]
    assert [(model["model"], model["present"]) for model in listed] == [("hashing", True), ("minilm", True)]
    return data


def test_a_space_moves_to_another_embedder_only_as_a_whole(data):
    with running(data) as instance:
        status, _, body = instance.http("POST", "/v1/search", {"query": PARAPHRASE})
        assert (status, body["name"]) == (500, "EmbedderMismatch")
        assert "outcrop ingest --re-embed" in body["detail"]
        assert instance.http("POST", "/v1/search", {"query": "physician", "mode": "lexical"})[0] == 200
        other = instance.http("POST", "/v1/documents", {"name": "new.txt", "content": "Something new."})[2]
        run = outcrop("runs", other["run_id"], "--url", instance.api).stdout
        begun = time.monotonic()
        while "EmbedderMismatch" not in run:
            assert time.monotonic() - begun < PATIENCE_SECONDS, run
            time.sleep(0.1)
            run = outcrop("runs", other["run_id"], "--url", instance.api).stdout
        assert "outcrop ingest --re-embed" in run

        # A model that fails must not cost the space its old embeddings.
        with instance.fault({"operation": "InvokeModel", "error": "ValidationException", "times": 1}):
            broken = outcrop("ingest", "--re-embed", "--url", instance.api, code=1).stdout
            assert "ReEmbedIncomplete" in broken
        assert instance.http("POST", "/v1/search", {"query": PARAPHRASE})[2]["name"] == "EmbedderMismatch"

        report = outcrop("ingest", "--re-embed", "--url", instance.api).stdout
        assert report.startswith("SUCCEEDED") and f"{len(DOCUMENTS) + 1} published" in report
        assert best(instance) == "clinic.txt"
        health = instance.http("GET", "/v1/health")[2]
        assert health["documents"] == len(DOCUMENTS) + 1
    with running(data, "--embedder", "hashing") as instance:
        assert instance.http("POST", "/v1/search", {"query": PARAPHRASE})[2]["name"] == "EmbedderMismatch"


def test_vectors_are_the_reference_s(data):
    def embedded(case):
        body = json.dumps({"inputText": case["text"], "dimensions": 384})
        return json.loads(bedrock.invoke_model(modelId=MODEL, body=body)["body"].read())

    # Side by side, so that texts of different lengths go through the network together.
    with running(data) as instance, concurrent.futures.ThreadPoolExecutor(8) as pool:
        bedrock = instance.client("bedrock-runtime")
        cases = REFERENCE * 2
        for case, reply in zip(cases, pool.map(embedded, cases)):
            assert reply["inputTextTokenCount"] == case["tokens"]
            assert math.isclose(math.hypot(*reply["embedding"]), 1, abs_tol=1e-5)
            cosine = sum(a * b for a, b in zip(reply["embedding"], case["vector"])) / math.hypot(*case["vector"])
            assert cosine >= 0.9999, (case["text"], cosine)
        with pytest.raises(ClientError, match="384"):
            bedrock.invoke_model(modelId=MODEL, body=json.dumps({"inputText": "a", "dimensions": 256}))


def test_weights_that_are_not_minilm_s_are_refused(data, tmp_path):
    refused = outcrop("models", "add", "minilm", "--data", tmp_path, "--from", tmp_path, code=1)
    assert "WeightsMissing" in refused.stderr
    (tmp_path / "model.safetensors").write_bytes(b"something else")
    refused = outcrop("models", "add", "minilm", "--data", tmp_path, "--from", tmp_path, code=1)
    assert "WeightsChecksum" in refused.stderr
    refused = outcrop("models", "add", "minilm", "--data", tmp_path, "--python", tmp_path / "python", code=1)
    assert "PythonMissing" in refused.stderr
    assert not (tmp_path / "models" / "minilm" / "model.safetensors").exists()
    outcrop("models", "add", "minilm", "--data", tmp_path, "--from", data / "models" / "minilm")


def test_a_collection_is_measured_with_meaning(data, tmp_path):
    (tmp_path / "qrels").mkdir()
    lines = [json.dumps({"_id": name, "text": text}) for name, text in DOCUMENTS.items()]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines))
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": PARAPHRASE}))
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\tclinic.txt\t1\n")
    measured = {
        embedder: json.loads(outcrop("eval", tmp_path, "--json", "--data", data, "--embedder", embedder).stdout)
        for embedder in ("hashing", "minilm")
    }
    assert measured["minilm"]["results"]["vector"]["ndcg_at_10"] == 1
    assert measured["hashing"]["results"]["vector"]["ndcg_at_10"] < 1
    for embedder, found in measured.items():
        assert found["embedder"] == embedder and found["leaks"] == 0
        assert set(found["results"]) == {"lexical", "vector", "hybrid"}
        assert set(found["results"]["hybrid"]) == {"ndcg_at_10", "recall_at_10", "recall_at_100", "mrr_at_10"}
