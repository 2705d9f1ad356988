"""An OpenAI-compatible endpoint on loopback that does what a script says, and counts what it is asked.

``python endpoint.py PORT LOG`` serves by itself, answers every question well after a moment, and appends a line to LOG
for each, so that a test may kill who asks it.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

__all__ = ["Answer", "Endpoint", "chat", "good", "questions_of"]

NAMING = json.dumps({"name": "a topic", "words": ["loan", "rain"]})


class Answer(NamedTuple):
    """What the endpoint does: waits, then answers with this status, headers and body."""

    body: str = ""
    status: int = 200
    headers: Mapping[str, str] = {}
    stall: float = 0.0


Script = Callable[[int, dict[str, Any]], Answer]
"""From the number of the question, from 0, and its body."""


def chat(
    text: str | None, finish: str = "stop", refusal: str | None = None, tokens: tuple[int, int] = (100, 20)
) -> Answer:
    """A chat completion."""
    message = {"role": "assistant", "content": text, "refusal": refusal}
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    body = {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
    return Answer(json.dumps(body))


def good(number: int, body: dict[str, Any]) -> Answer:
    """A name for an explainer, and "in all of them" for a scorer."""
    asks = json.dumps(body)
    return chat(json.dumps({"matching": [1]}) if "matching" in asks else NAMING)


def questions_of(body: dict[str, Any]) -> str:
    """The user's text."""
    return body["messages"][-1]["content"]


class Endpoint:
    """The endpoint while it runs.

    Attributes:
        script: What it does.
        asked: The bodies of all questions, in order.
        granted: Tokens that the answers said they used.
        busiest: Most questions at a time.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[dict[str, Any]] = []
        self.granted = self.busiest = self._running = 0
        self._lock = threading.Lock()

    @contextmanager
    def running(self, port: int = 0) -> Iterator[str]:
        """Serves in threads of this process, and yields the URL."""
        server = self.server(port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def server(self, port: int = 0) -> ThreadingHTTPServer:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                endpoint.answer(self, body)

            def log_message(self, *_: object) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        server.daemon_threads = True
        return server

    def answer(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        with self._lock:
            number = len(self.asked)
            self.asked.append(body)
            self._running += 1
            self.busiest = max(self.busiest, self._running)
        answer = self.script(number, body)
        time.sleep(answer.stall)
        with self._lock:
            self._running -= 1
            if answer.status == 200 and '"usage"' in answer.body:
                self.granted += json.loads(answer.body)["usage"]["total_tokens"]
        data = answer.body.encode()
        try:
            handler.send_response(answer.status)
            for name, value in {"content-type": "application/json", **answer.headers}.items():
                handler.send_header(name, value)
            handler.send_header("content-length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data)
        except OSError:
            pass  # who asked has gone


def serve(port: int, log: str) -> None:
    def script(number: int, body: dict[str, Any]) -> Answer:
        with open(log, "a") as file:
            file.write(json.dumps(questions_of(body)) + "\n")
        return good(number, body)._replace(stall=0.02)

    Endpoint(script).server(port).serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2])
