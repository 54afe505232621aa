#!/usr/bin/env python3
"""Syncs 1,000, 5,000 and 10,000 made documents into fresh laptop clouds and prints throughput, memory and cost.

    cargo build --release && python3 benches/ingest.py

For each count: how long the run took, the largest resident memory of the laptop cloud itself and of any function's process,
what the run was estimated to embed before it began and what that costs a thousand documents, and the same of what it embedded. Documents are of 200 to 900 words of made English,
the same for the same seed. Only the standard library is used; memory is read from /proc, so this runs on Linux.
"""

import argparse
import json
import pathlib
import random
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORDS = """the keeper climbs stairs every evening and lights a lamp that ships see from far away when air is clear nobody may
open tower door while wind blows over granite cliffs where gulls nest in spring marmots sleep below stones until snow melts
an ibex walks along ridges before dawn herders count sheep by torch light bridges of larch cross cold rivers""".split()


def document(chance, number):
    """A Markdown text with a heading for each 150 words or so."""
    parts, left = [f"# Report {number}\n"], chance.randint(200, 900)
    while left > 0:
        words = [chance.choice(WORDS) for _ in range(min(left, chance.randint(80, 200)))]
        left -= len(words)
        sentences = [" ".join(words[at : at + 14]).capitalize() + "." for at in range(0, len(words), 14)]
        parts.append(f"\n## Part {len(parts)} of report {number}\n\n" + " ".join(sentences) + "\n")
    return "".join(parts)


def fill(source, count, seed):
    source.mkdir(parents=True)
    chance, size = random.Random(seed), 0
    sidecar = json.dumps({"metadataAttributes": {"readers": ["everyone"]}})
    for number in range(count):
        text = document(chance, number)
        size += len(text)
        folder = source / f"{number // 1000:03}"
        folder.mkdir(exist_ok=True)
        (folder / f"report-{number:06}.md").write_text(text)
        (folder / f"report-{number:06}.md.metadata.json").write_text(sidecar)
    return size


def resident_mb(pid, field="VmHWM"):
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


class Watch(threading.Thread):
    """Keeps the largest memory of a process and of its children, by the function that they run."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.own, self.functions, self.done = pid, 0.0, {}, threading.Event()

    def run(self):
        while not self.done.wait(0.2):
            self.own = max(self.own, resident_mb(self.pid))
            for task in pathlib.Path(f"/proc/{self.pid}/task").glob("*/children"):
                try:
                    children = task.read_text().split()
                except OSError:
                    continue
                for child in children:
                    try:
                        arguments = pathlib.Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
                    except OSError:
                        continue
                    name = arguments[2].decode() if len(arguments) > 2 else "?"
                    self.functions[name] = max(self.functions.get(name, 0.0), resident_mb(child))


def call(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as reply:
        return json.load(reply)


def measure(program, count, seed):
    with tempfile.TemporaryDirectory() as data:
        data = pathlib.Path(data)
        size = fill(data / "s3/outcrop-bucket/sources/default", count, seed)
        command = [program, "dev", "--no-sample", "--no-events", "--embedder", "hashing", "--port", "0", "--aws-port", "0", "--data", str(data)]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            record = data / "instance.json"
            while not record.exists():
                time.sleep(0.05)
            api = json.loads(record.read_text())["api"]
            watch = Watch(child.pid)
            watch.start()
            begun = time.monotonic()
            run_id = call(f"{api}/v1/runs", {})["run_id"]
            while True:
                run = call(f"{api}/v1/runs/{run_id}")
                if run["status"] not in ("QUEUED", "RUNNING"):
                    break
                time.sleep(2)
            took = time.monotonic() - begun
            watch.done.set()
            return {"documents": count, "bytes": size, "seconds": took, "own_mb": watch.own, "functions_mb": watch.functions, "run": run}
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("counts", nargs="*", type=int, default=[1_000, 5_000, 10_000])
    parser.add_argument("--outcrop", default=str(ROOT / "target/release/outcrop"))
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", help="also write the figures to this file")
    arguments = parser.parse_args()
    rows = []
    print("documents     MB       s  documents/s  laptop MB  ingest MB  guard MB  estimated tokens  embedded tokens  estimated $ of 1,000  $ of 1,000")
    for count in arguments.counts:
        row = measure(arguments.outcrop, count, arguments.seed)
        rows.append(row)
        run = row["run"]
        assert run["status"] == "SUCCEEDED" and run["counts"]["published"] == count, run
        functions, estimate = row["functions_mb"], run["estimate"]
        print(
            f"{count:9,} {row['bytes'] / 1e6:6.1f} {row['seconds']:7.1f} {count / row['seconds']:12.1f} {row['own_mb']:10.0f}"
            f" {functions.get('ingest', 0):10.0f} {functions.get('guardrail-check', 0):9.0f} {estimate['tokens']:17,}"
            f" {run['embedding_tokens']:16,} {estimate.get('usd_per_1000_documents', 0):21.4f}"
            f" {run.get('embedding_usd', 0) * 1000 / count:11.4f}",
            flush=True,
        )
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
