#!/usr/bin/env python3
"""From the start of a function's process to its first answer: ours, and the same in Python, under one runtime host.

    cargo build --release -p outcrop -p benches && cargo lambda build --release --x86-64 --bin query
    cargo build --release --manifest-path benches/stock/Cargo.toml
    python3 -m venv target/start/venv && target/start/venv/bin/pip install -r benches/start/requirements.txt
    chrt -f 50 target/start/venv/bin/python benches/start/run.py

A laptop cloud holds 100,000 made passages of 1,024 components. The host speaks Lambda's Runtime API on loopback, hands each
fresh process one event, and kills it when it has answered. Figures are medians of `--repeats` processes of each function, in turns, after one that
is not counted: programs and index are in the file cache. Processor time is that of the whole process up to its answer.

A search from S3 finds an empty temporary folder; one from disk finds what an earlier process left in it, and boto3's and faiss' functions
their files.

The function has a core of its own (`--core`); host and cloud share the others. Of the models only the local embedder is called.
The TLS rows read two items in one call through a proxy on loopback, and each side trusts what it would on Lambda: ours Amazon's five roots, the others the
system's, and all of them one more for the proxy.
"""

import argparse
import contextlib
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TABLE, BUCKET, MODEL, DIMENSION = "outcrop-table", "outcrop-bucket", "amazon.titan-embed-text-v2:0", 1024
SEGMENTS = 5  # as `seed` makes them of 100,000 passages


class Runtime(http.server.ThreadingHTTPServer):
    """The Runtime API for one process and one event."""

    daemon_threads = True

    def __init__(self, event):
        super().__init__(("127.0.0.1", 0), Calls)
        self.event, self.child, self.asked, self.answer = json.dumps(event).encode(), None, None, None
        self.done = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        """A process that is killed leaves its connections open."""

    def finish(self, reply):
        """Keeps the first answer, and what the process took of the processor and of memory by then."""
        if self.answer is None:
            at, process = time.perf_counter(), pathlib.Path(f"/proc/{self.child.pid}")
            cpu = sum(int(one.read_text().split()[0]) for one in process.glob("task/*/schedstat"))
            peak = re.search(r"VmHWM:\s+(\d+)", (process / "status").read_text())
            self.answer = {"at": at, "cpu": cpu / 1e9, "peak": int(peak[1]) * 1024, "reply": reply}
            self.done.set()


class Calls(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.server.asked is not None:
            self.server.done.wait()
            return
        self.server.asked = time.perf_counter()
        self.reply(200, self.server.event, {
            "lambda-runtime-aws-request-id": str(uuid.uuid4()),
            "lambda-runtime-deadline-ms": str(int(time.time() * 1000) + 60_000),
            "lambda-runtime-invoked-function-arn": "arn:aws:lambda:us-east-1:000000000000:function:bench",
            "lambda-runtime-trace-id": "Root=1-00000000-000000000000000000000000;Sampled=0",
        })

    def do_POST(self):
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
        failed = self.path.endswith("/error")
        self.server.finish({"error": body.decode()} if failed else json.loads(body))
        self.reply(202, b'{"status":"OK"}', {})

    def reply(self, status, body, headers):
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def start(command, environment, event, core, left=lambda: True):
    """One fresh process: milliseconds to its first question, to its answer, processor time, memory. It is killed when it has answered and has
    left what it should."""
    runtime = Runtime(event)
    environment = {**environment, "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{runtime.server_address[1]}"}
    with tempfile.TemporaryDirectory() as folder, open(pathlib.Path(folder, "log"), "w+") as log:
        environment.setdefault("TMPDIR", folder)
        own = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {core})  # handed down to the process
        begun = time.perf_counter()
        child = runtime.child = subprocess.Popen(command, env=environment, cwd=HERE, stdout=log, stderr=log)
        os.sched_setaffinity(0, own)
        try:
            if runtime.done.wait(120):
                wait_for(left)
        finally:
            child.kill()
            child.wait()
            runtime.shutdown()
            runtime.server_close()
        answer = runtime.answer or {}
        reply = answer.get("reply", {})
        if reply.get("statusCode") != 200:
            log.seek(0)
            sys.exit(f"{command}: {reply}\n{log.read()}")
    return {"next_ms": 1e3 * (runtime.asked - begun), "answer_ms": 1e3 * (answer["at"] - begun), "cpu_ms": 1e3 * answer["cpu"],
            "peak_mb": answer["peak"] / 1e6, "results": len(json.loads(reply["body"]).get("results", []))}


