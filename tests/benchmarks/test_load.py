"""The clients of the HTTP mode, against a server whose waits are known."""

import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from tests.benchmarks.load import load

TOKENS, FIRST, REST = 4, 0.1, 0.3
"""Seconds until the first token, and from there to the end."""
LOCK = threading.Lock()


class Behavior(NamedTuple):
    status: int = 200
    generated: int = TOKENS
    edits: int = 0
    tokens_in_force: int = 7
    begins: str = ""
    ends: str = "data: [DONE]\n\n"


class Server(ThreadingHTTPServer):
    """Answers as a server of completions would. at_once: most requests that it answered at a time"""

    behavior = Behavior()
    running = at_once = requests = 0

    def count(self, coming: int) -> None:
        with LOCK:
            self.requests += max(0, coming)
            self.running += coming
            self.at_once = max(self.at_once, self.running)


class Completions(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.count(1)
        behavior = self.server.behavior
        choice = {"choices": [{"text": "wave"}], "usage": None}
        edits = [{"tokens": behavior.tokens_in_force}] * behavior.edits
        last = {"usage": {"completion_tokens": behavior.generated}, "featurehub": {"applied": edits}}
        time.sleep(FIRST)
        if not body.get("stream"):
            time.sleep(REST)
            self.server.count(-1)
            self.send(json.dumps(choice | last).encode(), behavior.status)
            return
        self.send_response(behavior.status)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(f"{behavior.begins}data: {json.dumps(choice)}\n\n".encode())
        time.sleep(REST)
        self.server.count(-1)
        self.wfile.write(f"data: {json.dumps(last)}\n\n{behavior.ends}".encode())

    def send(self, content: bytes, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Completions) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server: Server, streamed: bool, clients: int = 2, requests: int = 4, edits: int = 0) -> Any:
    bodies = [{"max_tokens": TOKENS, "stream": streamed}] * requests
    return load(f"http://127.0.0.1:{server.server_port}/v1", bodies, clients, edits)


@pytest.mark.parametrize(("streamed", "first", "rest"), [(True, FIRST, REST), (False, FIRST + REST, 0)])
def test_seconds_to_the_first_token(server: Server, streamed: bool, first: float, rest: float) -> None:
    """The server's waits bound them from below, and from above unless the machine holds up the client between them."""
    seen = [ask(server, streamed, clients=1, requests=1) for _ in range(3)]
    assert all(first <= each.first for each in seen)
    assert any(each.first <= TOKENS / each.tokens_per_second - rest for each in seen)


def test_tokens_of_all_clients_count(server: Server) -> None:
    started = time.perf_counter()
    seen = ask(server, streamed=True, clients=2, requests=4)
    assert 4 * TOKENS / (time.perf_counter() - started) <= seen.tokens_per_second <= 2 * TOKENS / (FIRST + REST)


def test_as_many_ask_at_once_as_there_are_clients(server: Server) -> None:
    ask(server, streamed=False, clients=3, requests=6)
    assert (server.at_once, server.requests) == (3, 6)


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(
    ("behavior", "message"),
    [
        (Behavior(generated=3, edits=1), "3 tokens and 1 edits in force, where 4 and 1 were asked for"),
        (Behavior(edits=0), "4 tokens and 0 edits in force, where 4 and 1"),
        (Behavior(edits=1, tokens_in_force=0), "4 tokens and 0 edits in force, where 4 and 1"),
        (Behavior(status=503, edits=1), "answered with status 503"),
    ],
)
def test_an_answer_that_is_not_what_was_asked_for_ends_the_benchmark(
    server: Server, streamed: bool, behavior: Behavior, message: str
) -> None:
    server.behavior = behavior
    with pytest.raises(RuntimeError, match=message):
        ask(server, streamed, requests=1, clients=1, edits=1)


@pytest.mark.parametrize(
    ("behavior", "message"),
    [
        (Behavior(ends=""), "the stream broke off"),
        (Behavior(ends='data: {"error": {"code": 7}}\n\ndata: [DONE]\n\n'), "an error: {'code': 7}"),
        (Behavior(begins='data: {"choices": []}\n\n'), "does not begin with a token"),
    ],
)
def test_a_stream_that_is_not_whole_ends_the_benchmark(server: Server, behavior: Behavior, message: str) -> None:
    server.behavior = behavior
    with pytest.raises(RuntimeError, match=re.escape(message)):
        ask(server, streamed=True, requests=1, clients=1)
