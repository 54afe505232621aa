"""Requests made from the API's description, good and bad ones: nothing may end in a 5xx or in a reply that is not described."""

import pathlib
import subprocess
import sys

import yaml

DESCRIPTION = pathlib.Path(__file__).resolve().parents[2] / "infra" / "openapi.yaml"
# /v1/ask streams from a model and has tests of its own; /mcp is answered by the protocol's library, in its own words.
LEFT_OUT = ["/v1/ask", "/mcp"]
# A well-formed request may still be refused by what no schema says: a key used before, a cursor that no listing gave.
UNCHECKED = "positive_data_acceptance"


def nullable(schema, schemas):
    """Of a request: null for a field that may be left out is taken as leaving it out, by most forms; that is no promise."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    for name, field in schema.get("properties", {}).items():
        nullable(field, schemas)
        nullable(field.get("items", {}), schemas)
        if name not in schema.get("required", []) and "type" in field:
            field["nullable"] = True


def test_replies_are_as_described(instance, tmp_path):
    description = yaml.safe_load(DESCRIPTION.read_text())
    # The laptop lets its owner in: what API Gateway refuses for want of a signature, nobody refuses here.
    del description["security"]
    for operations in description["paths"].values():
        for operation in filter(lambda part: isinstance(part, dict), operations.values()):
            operation.pop("security", None)
            for body in operation.get("requestBody", {}).get("content", {}).values():
                nullable(body["schema"], description["components"]["schemas"])
    path = tmp_path / "openapi.yaml"
    path.write_text(yaml.safe_dump(description))
    left_out = [word for route in LEFT_OUT for word in ("--exclude-path", route)]
    command = [
        pathlib.Path(sys.executable).with_name("st"), "run", path, "--url", instance.api, "--no-color", "--seed", "1",
        "--max-examples", "20", "--phases", "examples,coverage,fuzzing", "--exclude-checks", UNCHECKED,
        *left_out,
    ]  # fmt: skip
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert told.returncode == 0, told.stdout[-6000:]
    assert "generated" in told.stdout, told.stdout[-2000:]
