"""The protocol's own conformance checks, as far as they apply to a server with tools of its own.

The other checks of the suite call tools, prompts and resources of a server made for them.
"""

import os
import pathlib
import re
import subprocess
import sys

import pytest

NODE = pathlib.Path(__file__).parent / "node" / "node_modules" / ".bin"
COLOURS = re.compile("\x1b\\[[0-9;]*m")


@pytest.mark.parametrize(
    "scenario", ["server-initialize", "ping", "tools-list", "resources-list", "prompts-list", "dns-rebinding-protection"]
)
def test_the_server_conforms(scenario, instance, tmp_path):
    command = [NODE / "conformance", "server", "--url", instance.api + "/mcp", "--scenario", scenario]
    path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
    checked = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=60
    )
    said = COLOURS.sub("", checked.stdout) + checked.stderr
    passed = re.search(r"Passed: (\d+)/(\d+), 0 failed, 0 warnings", said)
    assert checked.returncode == 0 and passed and passed[1] == passed[2] != "0", said
