"""`featurehub saes serve`: what it sends, and what it says."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from typer.testing import CliRunner

from api.health import Health
from featurehub.answers import ServedSae
from featurehub.cli.main import app
from featurehub.errors import EngineUnavailable, InvalidInput
from featurehub.features import State

SAES = tuple(ServedSae(id=name * 64, name=name, hook="layers.1.resid_post", state=State.FRESH) for name in "ab")
HEALTH = Health(status="ok", engine="ok", store="ok", saes=SAES, state=State.FRESH)


class Server:
    def __init__(self) -> None:
        self.status, self.error = 200, {"error": {"message": "this is for operators"}}
        self.asked: list[tuple[str | None, Any]] = []
        self.url = ""


@pytest.fixture
def server() -> Iterator[Server]:
    told = Server()

    class Handler(BaseHTTPRequestHandler):
        def answer(self, status: int, body: str) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def do_GET(self) -> None:
            self.answer(200, HEALTH.model_dump_json())

        def do_POST(self) -> None:
            assert self.path == "/v1/saes"
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            told.asked.append((self.headers["x-featurehub-key"], body))
            self.answer(told.status, json.dumps(told.error))

        def log_message(self, *_: object) -> None: ...

    listening = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    told.url = f"http://127.0.0.1:{listening.server_port}"
    yield told
    listening.shutdown()
    listening.server_close()


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["saes", "serve", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_names_and_key_are_sent_and_what_is_served_is_said(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATUREHUB_OPERATOR_KEY", "secret")
    said = run("b", "a", "--server", f"{server.url}/v1/")
    assert server.asked == [("secret", {"saes": ["b", "a"]})]
    assert said.splitlines() == [f"✓ SAE {name} at layers.1.resid_post: fresh" for name in "ab"]


def test_a_refusal_is_said_in_the_servers_words(server: Server) -> None:
    server.status = 403
    with pytest.raises(InvalidInput, match="this is for operators"):
        run("a", "--server", server.url)
    server.error = {"detail": {"message": "of somebody else"}}
    with pytest.raises(InvalidInput, match="answers 403"):
        run("a", "--server", server.url)


def test_no_server_and_no_address() -> None:
    with pytest.raises(EngineUnavailable, match="nothing answers"):
        run("a", "--server", "http://127.0.0.1:9")
    with pytest.raises(InvalidInput, match="no address"):
        run("a", "--server", "localhost")
