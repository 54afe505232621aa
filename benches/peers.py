#!/usr/bin/env python3
"""The peers' side of the benchmarks: what a user would pick instead, on the same files and one thread.

    python3 benches/peers.py SUBJECT FOLDER

SUBJECT is `prepare`, `scan`, `lexical`, `hybrid` or `chunk`; FOLDER holds what the Rust side wrote:
`vectors.f32` and `queries.f32` (rows of little-endian floats, `shape.json` says how many and how wide), `texts.jsonl` and
`documents.jsonl` (one JSON string a line), `questions.jsonl`. One JSON object a peer is printed: milliseconds a query (median and 90th
percentile over all queries of five rounds), recall@10 against exact search where that means something.
"""

import json
import os
import pathlib
import statistics
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

ROUNDS = 5
TOP = 10


def told(peer, seconds, **more):
    milliseconds = sorted(1e3 * one for one in seconds)
    print(json.dumps({
        "peer": peer,
        "median_ms": round(statistics.median(milliseconds), 4),
        "p90_ms": round(milliseconds[int(len(milliseconds) * 0.9)], 4),
        **more,
    }), flush=True)


def timed(queries, ask):
    """Asks every query, five rounds after one that is not counted; answers seconds of each and the first round's results."""
    results = [ask(query) for query in queries]
    seconds = []
    for _ in range(ROUNDS):
        for query in queries:
            begun = time.perf_counter()
            ask(query)
            seconds.append(time.perf_counter() - begun)
    return seconds, results


def recall(found, exact):
    hits = sum(len(set(map(int, one)) & set(map(int, other))) for one, other in zip(found, exact))
    return round(hits / sum(len(one) for one in exact), 4)


def matrix(folder, name, dimension):
    return np.memmap(folder / name, dtype="<f4", mode="r").reshape(-1, dimension)


PIECE = 50_000


def by_pieces(vectors, work):
    """`work` of some rows at a time: a million rows of floats are not there twice."""
    return np.concatenate([work(np.asarray(vectors[at:at + PIECE])) for at in range(0, len(vectors), PIECE)])


def made_once(path, make):
    """What `make` writes to `path`, and the seconds that took: indexes are built before anything is measured."""
    seconds = path.with_suffix(path.suffix + ".seconds")
    if not seconds.exists():
        begun = time.perf_counter()
        make(path)
        seconds.write_text(f"{time.perf_counter() - begun:.1f}")
    return path, float(seconds.read_text())


def graph(folder):
    """HNSW32, built with all processors."""
    import faiss

    dimension = json.loads((folder / "shape.json").read_text())["dimension"]

    def make(path):
        faiss.omp_set_num_threads(os.cpu_count())
        hnsw = faiss.IndexHNSWFlat(dimension, 32, faiss.METRIC_INNER_PRODUCT)
        hnsw.hnsw.efConstruction = 200
        hnsw.add(matrix(folder, "vectors.f32", dimension))
        faiss.omp_set_num_threads(1)
        faiss.write_index(hnsw, str(path))

    return made_once(folder / "hnsw32.faiss", make)


def scan(folder):
    import faiss
    from usearch.index import MetricKind, search

    faiss.omp_set_num_threads(1)
    shape = json.loads((folder / "shape.json").read_text())
    dimension = shape["dimension"]
    vectors, queries = matrix(folder, "vectors.f32", dimension), np.array(matrix(folder, "queries.f32", dimension))
    many = len(vectors) > 300_000

    flat = faiss.IndexFlatIP(dimension)
    flat.add(vectors)
    seconds, exact = timed(queries, lambda query: flat.search(query[None], TOP)[1][0])
    told("faiss flat f32", seconds, recall_at_10=1.0)
    del flat

    if not many:
        path, build = graph(folder)
        hnsw = faiss.read_index(str(path))
        hnsw.hnsw.efSearch = 256
        seconds, found = timed(queries, lambda query: hnsw.search(query[None], TOP)[1][0])
        told("faiss HNSW32 ef256", seconds, recall_at_10=recall(found, exact), build_seconds=build)
        del hnsw

    mean = by_pieces(vectors, lambda rows: rows.sum(axis=0, dtype="f8")[None]).sum(axis=0) / len(vectors)
    mean = mean.astype("f4")
    signs = lambda rows: np.packbits(rows > mean, axis=1)
    bits = by_pieces(vectors, signs)
    binary = faiss.IndexBinaryFlat(dimension)
    binary.add(bits)

    def rescored(query, width):
        _, candidates = binary.search(signs(query[None]), width)
        rows = candidates[0]
        scores = vectors[rows] @ query
        return rows[np.argsort(-scores)[:TOP]]

    for width in (100, 400):
        seconds, found = timed(queries, lambda query: rescored(query, width))
        told(f"faiss BinaryFlat + f32 rescore of {width}", seconds, recall_at_10=recall(found, exact))
    del binary

    peak = by_pieces(vectors, lambda rows: np.abs(rows).max(keepdims=True)).max()
    eight = by_pieces(vectors, lambda rows: np.clip(np.round(rows / peak * 127), -127, 127).astype(np.int8))
    eight_queries = np.clip(np.round(queries / np.abs(queries).max() * 127), -127, 127).astype(np.int8)
    seconds, found = timed(eight_queries, lambda query: search(eight, query, TOP, MetricKind.IP, exact=True, threads=1).keys)
    told("usearch exact i8", seconds, recall_at_10=recall(found, exact))
    del eight

    packed = {query.tobytes(): signs(query[None])[0] for query in queries}

    def hamming(query):
        found = search(bits, packed[query.tobytes()], 100, MetricKind.Hamming, exact=True, threads=1).keys
        rows = np.asarray(found, dtype=np.int64)
        return rows[np.argsort(-(vectors[rows] @ query))[:TOP]]

    seconds, found = timed(queries, hamming)
    told("usearch b1 + f32 rescore of 100", seconds, recall_at_10=recall(found, exact))