def wait_for(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    sys.exit("waited a minute in vain")


def medians(functions, repeats, core):
    """Of each function, in turns."""
    rows = {name: [] for name in functions}
    for number in range(repeats + 1):
        for name, function in functions.items():
            row = start(*function, core)
            if number:
                rows[name].append(row)
    return {name: {figure: statistics.median(row[figure] for row in some) for figure in some[0]} for name, some in rows.items()}


@contextlib.contextmanager
def cloud(outcrop, data, cores):
    """A laptop cloud on the other cores."""
    command = ["taskset", "-c", cores, outcrop, "dev", "--no-sample", "--no-events", "--embedder", "hashing", "--port", "0", "--aws-port", "0", "--data", str(data)]
    record = data / "instance.json"
    record.unlink(missing_ok=True)
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not record.exists():
            time.sleep(0.05)
        yield json.loads(record.read_text())["aws"]
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait()


@contextlib.contextmanager
def certificates():
    """An authority and a certificate of it for this machine."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        openssl = lambda *words: subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=bench", "-days", "2")
        openssl("req", *key, "-keyout", "own.key", "-out", "own.csr", "-subj", "/CN=localhost")
        (folder / "names").write_text("subjectAltName=DNS:localhost\n")
        openssl("x509", "-req", "-in", "own.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "own.pem", "-days", "2",
                "-extfile", "names")
        for name, roots in [("amazon", ROOT / "crates/aws/src/roots/amazon.pem"), ("system", ssl.get_default_verify_paths().cafile)]:
            (folder / name).write_text(pathlib.Path(roots).read_text() + (folder / "ca.pem").read_text())
        yield folder


def proxy(folder, address):
    """Ends TLS and passes on; answers its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "own.pem", folder / "own.key")
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source, target):
        with contextlib.suppress(OSError):
            while some := source.recv(65536):
                target.sendall(some)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def serve(plain):
        with contextlib.suppress(OSError):
            client, server = context.wrap_socket(plain, server_side=True), socket.create_connection(address)
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=pump, args=(server, client), daemon=True).start()
            pump(client, server)

    def accept():
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return f"https://localhost:{listener.getsockname()[1]}"


