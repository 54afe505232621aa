"""An independent validator of the Amazon States Language takes the deployed machine and refuses broken ones."""

import copy
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
VALIDATOR = pathlib.Path(__file__).parent / "node" / "node_modules" / ".bin" / "asl-validator"
MACHINE = json.loads((ROOT / "infra" / "ingest.asl.json").read_text())


def judged(machine, folder):
    path = folder / "machine.json"
    path.write_text(json.dumps(machine))
    found = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
    told = subprocess.run(
        [VALIDATOR, "--json-path", path], env=os.environ | {"PATH": found}, capture_output=True, text=True, timeout=60
    )
    return told.returncode, told.stdout + told.stderr


def test_the_deployed_machine_is_valid(tmp_path):
    status, said = judged(MACHINE, tmp_path)
    assert status == 0, said


def plan(machine):
    return machine["States"]["Plan"]


def extract(machine):
    return machine["States"]["Documents"]["ItemProcessor"]["States"]["Extract"]


@pytest.mark.parametrize(
    "broken, code",
    [
        (lambda machine: machine.update(StartAt="Nowhere"), "MISSING_TRANSITION_TARGET"),
        (lambda machine: plan(machine).update(Next="Nowhere"), "MISSING_TRANSITION_TARGET"),
        (lambda machine: plan(machine)["Catch"][0].update(Next="Nowhere"), "MISSING_TRANSITION_TARGET"),
        (lambda machine: extract(machine).update(Next="Nowhere"), "MISSING_TRANSITION_TARGET"),
        (lambda machine: machine["States"].update(Lost={"Type": "Succeed"}), "MISSING_TRANSITION_TARGET"),
        (lambda machine: plan(machine).pop("Next"), "TERMINAL_STATE_WITH_NEXT"),
        (lambda machine: plan(machine).update(Type="Tusk"), "SCHEMA_VALIDATION_FAILED"),
        (lambda machine: plan(machine).pop("Resource"), "SCHEMA_VALIDATION_FAILED"),
        (lambda machine: plan(machine).update(ResultPath="$.x"), "SCHEMA_VALIDATION_FAILED"),
        (lambda machine: plan(machine).update(Output="{% $states.result. %}"), "SCHEMA_VALIDATION_FAILED"),
        (lambda machine: machine["States"]["Brake"]["Choices"][0].pop("Condition"), "SCHEMA_VALIDATION_FAILED"),
    ],
)
def test_a_broken_machine_is_refused(broken, code, tmp_path):
    machine = copy.deepcopy(MACHINE)
    broken(machine)
    status, said = judged(machine, tmp_path)
    assert status == 1 and code in said, said
