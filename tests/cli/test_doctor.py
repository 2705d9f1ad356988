"""`featurehub doctor --server`: which SAEs a running server has, and what its gauges say of what steering costs."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prometheus_client import generate_latest
from typer.testing import CliRunner

from api.budget import WINDOW, Door
from api.engine import Overhead
from api.health import Health
from api.overhead import publish
from featurehub.answers import ServedSae
from featurehub.cli.main import app
from featurehub.errors import EngineUnavailable, InvalidInput
from featurehub.features import State

SAES = (
    ServedSae(id="a" * 64, name="demo-l2", hook="layers.2.resid_post", state=State.FRESH),
    ServedSae(id="b" * 64, name="other", hook="layers.3.resid_post", state=State.STALE),
)
HEALTHY = Health(status="ok", engine="ok", store="ok", saes=SAES, state=State.STALE)
HTTP = {"ok": 200, "failing": 503}


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Starts a server that has these metrics and this health; returns its address."""
    servers: list[HTTPServer] = []

    def start(metrics: bytes, health: Health = HEALTHY) -> str:
        class Metrics(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                pages = {
                    "/metrics": (200, metrics),
                    "/healthz": (HTTP[health.status], health.model_dump_json().encode()),
                }
                status, page = pages.get(self.path, (404, b""))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(page)

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
    return lines(server)[-1]


def lines(server: str) -> list[str]:
    result = CliRunner().invoke(app, ["doctor", "--server", server], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output.splitlines()


def test_each_sae_has_a_line(serve: Callable[..., str]) -> None:
    said = lines(serve(measured(None, 0.005, 0.01)))
    assert said[-3:-1] == [
        "✓ SAE demo-l2 at layers.2.resid_post: fresh",
        "! SAE other at layers.3.resid_post: stale",
    ]


def test_a_server_that_cannot_steer_says_what_fails(serve: Callable[..., str]) -> None:
    failing = Health(status="failing", engine="dead", store="ok", saes=SAES[:1], state=State.FRESH)
    said = lines(serve(measured(None, 0.005, 0.01), failing))
    assert said[-3:-1] == ["✗ engine dead, feature database ok", "✓ SAE demo-l2 at layers.2.resid_post: fresh"]


def test_over_a_budget(serve: Callable[..., str]) -> None:
    url = serve(measured(0.03, 0.005, 0.04))
    for server in (url, f"{url}/", f"{url}/v1"):
        assert doctor(server) == (
            "✗ steering takes 4.5 % of each step: host 0.5 %, op 4 %; budget 3 %; refused: new requests that read "
            "activations"
        )


def test_within_a_budget_and_without_one(serve: Callable[..., str]) -> None:
    within = doctor(serve(measured(0.03, 0.005, 0.01)))
    assert within == "✓ steering takes 1.5 % of each step: host 0.5 %, op 1 %; budget 3 %; refused: nothing"
    none = doctor(serve(measured(None, 0.005, 0.04)))
    assert none == "✓ steering takes 4.5 % of each step: host 0.5 %, op 4 %; no budget"


def test_a_server_of_somebody_else_and_none_at_all(serve: Callable[..., str]) -> None:
    other = serve(b"vllm:num_requests_running 1.0\n")
    with pytest.raises(InvalidInput, match="nothing of featurehub"):
        doctor(other)
    with pytest.raises(InvalidInput, match="answers 404"):
        doctor(f"{other}/elsewhere")
    with pytest.raises(InvalidInput, match=r"no address.*http://127"):
        doctor("localhost")
    with pytest.raises(EngineUnavailable, match="nothing answers at"):
        doctor("http://127.0.0.1:9")
