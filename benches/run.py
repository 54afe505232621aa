#!/usr/bin/env python3
"""All retrieval benchmarks, ours and the peers', on the same files in one run; prints the tables of docs/benchmarks.md.

    python3 benches/run.py [--small | --million] [--prepare] [--folder DIR]

Builds our side, puts the peers into a virtual environment, makes the data (12 GB for the million; `--small` leaves the
million out) and the indexes, and measures both sides with one thread, one after the other.
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
    sizes(ours, peers)
    sys.stdout.flush()


def sizes(ours, peers):
    for row in ours:
        if "lexicon" in row:
            codes = f", {row['codes'] / row['passages']:.0f} bytes of codes scanned a vector" if row["codes"] > 64 * row["passages"] else ""
            print(f"\nFile {row['file'] / 1e6:.0f} MB in {row['segments']} segments, inverted index {row['lexicon'] / 1e6:.1f} MB"
                  f" ({100 * row['lexicon'] / row['text']:.1f} % of the text){codes}.")
    for row in peers:
        if "build_seconds" in row:
            size = f", {row['index_bytes'] / 1e6:.0f} MB" if "index_bytes" in row else ""
            print(f"\nBuilding {row['peer']} took {row['build_seconds']:.0f} s{size}.")


def tokens(ours, peers):
    """How far our count is off the tokenizer's."""
    made = next(row["made"] for row in ours if row["row"] == "counting tokens")
    exact = next(row["tokens"] for row in peers if "tokens" in row)
    print(f"\nTokens: {made} by ours, {exact} by the tokenizer, {100 * abs(made - exact) / exact:.4f} % off.")


def cold(row):
    print("\n### Cold start, 100,000 passages, S3 with 30 ms a GET and 75 MB/s\n")
    print("| | first answer | rounds | GETs | MB read | next answer | memory grown |\n|---|---|---|---|---|---|---|")
    for name, title in [("in_parts", "in parts"), ("whole", "whole, as before")]:
        one = row[name]
        grown = (one["rss_after_bytes"] - one["rss_before_bytes"]) / 1e6
        print(f"| {title} | {one['first_answer_ms']:.0f} ms | {one['rounds']:.0f} | {one['gets']:.0f} | {one['bytes'] / 1e6:.1f} |"
              f" {one['second_answer_ms']:.1f} ms | {grown:.0f} MB |")
    print(f"\nOpening the {row['segments']} files ({row['file_bytes'] / 1e6:.0f} MB) on disk: {row['open_verified_ms']:.1f} ms, with every"
          f" checksum {row['open_ms']:.1f} ms.")
    sys.stdout.flush()


def kept(measured, *starts):
    return [row for row in measured if row["row"].startswith(starts)]


def smaller(options, built, ours, peers, hundred, real, kept_cold):
    measured = ours(hundred)
    table("Vector search, 100,000 × 1024", "vector, top 10", kept(measured, "vector", "open"), peers("scan", hundred))
    table("The whole search, 100,000 made passages", "hybrid", kept(measured, "lexical", "hybrid"), [])
    cold(rows([str(built / "cold"), "--folder", str(kept_cold), "--json"])[-1])
    measured = ours(real)
    table("BM25, top 100 of 56,000 real passages", "lexical", kept(measured, "open", "lexical"), peers("lexical", real))
    table("Hybrid, 56,000 real passages, texts fetched", "hybrid", kept(measured, "hybrid"), peers("hybrid", real))
    if options.tokenizer:
        shutil.copy(options.tokenizer, real / "tokenizer.json")
        mine, theirs = rows([str(built / "chunk"), str(real)]), peers("chunk", real)
        table("Chunking by tokens", "fixed size", mine, theirs)
        tokens(mine, theirs)
    if options.weights:
        table("Embedding with MiniLM", "MiniLM", rows([str(built / "embed"), str(options.weights)]), [])


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--small", action="store_true", help="leave the million out")
    arguments.add_argument("--million", action="store_true", help="measure nothing but the million")
    arguments.add_argument("--prepare", action="store_true", help="make data and indexes, measure nothing")
    arguments.add_argument("--folder", type=pathlib.Path, default=ROOT / "target" / "benches")
    arguments.add_argument("--tokenizer", type=pathlib.Path, help="tokenizer.json of all-MiniLM-L6-v2, for the chunking row")
    arguments.add_argument("--weights", type=pathlib.Path, help="folder with the weights of all-MiniLM-L6-v2, for its row")
    arguments.add_argument("--python", help="an interpreter that has benches/requirements.txt already")
    arguments.add_argument("--built", type=pathlib.Path, help="folder that has our side's programs already")
    options = arguments.parse_args()
    built = options.built or pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
    if not options.built:
        subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "benches"], cwd=ROOT, check=True)
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

    sources = pathlib.Path(os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo")) / "registry" / "src"
    hundred = data("100k", "--passages", "100000")
    real = data("56k", "--passages", "56000", "--dimension", "384", "--texts", str(sources))
    million = None if options.small else data("1m", "--passages", "1000000", "--queries", "20")
    kept_cold = options.folder / "cold"
    if options.prepare:
        for folder in filter(None, [hundred, real, million]):
            subprocess.run([str(built / "search"), str(folder), "--prepare"], check=True, env=SINGLE)
            peers("prepare", folder)
        subprocess.run([str(built / "cold"), "--folder", str(kept_cold), "--repeats", "0"], check=True, stdout=subprocess.DEVNULL)
        return

    if not options.million:
        smaller(options, built, ours, peers, hundred, real, kept_cold)
    if million:
        measured = ours(million)
        table("Vector search, 1,000,000 × 1024", "vector, top 10", kept(measured, "vector", "open"), peers("scan", million))
        table("BM25, top 100 of 1,000,000 made passages", "lexical", kept(measured, "lexical", "hybrid"), peers("lexical", million))


if __name__ == "__main__":
    main()
