"""Makes passages of words drawn by Zipf's law with vectors around topics, and langchain's faiss index of them: flat, as `FAISS.from_embeddings`
makes it."""

import json
import pathlib
import sys

import faiss
import numpy as np
from langchain_community.docstore.in_memory import InMemoryDocstore
from langchain_community.vectorstores import FAISS
from langchain_core.documents import Document

DIMENSION, WORDS, VOCABULARY, TOPICS = 1024, 60, 50_000, 500


def word(number):
    """A word of its own for each number."""
    letters = ""
    while True:
        letters += "bdfgklmnprstvz"[number % 14] + "aeiou"[number // 14 % 5]
        number //= 70
        if not number:
            return letters


def main():
    folder, count = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    folder.mkdir(parents=True)
    chance = np.random.default_rng(7)
    vocabulary = np.array([word(number) for number in range(VOCABULARY)])
    law = 1 / np.arange(1, VOCABULARY + 1) ** 1.07
    drawn = vocabulary[chance.choice(VOCABULARY, (count + 1, WORDS), p=law / law.sum())]
    *texts, question = (" ".join(words).capitalize() + "." for words in drawn)
    vectors = chance.standard_normal((TOPICS, DIMENSION), dtype=np.float32)[chance.integers(TOPICS, size=count)]
    vectors += chance.standard_normal((count, DIMENSION), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors.tofile(folder / "vectors.f32")
    (folder / "texts.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))
    (folder / "question.json").write_text(json.dumps(" ".join(question.split()[:8])))
    index = faiss.IndexFlatL2(DIMENSION)
    index.add(vectors)
    documents = {str(at): Document(page_content=text, metadata={"source": f"document-{at // 10}"}) for at, text in enumerate(texts)}
    FAISS(None, index, InMemoryDocstore(documents), dict(enumerate(documents))).save_local(str(folder / "faiss"))
    (folder / "shape.json").write_text(json.dumps({"passages": count, "dimension": DIMENSION}))


if __name__ == "__main__":
    main()
