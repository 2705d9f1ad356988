"""`featurehub doctor --server`: what a running server's gauges say of what steering costs."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prometheus_client import generate_latest
from typer.testing import CliRunner

from api.budget import WINDOW, Door
from api.engine import Overhead
from api.overhead import publish
from featurehub.cli.main import app
from featurehub.errors import EngineUnavailable, InvalidInput


@pytest.fixture
def serve() -> Iterator[Callable[[bytes], str]]:
    """Starts a server that has these metrics; returns its address."""
    servers: list[HTTPServer] = []

    def start(metrics: bytes) -> str:
        class Metrics(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if self.path == "/metrics" else 404)
                self.end_headers()
                self.wfile.write(metrics)

            def log_message(self, *_: object) -> None: ...

        servers.append(server := HTTPServer(("127.0.0.1", 0), Metrics))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def measured(budget: float | None, host: float, op: float) -> bytes:
    """The metrics of a server after a whole window, as it writes them."""
    door = Door(budget)
    for second in range(WINDOW + 1):
        door.see(Overhead(second, second * host, second * op))
    publish(door)
    return generate_latest()


def doctor(server: str) -> str:
    result = CliRunner().invoke(app, ["doctor", "--server", server], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output.splitlines()[-1]


def test_over_a_budget(serve: Callable[[bytes], str]) -> None:
    url = serve(measured(0.03, 0.005, 0.04))
    for server in (url, f"{url}/", f"{url}/v1"):
        assert doctor(server) == (
            "✗ steering takes 4.5 % of each step: host 0.5 %, op 4 %; budget 3 %; refused: new requests that read "
            "activations"
        )


def test_within_a_budget_and_without_one(serve: Callable[[bytes], str]) -> None:
    within = doctor(serve(measured(0.03, 0.005, 0.01)))
    assert within == "✓ steering takes 1.5 % of each step: host 0.5 %, op 1 %; budget 3 %; refused: nothing"
    none = doctor(serve(measured(None, 0.005, 0.04)))
    assert none == "✓ steering takes 4.5 % of each step: host 0.5 %, op 4 %; no budget"


def test_a_server_of_somebody_else_and_none_at_all(serve: Callable[[bytes], str]) -> None:
    other = serve(b"vllm:num_requests_running 1.0\n")
    with pytest.raises(InvalidInput, match="nothing of featurehub"):
        doctor(other)
    with pytest.raises(InvalidInput, match="answers 404"):
        doctor(f"{other}/elsewhere")
    with pytest.raises(InvalidInput, match=r"no address.*http://127"):
        doctor("localhost")
    with pytest.raises(EngineUnavailable, match="nothing answers at"):
        doctor("http://127.0.0.1:9")
