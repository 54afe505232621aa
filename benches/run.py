#!/usr/bin/env python3
"""All retrieval benchmarks, ours and the peers', on the same files in one run; prints the tables of docs/benchmarks.md.

    python3 benches/run.py [--small] [--folder DIR]

Builds our side, puts the peers into a virtual environment, makes the data (12 GB for the million; `--small` leaves the
million out), and measures both sides with one thread, one after the other.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SINGLE = {**os.environ, "RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def say(text):
    print(text, file=sys.stderr, flush=True)


def rows(command, **more):
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=SINGLE, **more).stdout
    return [json.loads(line) for line in told.splitlines() if line.startswith("{")]


def figure(row):
    if "mb_per_second" in row:
        return f"{row['mb_per_second']:.1f} MB/s"
    return f"{row['median_ms']:.2f} ms"


def table(title, subject, ours, peers):
    """Ours first, then the peers with how many times slower they are than ours of the same subject."""
    print(f"\n### {title}\n\n| | median | 90th percentile | recall@10 | against ours |\n|---|---|---|---|---|")
    base = next((row for row in ours if row["row"].startswith(subject)), None)
    for row in ours + peers:
        name = row.get("row") or row["peer"]
        against = ""
        if "peer" in row and base:
            ratio = base["mb_per_second"] / row["mb_per_second"] if "mb_per_second" in row else row["median_ms"] / base["median_ms"]
            against = f"{ratio:.1f} times slower" if ratio >= 1 else f"{1 / ratio:.1f} times faster"
        p90 = f"{row['p90_ms']:.2f} ms" if "p90_ms" in row else ""
        recall = row.get("recall_at_10")
        print(f"| {'Outcrop: ' if 'row' in row else ''}{name} | {figure(row)} | {p90} | {'' if recall is None else f'{recall:.3f}'} | {against} |")
    sys.stdout.flush()


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--small", action="store_true", help="leave the million out")
    arguments.add_argument("--folder", type=pathlib.Path, default=ROOT / "target" / "benches")
    arguments.add_argument("--tokenizer", type=pathlib.Path, help="tokenizer.json of all-MiniLM-L6-v2, for the chunking row")
    arguments.add_argument("--python", help="an interpreter that has benches/requirements.txt already")
    options = arguments.parse_args()
    subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "benches"], cwd=ROOT, check=True)
    built = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
    python = options.python or str(options.folder / "venv/bin/python")
    if not pathlib.Path(python).exists():
        subprocess.run([sys.executable, "-m", "venv", str(options.folder / "venv")], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(ROOT / "benches/requirements.txt")], check=True)

    def data(name, *flags):
        folder = options.folder / name
        if not (folder / "shape.json").exists():
            say(f"making {name}")
            subprocess.run([str(built / "data"), str(folder), *flags], check=True)
        return folder

    def ours(folder):
        say(f"ours on {folder.name}")
        return rows([str(built / "search"), str(folder)])

    def peers(subject, folder):
        say(f"peers on {folder.name}: {subject}")
        return rows([python, "-W", "ignore", str(ROOT / "benches/peers.py"), subject, str(folder)])

    def kept(measured, *starts):
        return [row for row in measured if row["row"].startswith(starts)]

    hundred = data("100k", "--passages", "100000")
    measured = ours(hundred)
    table("Vector search, 100,000 × 1024", "vector, top 10", kept(measured, "vector", "open"), peers("scan", hundred))

    sources = pathlib.Path(os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo")) / "registry" / "src"
    real = data("56k", "--passages", "56000", "--dimension", "384", "--texts", str(sources))
    measured = ours(real)
    table("BM25, top 100 of 56,000 real passages", "lexical", kept(measured, "lexical"), peers("lexical", real))
    table("Hybrid, 56,000 real passages, texts fetched", "hybrid", kept(measured, "hybrid", "open"), peers("hybrid", real))
    if options.tokenizer:
        shutil.copy(options.tokenizer, real / "tokenizer.json")
        table("Chunking by tokens", "fixed size", rows([str(built / "chunk"), str(real)]), peers("chunk", real))
    if not options.small:
        million = data("1m", "--passages", "1000000", "--queries", "20")
        measured = ours(million)
        table("Vector search, 1,000,000 × 1024", "vector, top 10", kept(measured, "vector", "open"), peers("scan", million))
        table("BM25, top 100 of 1,000,000 made passages", "lexical", kept(measured, "lexical", "hybrid"), peers("lexical", million))


if __name__ == "__main__":
    main()
