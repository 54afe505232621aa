"""The independent emulator of AWS, on loopback and a free port."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

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


@contextlib.contextmanager
def running(**variables):
    """Its address while it runs, and the path of its log. `variables` are what the functions it runs see too."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        **os.environ,
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "AWS_ENDPOINT_URL": url,
        **variables,
    }
    with tempfile.NamedTemporaryFile("w", suffix=".log") as log:
        program = pathlib.Path(sys.executable).with_name("ministack")
        emulator = subprocess.Popen([program], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait(url, emulator, log)
            yield url, pathlib.Path(log.name)
        finally:
            emulator.terminate()
            emulator.wait(timeout=30)