def texts_of(folder, name):
    with open(folder / name, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def inverted(folder):
    import bm25s

    def make(path):
        index = bm25s.BM25()
        index.index(bm25s.tokenize(texts_of(folder, "texts.jsonl"), stopwords=None, show_progress=False), show_progress=False)
        index.save(str(path))

    return made_once(folder / "bm25s", make)


def prepare(folder):
    """Builds the peers' indexes, so that a later run only measures."""
    if json.loads((folder / "shape.json").read_text())["passages"] <= 100_000:
        graph(folder)
    inverted(folder)


def lexical(folder):
    import bm25s

    texts, questions = texts_of(folder, "texts.jsonl"), texts_of(folder, "questions.jsonl")
    path, build = inverted(folder)
    index = bm25s.BM25.load(str(path))
    size = sum(file.stat().st_size for file in path.iterdir())
    top = min(100, len(texts))
    tokens = [bm25s.tokenize(question, stopwords=None, show_progress=False) for question in questions]
    seconds, _ = timed(tokens, lambda query: index.retrieve(query, k=top, show_progress=False, n_threads=1))
    told("bm25s", seconds, build_seconds=build, passages=len(texts), index_bytes=size)
    if len(texts) <= 60_000:
        from rank_bm25 import BM25Okapi

        plain = BM25Okapi([text.lower().split() for text in texts])
        words = [question.lower().split() for question in questions[:20]]
        seconds, _ = timed(words, lambda query: np.argsort(-plain.get_scores(query))[:top])
        told("rank_bm25", seconds, passages=len(texts))


def hybrid(folder):
    """LangChain's EnsembleRetriever over BM25 and FAISS; embedding the question is not counted, as on our side."""
    import faiss
    from langchain_classic.retrievers import EnsembleRetriever
    from langchain_community.docstore.in_memory import InMemoryDocstore
    from langchain_community.retrievers import BM25Retriever
    from langchain_community.vectorstores import FAISS
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings

    faiss.omp_set_num_threads(1)
    dimension = json.loads((folder / "shape.json").read_text())["dimension"]
    vectors, queries = matrix(folder, "vectors.f32", dimension), np.array(matrix(folder, "queries.f32", dimension))
    texts, questions = texts_of(folder, "texts.jsonl"), texts_of(folder, "questions.jsonl")
    known = dict(zip(questions, queries))

    class Known(Embeddings):
        def embed_documents(self, texts):
            raise NotImplementedError

        def embed_query(self, text):
            return known[text]

    flat = faiss.IndexFlatIP(dimension)
    flat.add(vectors)
    documents = [Document(page_content=text, metadata={"number": number}) for number, text in enumerate(texts)]
    store = FAISS(Known(), flat, InMemoryDocstore(dict(enumerate(documents))), {number: number for number in range(len(documents))})
    words = BM25Retriever.from_documents(documents)
    words.k = 10
    ensemble = EnsembleRetriever(retrievers=[words, store.as_retriever(search_kwargs={"k": 10})], weights=[0.5, 0.5])
    seconds, _ = timed(questions[:20], ensemble.invoke)
    told("LangChain EnsembleRetriever (BM25 + faiss flat)", seconds, passages=len(texts))


def chunk(folder):
    """Splitting by tokens; FOLDER also holds `tokenizer.json`. Tells megabytes a second, the number of chunks, and all tokens."""
    from langchain_text_splitters import RecursiveCharacterTextSplitter
    from semantic_text_splitter import TextSplitter
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    count = lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
    by_tokens = RecursiveCharacterTextSplitter(chunk_size=512, chunk_overlap=102, length_function=count)
    by_characters = RecursiveCharacterTextSplitter(chunk_size=2048, chunk_overlap=410)
    splitters = {
        "LangChain, by tokens": by_tokens.split_text,
        "LangChain, by characters": by_characters.split_text,
        "text-splitter, by tokens": TextSplitter.from_huggingface_tokenizer(tokenizer, 512, 102).chunks,
        "text-splitter, by characters": TextSplitter(2048, 410).chunks,
    }
    texts = texts_of(folder, "documents.jsonl")
    size = sum(len(text.encode()) for text in texts)
    begun = time.perf_counter()
    tokens = sum(map(count, texts))
    speed = round(size / 1e6 / (time.perf_counter() - begun), 3)
    print(json.dumps({"peer": "the tokenizer, counting", "mb_per_second": speed, "tokens": tokens, "bytes": size}), flush=True)
    for name, split in splitters.items():
        speeds = []
        for _ in range(3):
            begun = time.perf_counter()
            chunks = sum(len(split(text)) for text in texts)
            speeds.append(size / 1e6 / (time.perf_counter() - begun))
        print(json.dumps({"peer": name, "mb_per_second": round(statistics.median(speeds), 3), "chunks": chunks, "bytes": size}), flush=True)


def main():
    subjects = {"prepare": prepare, "scan": scan, "lexical": lexical, "hybrid": hybrid, "chunk": chunk}
    if len(sys.argv) != 3 or sys.argv[1] not in subjects:
        sys.exit(__doc__)
    subjects[sys.argv[1]](pathlib.Path(sys.argv[2]))


if __name__ == "__main__":
    main()
