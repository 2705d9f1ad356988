"""A server that does not come up: its log's end is shown, and nothing of it is left behind."""

import os
import sys
from pathlib import Path

import pytest

import featurehub.cli.server
from featurehub.cli.server import free_port, running
from featurehub.errors import EngineUnavailable

FAILS = "import sys; print('no room for the KV cache'); sys.exit(3)"
HANGS = "import os, time; print(f'pid {os.getpid()}', flush=True); time.sleep(600)"
SERVES = """
import os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Healthy(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
print(f'pid {os.getpid()} {os.environ["MOOD"]}', flush=True)
HTTPServer(('127.0.0.1', int(sys.argv[1])), Healthy).serve_forever()
"""


def ended(log: Path) -> bool:
    with pytest.raises(ProcessLookupError):
        os.kill(int(log.read_text().split()[1]), 0)
    return True


def run(program: str, log: Path, port: int, environment: dict[str, str] | None = None) -> None:
    """Leaves the block by an error once the server answers."""
    with running([sys.executable, "-c", program, str(port)], port, log, environment) as url:
        assert url == f"http://127.0.0.1:{port}/v1"
        raise ZeroDivisionError


def test_one_that_ends_is_shown_with_what_it_said_last(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match=r"did not start; the end of .*server.log:\nno room for the KV cache"):
        run(FAILS, tmp_path / "logs" / "server.log", free_port())


def test_one_that_never_answers_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(featurehub.cli.server, "BOOT_SECONDS", 2)
    log = tmp_path / "server.log"
    with pytest.raises(EngineUnavailable, match=r"did not start; the end of .*server.log:\npid \d+"):
        run(HANGS, log, free_port())
    assert ended(log)


def test_one_that_answers_is_ended_with_the_block_however_it_is_left(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with pytest.raises(ZeroDivisionError):
        run(SERVES, log, free_port(), {**os.environ, "MOOD": "fine"})
    assert log.read_text().splitlines()[0].endswith(" fine")
    assert ended(log)
