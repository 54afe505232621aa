"""Runs the rows of the vector index against an independent emulator of DynamoDB, on loopback and a free port.

Usage: python tests/witness/run.py, in an environment with tests/witness/requirements.txt installed.
"""

import os
import pathlib
import subprocess
import sys

import emulator

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main():
    with emulator.running() as (url, _):
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        (target / "tmp").mkdir(parents=True, exist_ok=True)
        (target / "tmp" / "witness").write_text(url)
        # Of the whole workspace, as the tests before: with one package's features alone the SDKs would be built anew.
        command = ["cargo", "test", "--workspace", "--test", "service", "--quiet", "--", "--ignored", "witness"]
        return subprocess.call(command, cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())
