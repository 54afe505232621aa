#!/usr/bin/env python3
"""What the guard's window costs an answer that streams: time to first text, how long text is held, what is added in all.

    cargo build --release && python3 benches/window.py

A model on loopback says sentences at a steady pace; the laptop cloud answers with it in the modes `off`, `window` and
`sync`, one after the other. A word counts as a token. `--guardrail-ms` makes every ApplyGuardrail take so much longer, as a
service over a network does. Only the standard library is used.
"""

import argparse
import http.server
import json
import pathlib
import random
import signal
import socketserver
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
QUESTION = "How many stairs does the lighthouse keeper climb?"
WORDS = """the keeper climbs stairs every evening and lights a lamp that ships see from far away when air is clear
nobody may open tower door while wind blows over granite cliffs where gulls nest in spring""".split()


def script(tokens, seed):
    """Words of an answer: sentences of 8 to 22 words."""
    chance, words = random.Random(seed), []
    while len(words) < tokens:
        sentence = [chance.choice(WORDS) for _ in range(chance.randint(8, 22))]
        words += [sentence[0].capitalize(), *sentence[1:-1], sentence[-1] + "."]
    return words[:tokens]


class Model(http.server.BaseHTTPRequestHandler):
    """Says the script at a pace and keeps when each word left."""

    words, pace, left = [], 0.0, []

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        Model.left = []
        begun, said = time.monotonic(), 0
        for number, word in enumerate(Model.words):
            time.sleep(max(0.0, begun + number * Model.pace - time.monotonic()))
            text = word if number == 0 else " " + word
            said += len(text.encode())
            Model.left.append((said, time.monotonic()))
            self.tell({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})
        self.tell({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self.wfile.write(b"data: [DONE]\n\n")

    def tell(self, event):
        self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        self.wfile.flush()

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


class Laptop:
    def __init__(self, program, mode, model_url):
        self.folder = tempfile.TemporaryDirectory()
        command = [program, "dev", "--no-sample", "--no-events", "--port", "0", "--aws-port", "0", "--data", self.folder.name]
        command += ["--model-url", model_url, "--guard", mode]
        self.child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        record = pathlib.Path(self.folder.name) / "instance.json"
        while True:
            try:
                addresses = json.loads(record.read_text())
                break
            except (FileNotFoundError, ValueError):
                time.sleep(0.05)
        self.api, self.aws = addresses["api"], addresses["aws"]

    def post(self, url, body, accept="application/json"):
        request = urllib.request.Request(url, data=json.dumps(body).encode())
        request.add_header("content-type", "application/json")
        request.add_header("accept", accept)
        return urllib.request.urlopen(request, timeout=600)

    def ingest(self):
        text = "# Lighthouse\n\nThe lighthouse keeper climbs one hundred stairs every evening.\n"
        run = json.load(self.post(self.api + "/v1/documents", {"name": "story.md", "content": text}))["run_id"]
        while json.load(urllib.request.urlopen(f"{self.api}/v1/runs/{run}"))["status"] != "SUCCEEDED":
            time.sleep(0.05)

    def answer(self):
        """Seconds from the request to the first text, from the model's last word to the last text, and how long each word was held."""
        arrivals, heard, done, begun = [], 0, None, time.monotonic()
        with self.post(self.api + "/v1/ask", {"question": QUESTION}, "text/event-stream") as reply:
            name = ""
            for line in reply:
                if line.startswith(b"event: "):
                    name = line[7:].strip()
                elif line.startswith(b"data: ") and name == b"delta":
                    heard += len(json.loads(line[6:])["text"].encode())
                    arrivals.append((heard, time.monotonic()))
                elif line.startswith(b"data: ") and name == b"done":
                    done = json.loads(line[6:])
        left = Model.left
        held, at = [], 0
        for said, when in left:
            while arrivals[at][0] < said:
                at += 1
            held.append(arrivals[at][1] - when)
        return {
            "first": arrivals[0][1] - begun,
            "last": arrivals[-1][1] - left[-1][1],
            "held": held,
            "checks": done["guard"]["checks"],
            "waited": done["timings_ms"]["guard"] / 1000,
        }

    def stop(self):
        self.child.send_signal(signal.SIGINT)
        self.child.wait(20)
        self.folder.cleanup()


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


def measure(program, url, mode, arguments):
    laptop = Laptop(program, mode, url)
    try:
        laptop.ingest()
        if arguments.guardrail_ms:
            laptop.post(laptop.aws + "/_local/faults", {"operation": "ApplyGuardrail", "delay_ms": arguments.guardrail_ms}).close()
        Model.pace = arguments.pace_ms / 1000
        answers = []
        for number in range(arguments.answers + 1):
            Model.words = script(arguments.tokens, number)
            answer = laptop.answer()
            # The first one starts the functions.
            if number:
                answers.append(answer)
        return answers
    finally:
        laptop.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "target/release/outcrop"))
    parser.add_argument("--answers", type=int, default=20, help="measured answers in each mode")
    parser.add_argument("--tokens", type=int, default=1000, help="tokens of an answer")
    parser.add_argument("--pace-ms", type=float, default=10, help="the model's pause between tokens")
    parser.add_argument("--guardrail-ms", type=int, default=0, help="added to every ApplyGuardrail")
    arguments = parser.parse_args()
    server = Server(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    print(f"{arguments.answers} answers of {arguments.tokens} tokens, one every {arguments.pace_ms:g} ms; ApplyGuardrail +{arguments.guardrail_ms} ms\n")
    print("| mode | first text, p50 | first text, p99 | added at the end, p50 | added at the end, p99 | a token held, p50 | a token held, p99 | checks | waited for verdicts, p50 |")
    print("|---|---|---|---|---|---|---|---|---|")
    for mode in ("off", "window", "sync"):
        answers = measure(arguments.program, url, mode, arguments)
        held = [seconds for answer in answers for seconds in answer["held"]]
        cells = []
        for values in ([answer["first"] for answer in answers], [answer["last"] for answer in answers], held):
            cells += [f"{quantile(values, share) * 1000:.0f} ms" for share in (0.5, 0.99)]
        checks = statistics.median(answer["checks"] for answer in answers)
        waited = quantile([answer["waited"] for answer in answers], 0.5) * 1000
        print(f"| `{mode}` | " + " | ".join(cells) + f" | {checks:g} | {waited:.0f} ms |")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
