#!/usr/bin/env python3
"""Ingests a folder of real files into a fresh laptop cloud and prints what it took.

    cargo build --release && python3 benches/folder.py

The folder holds files that a Debian machine and a Rust package cache carry: licences, changelogs, READMEs, manual pages
in several languages, source code; and on purpose empty files, odd encodings, binaries under text names and one text of
20 MB. The choice is deterministic for a given machine. Only the standard library is used.
"""

import argparse
import gzip
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIG_BYTES = 20 << 20
SMALL_BYTES = 400_000
TEXTS = {".md", ".txt", ".html", ".json", ".csv", ".rst", ".yaml", ".yml", ".toml", ".xml", ".rs", ".py", ".js", ".c", ".h", ".sh", ""}


def candidates(root, wanted):
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink() and wanted(path):
            yield path


def collect(folder, count):
    """Fills `folder` with `count` files; answers bytes."""
    homes = {
        "doc": (pathlib.Path("/usr/share/doc"), lambda p: p.suffix in TEXTS | {".gz"}),
        "man": (pathlib.Path("/usr/share/man"), lambda p: p.suffix == ".gz"),
        "crates": (pathlib.Path(os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo")) / "registry" / "src", lambda p: p.suffix in {".md", ".txt", ".html", ".json", ".csv"} or p.name.startswith(("LICENSE", "COPYING"))),
    }
    shares = {"doc": 0.45, "man": 0.15, "crates": 0.40}
    chance = random.Random(1000)
    texts, written = [], 0
    for name, (home, wanted) in homes.items():
        found = list(candidates(home, wanted))
        chance.shuffle(found)
        for number, path in enumerate(found[: int(count * shares[name])]):
            data = path.read_bytes()
            suffix = path.suffix
            if suffix == ".gz":
                try:
                    data, suffix = gzip.decompress(data), ""
                except OSError:
                    continue
            data = data[:SMALL_BYTES]
            stem = path.name.removesuffix(".gz").replace(" ", "_")
            (folder / name).mkdir(exist_ok=True)
            target = folder / name / f"{number:04}-{stem}{'.txt' if '.' not in stem else ''}"
            target.write_bytes(data)
            texts.append(data)
            written += 1
    odd = folder / "odd"
    odd.mkdir()
    spanish = "El señor Muñoz pagó 100 € por la canción del niño.\n" * 200
    cases = {
        "empty.txt": b"",
        "blank.md": b" \n\t\n",
        "latin1.txt": spanish.encode("latin-1", "replace"),
        "windows1252.txt": spanish.encode("cp1252"),
        "utf16le.txt": spanish.encode("utf-16"),
        "utf16be.txt": b"\xfe\xff" + spanish.encode("utf-16-be"),
        "shift-jis.txt": ("東京都は日本の首都です。人口は千四百万人です。\n" * 200).encode("shift_jis"),
        "koi8.txt": ("Москва является столицей России и крупнейшим городом.\n" * 200).encode("koi8-r"),
        "gb18030.txt": ("北京是中国的首都。它有两千多万人口。\n" * 200).encode("gb18030"),
        "binary.txt": bytes(chance.randrange(256) for _ in range(50_000)),
        "picture.md": b"\x89PNG\r\n\x1a\n" + bytes(1000),
        "archive.json": b"PK\x03\x04" + bytes(1000),
        "program.txt": pathlib.Path("/bin/true").read_bytes(),
        "broken.json": b'{"half": ',
        "nul.csv": b"a,b\n1,\x00\n",
        "deep.json": b"[" * 5000 + b"]" * 5000,
    }
    for name, data in cases.items():
        (odd / name).write_bytes(data)
        written += 1
    big = b"\n".join(texts)
    while len(big) < BIG_BYTES:
        big += big
    (odd / "big.txt").write_bytes(b"".join(chunk for chunk in [big[:BIG_BYTES]]).decode("utf-8", "ignore").encode())
    written += 1
    return written, sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def tree_memory(pid):
    """Resident bytes of a process and its descendants (PSS, so shared pages count once)."""
    children, total = {}, 0
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    queue = [pid]
    while queue:
        one = queue.pop()
        queue += children.get(one, [])
        try:
            for line in pathlib.Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except OSError:
            pass
    return total


def folder_bytes(path):
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--files", type=int, default=1000)
    arguments.add_argument("--binary", default=os.environ.get("OUTCROP_BIN", str(ROOT / "target/release/outcrop")))
    arguments.add_argument("--keep", help="leave files and store in this folder")
    options = arguments.parse_args()
    work = pathlib.Path(options.keep or tempfile.mkdtemp(prefix="outcrop-folder-"))
    files, data = work / "files", work / "store"
    shutil.rmtree(work, ignore_errors=True)
    files.mkdir(parents=True)
    written, size = collect(files, options.files - 17)
    data.mkdir()
    server = subprocess.Popen([options.binary, "dev", "--no-sample", "--no-events", "--port", "0", "--aws-port", "0", "--data", str(data)], stdout=subprocess.DEVNULL)
    peak, done = [0], threading.Event()

    def watch():
        while not done.is_set():
            peak[0] = max(peak[0], tree_memory(server.pid))
            time.sleep(0.2)

    try:
        record = data / "instance.json"
        while not record.exists() or not record.read_text():
            time.sleep(0.05)
        url = next(v for v in json.loads(record.read_text()).values() if isinstance(v, str) and v.startswith("http"))
        watcher = threading.Thread(target=watch)
        watcher.start()
        begun = time.monotonic()
        ingest = subprocess.run([options.binary, "ingest", str(files), "--url", url, "--json"], capture_output=True, text=True)
        seconds = time.monotonic() - begun
        done.set()
        watcher.join()
        documents, cursor = [], None
        while True:
            listing = subprocess.run(["curl", "-sS", f"{url}/v1/documents?limit=100" + (f"&cursor={cursor}" if cursor else "")], capture_output=True, text=True)
            page = json.loads(listing.stdout)
            documents += page["documents"]
            cursor = page.get("next_cursor") or page.get("cursor")
            if not cursor:
                break
    finally:
        done.set()
        server.send_signal(signal.SIGINT)
        server.wait(timeout=60)
    status, reasons = {}, {}
    for document in documents:
        status[document["status"]] = status.get(document["status"], 0) + 1
        if document["status"] != "published":
            reason = document.get("reason")
            name = reason.get("name") if isinstance(reason, dict) else str(reason).split(":")[0]
            reasons[name] = reasons.get(name, 0) + 1
    segments = list(data.rglob("*.seg"))
    passages = sum(document.get("passages") or 0 for document in documents)
    print(json.dumps({
        "files": written, "bytes": size, "exit_code": ingest.returncode, "seconds": round(seconds, 1),
        "documents_per_second": round(len(documents) / seconds, 1), "mb_per_second": round(size / seconds / 1e6, 2),
        "peak_memory_mb": round(peak[0] / 1e6, 1), "status": status, "reasons": reasons, "passages": passages,
        "index_bytes_per_passage": round(sum(p.stat().st_size for p in segments) / max(passages, 1)),
        "index_bytes": sum(p.stat().st_size for p in segments), "store_bytes": folder_bytes(data),
    }, indent=2))
    if ingest.returncode not in (0, 3):
        print(ingest.stderr[-2000:], file=sys.stderr)
    if not options.keep:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