def event(method, path, body=None):
    claims = {"sub": "local"}
    return {"resource": path, "path": path, "httpMethod": method, "headers": {"Content-Type": "application/json"},
            "requestContext": {"resourcePath": path, "httpMethod": method, "authorizer": {"claims": claims}, "requestId": "bench", "stage": "live"},
            "body": body and json.dumps(body), "isBase64Encoded": False}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "target/start")
    parser.add_argument("--built", type=pathlib.Path, default=ROOT / "target/release", help="folder with outcrop and seed")
    parser.add_argument("--query", default=str(ROOT / "target/lambda/query/bootstrap"))
    parser.add_argument("--stock", default=str(ROOT / "benches/stock/target/release/stock"))
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--core", type=int, default=1)
    parser.add_argument("--cloud-cores", default="0")
    parser.add_argument("--only", default="", help="only the table with these words in its title")
    parser.add_argument("--prepare", action="store_true", help="make data and indexes, measure nothing")
    parser.add_argument("--json", help="also write the figures to this file")
    arguments = parser.parse_args()
    release, python = arguments.built, sys.executable
    passages, data = arguments.folder / "passages", arguments.folder / "cloud"
    if not (passages / "shape.json").exists():
        subprocess.run([python, HERE / "prepare.py", passages, "100000"], check=True)
    seeded = data.exists()
    with cloud(str(release / "outcrop"), data, arguments.cloud_cores) as aws, certificates() as folder:
        if not seeded:
            subprocess.run([release / "seed", passages, "--endpoint", aws, "--table", TABLE, "--bucket", BUCKET], check=True)
        if arguments.prepare:
            return
        host = re.match(r"http://([^:]+):(\d+)", aws)
        secure = {"AWS_ENDPOINT_URL_DYNAMODB": proxy(folder, (host[1], int(host[2])))}
        common = {
            "PATH": os.environ["PATH"], "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "outcrop",
            "AWS_SECRET_ACCESS_KEY": "outcrop", "OUTCROP_TABLE": TABLE, "OUTCROP_BUCKET": BUCKET, "OUTCROP_EMBED_MODEL": MODEL,
            "OUTCROP_EMBED_DIMENSIONS": str(DIMENSION), "OUTCROP_ANSWER_MODEL": "us.amazon.nova-lite-v1:0", "OUTCROP_ADMINS": "user:local",
            "OUTCROP_STATE_MACHINE_ARN": "arn:aws:states:us-east-1:000000000000:stateMachine:outcrop-ingest", "FAISS_FOLDER": str(passages / "faiss"),
            "AWS_LAMBDA_FUNCTION_NAME": "bench", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769", "AWS_LAMBDA_FUNCTION_VERSION": "1",
            "AWS_LAMBDA_LOG_GROUP_NAME": "bench", "AWS_LAMBDA_LOG_STREAM_NAME": "bench", "OMP_NUM_THREADS": "1",
        }
        question = json.loads((passages / "question.json").read_text())
        search, health = event("POST", "/v1/search", {"query": question}), event("GET", "/v1/health")
        plain = {**common, "AWS_ENDPOINT_URL": aws}
        amazon = {**common, **secure, "AWS_CA_BUNDLE": str(folder / "amazon")}
        system = {**common, **secure, "AWS_CA_BUNDLE": str(folder / "system"), "SSL_CERT_FILE": str(folder / "system")}
        query, handler = [arguments.query], [python, "-m", "awslambdaric"]
        temporary = arguments.folder / "tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        segments = lambda: sorted(temporary.glob("outcrop-index/*/*.seg"))
        disk = {**plain, "TMPDIR": str(temporary)}
        start(query, disk, search, arguments.core, lambda: len(segments()) == SEGMENTS)
        disk["SEGMENT_FILE"] = str(segments()[0])
        tables = {
            "The first search, from S3": {
                "Outcrop: `query`": (query, plain, search),
                "boto3, three clients": ([*handler, "boto.search"], plain, search),
            },
            "The first search, from disk": {
                "Outcrop: `query`": (query, disk, search),
                "boto3, three clients": ([*handler, "boto.search"], disk, search),
                "langchain_aws and faiss": ([*handler, "chain.search"], disk, search),
            },
            "Two items over TLS": {
                "Outcrop: `query`": (query, amazon, health),
                "Rust, the SDK's defaults": ([arguments.stock], system, health),
                "boto3": ([*handler, "boto.health"], system, health),
            },
        }
        figures = {title: medians(functions, arguments.repeats, arguments.core) for title, functions in tables.items()
                   if arguments.only in title}
    for title, rows in figures.items():
        ours = rows["Outcrop: `query`"]
        print(f"\n{title}\n\n| | to the first `/next` | to the first answer | processor time | peak memory | answer against ours | processor against ours |")
        print("|---|---|---|---|---|---|---|")
        for name, row in rows.items():
            print(f"| {name} | {row['next_ms']:.1f} ms | {row['answer_ms']:.1f} ms | {row['cpu_ms']:.1f} ms | {row['peak_mb']:.0f} MB |"
                  f" {row['answer_ms'] / ours['answer_ms']:.1f} | {row['cpu_ms'] / ours['cpu_ms']:.1f} |")
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
