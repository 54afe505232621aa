"""Runs tests/witness/machines.json on an independent emulator. The same rows are held to our interpreter by its own tests.

Usage: python tests/witness/machines.py, in an environment with tests/witness/requirements.txt installed.
"""

import io
import json
import pathlib
import sys
import time
import zipfile

import emulator
from deploy import ACCOUNT, client

ROWS = pathlib.Path(__file__).with_name("machines.json")
PATIENCE_SECONDS = 30
# The functions speak the runtime's own interface, for the emulator renames the errors of its Python runtime's functions.
BOOTSTRAP = '''#!PYTHON
import json, os, pathlib, tempfile, time, urllib.request

RUNTIME = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
WHAT, _, ARGUMENT = os.environ["AWS_LAMBDA_FUNCTION_NAME"].partition("_")

class Failed(Exception):
    pass

def answer(event):
    if WHAT == "double":
        return {"n": event["n"] * 2}
    if WHAT == "sleep":
        time.sleep(int(ARGUMENT))
        return event
    if WHAT == "flaky":
        calls = pathlib.Path(tempfile.gettempdir()) / f"PLACE-{event['key']}"
        used = len(calls.read_text()) + 1 if calls.exists() else 1
        calls.write_text("x" * used)
        if used > int(ARGUMENT):
            return {"calls": used}
        raise Failed("Flaky")
    raise Failed(ARGUMENT)

while True:
    with urllib.request.urlopen(RUNTIME + "next") as invocation:
        number, event = invocation.headers["Lambda-Runtime-Aws-Request-Id"], json.load(invocation)
    try:
        path, told = "response", answer(event)
    except Failed as failed:
        path, told = "error", {"errorType": str(failed), "errorMessage": "it is"}
    urllib.request.urlopen(urllib.request.Request(RUNTIME + number + "/" + path, json.dumps(told).encode())).close()
'''

# Where the emulator is wrong, what it says, and what the language's specification or AWS's documentation says instead.
KNOWN = {
    # `Output` is a field of Succeed in JSONata.
    "a succeed has an output": {"output": {}},
    # All expressions of one `Assign` see the variables as they were before it.
    "variables are assigned together": {"output": [1, 2, 2, 7]},
    # `Output` is a field of Parallel too.
    "branches see the variables of the whole": {"output": [5]},
}


def functions(url, names):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        script = BOOTSTRAP.replace("PYTHON", sys.executable).replace("PLACE", f"witness-{time.time_ns()}")
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, script)
    for name in names:
        client(url, "lambda").create_function(
            FunctionName=name, Runtime="provided.al2023", Role="arn:aws:iam::000000000000:role/r", Handler="bootstrap",
            Code={"ZipFile": packed.getvalue()}, Timeout=10,
        )  # fmt: skip


def run(machines, number, row):
    machine = machines.create_state_machine(
        name=f"m{number}", definition=json.dumps(row["definition"]), roleArn="arn:aws:iam::000000000000:role/r"
    )
    execution = machines.start_execution(stateMachineArn=machine["stateMachineArn"], input=json.dumps(row["input"]))
    begun = time.monotonic()
    while time.monotonic() - begun < PATIENCE_SECONDS:
        told = machines.describe_execution(executionArn=execution["executionArn"])
        if told["status"] == "SUCCEEDED":
            return {"output": json.loads(told["output"])}
        if told["status"] != "RUNNING":
            return {"error": told.get("error", told["status"])}
        time.sleep(0.05)
    return {"error": "never ended"}


def main():
    rows = json.loads(ROWS.read_text())
    wrong = []
    with emulator.running(**ACCOUNT) as (url, _):
        functions(url, ["double", "fail_Mine", "sleep_3", *(f"flaky_{times}" for times in (1, 2, 3, 9))])
        machines = client(url, "stepfunctions")
        for number, row in enumerate(rows):
            found = run(machines, number, row)
            expected = {key: row[key] for key in ("output", "error") if key in row}
            if found != KNOWN.get(row["name"], expected):
                wrong.append(f"{row['name']}: the emulator says {found}, expected {KNOWN.get(row['name'], expected)}")
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(rows)} machines, {len(KNOWN)} known differences")


if __name__ == "__main__":
    main()
