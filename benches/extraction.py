#!/usr/bin/env python3
"""Text of public documents, ours against the usual readers': PDF with pdfium, HTML with trafilatura, DOCX with python-docx.

    python3 benches/extraction.py            # fetches its documents with pip and apt-get
    python3 benches/extraction.py FOLDER     # takes the documents below a folder

Words are compared as a bag: F1 of their counts, lower case, compatibility forms resolved. Every file that we refuse, or
that a library of ours breaks on, is listed with its reason.
"""

import collections
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tarfile
import time
import unicodedata
import venv

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
PLACE = ROOT / "target" / "extraction"
# Source packages whose tests carry sample documents.
SOURCES = ["pypdf==7.1.1", "tabula-py==2.10.0", "python-docx==1.2.0", "mammoth==1.11.0", "docx2python==3.5.0"]
# Documentation that distributions print with TeX, DocBook, Sphinx and others, in several languages.
PACKAGES = [
    "debian-history", "developers-reference", "maint-guide", "gnuplot-doc", "octave-doc", "r-doc-pdf", "zsh-doc",
    "lilypond-doc-pdf", "texlive-latex-recommended-doc", "debian-policy", "exim4-doc-html", "aptitude-doc-en",
]
# Of one package no more, so that no producer of files outweighs the others.
MOST_OF_ONE = 60
LARGEST = 8_000_000


def main():
    python = peers()
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else fetch()
    subprocess.run(["cargo", "build", "--release", "-p", "extract", "--example", "extract"], cwd=ROOT, check=True)
    files = documents(folder)
    names = PLACE / "files.txt"
    names.write_text("\n".join(map(str, files)))
    print(f"{len(files)} documents below {folder}\n")
    subprocess.run([python, __file__, "--table", str(names)], check=True)


def peers():
    """An environment with the peers at their pinned versions."""
    python = PLACE / "peers" / "bin" / "python"
    wanted = [line for line in (HERE / "requirements.txt").read_text().splitlines()
              if line.split("==")[0] in ("pypdfium2", "trafilatura", "python-docx", "lxml_html_clean")]
    if sys.argv[1:2] != ["--table"] and not python.exists():
        PLACE.mkdir(parents=True, exist_ok=True)
        venv.create(PLACE / "peers", with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
    return str(python)


def fetch():
    folder = PLACE / "documents"
    folder.mkdir(parents=True, exist_ok=True)
    packed = PLACE / "packed"
    packed.mkdir(exist_ok=True)
    for source in SOURCES:
        if not (folder / source).exists():
            run = ["pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", packed / source, source]
            if subprocess.run([sys.executable, "-m", *run]).returncode == 0:
                for archive in (packed / source).glob("*.tar.gz"):
                    tarfile.open(archive).extractall(folder / source, filter="data")
    for package in PACKAGES:
        if not (folder / package).exists():
            (packed / package).mkdir(exist_ok=True)
            subprocess.run(["apt-get", "download", "-qq", package], cwd=packed / package)
            for archive in (packed / package).glob("*.deb"):
                subprocess.run(["dpkg-deb", "--extract", archive, folder / package], check=True)
    return folder


def documents(folder):
    """Files of the three kinds, in an order that does not depend on the machine."""
    kept, taken = [], collections.Counter()
    for path in sorted(folder.rglob("*")):
        kind = path.suffix.lower()
        if kind not in (".pdf", ".html", ".htm", ".docx") or not path.is_file() or path.is_symlink():
            continue
        group = (path.relative_to(folder).parts[0], kind)
        if path.stat().st_size <= LARGEST and taken[group] < MOST_OF_ONE:
            taken[group] += 1
            kept.append(path)
    return kept


def words(text):
    return re.findall(r"\w+", unicodedata.normalize("NFKC", text).lower())


def f1(ours, theirs):
    shared = sum((collections.Counter(ours) & collections.Counter(theirs)).values())
    return 2 * shared / (len(ours) + len(theirs)) if ours or theirs else 1.0


def pdfium(path):
    import pypdfium2
    pages = (page.get_textpage().get_text_range() for page in pypdfium2.PdfDocument(path))
    # It marks the hyphens of words that go on in the next line, and leaves the line end in.
    return re.sub("[-\u00ad]?[\ufffe\x02]\r?\n?", "", "\n".join(pages))


def trafilatura(path):
    from trafilatura import extract
    page = pathlib.Path(path).read_bytes()
    return extract(page, include_comments=False, include_tables=True, favor_recall=True) or ""


def python_docx(path):
    import docx
    def block(part):
        for item in part.iter_inner_content():
            if isinstance(item, docx.table.Table):
                seen = set()
                for row in item.rows:
                    for cell in row.cells:
                        if cell._tc not in seen:
                            seen.add(cell._tc)
                            yield from block(cell)
            else:
                yield item.text
    return "\n".join(block(docx.Document(path)))


PEERS = {"PDF": (".pdf", pdfium), "HTML": (".html", trafilatura), "DOCX": (".docx", python_docx)}


def table(names):
    binary = ROOT / "target" / "release" / "examples" / "extract"
    out = subprocess.run([binary, "--text"], input=pathlib.Path(names).read_text(), capture_output=True, text=True, check=True)
    ours = [json.loads(line) for line in out.stdout.splitlines()]
    print("| | peer | files | compared | median F1 | mean | 10th percentile | at 0.95 and above | ours MB/s | peer MB/s |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    refused, low = [], []
    for kind, (suffix, peer) in PEERS.items():
        lines = [line for line in ours if pathlib.Path(line["path"]).suffix.lower() in (suffix, suffix[:-1])]
        scores, size, our_seconds, their_seconds = [], 0, 0.0, 0.0
        for line in lines:
            begun = time.perf_counter()
            try:
                theirs = peer(line["path"])
            except Exception as error:  # noqa: BLE001, what a peer raises is its own
                theirs = error
            seconds = time.perf_counter() - begun
            if "error" in line:
                found = "" if isinstance(theirs, Exception) else f"; the peer finds {len(words(theirs))} words"
                refused.append((kind, line["error"]["name"], pathlib.Path(line["path"]).name + found))
            elif isinstance(theirs, Exception):
                refused.append((kind, f"the peer: {type(theirs).__name__}", pathlib.Path(line["path"]).name))
            else:
                score = f1(words(line["text"]), words(theirs))
                scores.append(score)
                low.append((score, kind, pathlib.Path(line["path"]).name))
                size += line["bytes"]
                our_seconds += line["ms"] / 1e3
                their_seconds += seconds
        if not scores:
            continue
        scores.sort()
        at = sum(score >= 0.95 for score in scores)
        print(f"| {kind} | {peer.__name__.replace('_', '-')} | {len(lines)} | {len(scores)} | {statistics.median(scores):.3f} "
              f"| {statistics.mean(scores):.3f} | {scores[len(scores) // 10]:.3f} | {at} "
              f"| {size / our_seconds / 1e6:.1f} | {size / their_seconds / 1e6:.1f} |")
    print("\nNot compared:\n")
    for (kind, name), files in sorted(group(refused).items()):
        print(f"* {kind}, {name}: {len(files)} ({', '.join(sorted(files)[:6])})")
    print("\nLowest:\n")
    for score, kind, name in sorted(low)[:15]:
        print(f"* {score:.3f} {kind} {name}")


def group(rows):
    grouped = collections.defaultdict(list)
    for kind, name, file in rows:
        grouped[kind, name].append(file)
    return grouped


if __name__ == "__main__":
    if sys.argv[1:2] == ["--table"]:
        table(sys.argv[2])
    else:
        main()
