"""Runs the rows of the vector index against an independent emulator of DynamoDB, on loopback and a free port.

Usage: python tests/witness/run.py, in an environment with tests/witness/requirements.txt installed.
"""

import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait(url, emulator, log):
    begun = time.monotonic()
    while time.monotonic() - begun < PATIENCE_SECONDS:
        if emulator.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"{url}/_ministack/health", timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    sys.exit(f"the emulator did not start: {pathlib.Path(log.name).read_text()}")


def main():
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        **os.environ,
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "AWS_ENDPOINT_URL": url,
    }
    with tempfile.NamedTemporaryFile("w", suffix=".log") as log:
        program = pathlib.Path(sys.executable).with_name("ministack")
        emulator = subprocess.Popen([program], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait(url, emulator, log)
            target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
            (target / "tmp").mkdir(parents=True, exist_ok=True)
            (target / "tmp" / "witness").write_text(url)
            command = ["cargo", "test", "-p", "outcrop", "--test", "service", "--quiet", "--", "--ignored", "witness"]
            return subprocess.call(command, cwd=ROOT)
        finally:
            emulator.terminate()
            emulator.wait(timeout=30)


if __name__ == "__main__":
    sys.exit(main())
