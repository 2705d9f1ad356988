"""The engine is killed under a request: a clear 503, and a server started anew steers as before. Runs last: it ends the
server that the other tests share.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from featurehub.cli.server import free_port, served

pytestmark = pytest.mark.engine

STEERED: dict[str, Any] = {
    "model": "demo",
    "messages": [{"role": "user", "content": "tell me something ."}],
    "features": {"weather": 0.8},
    "temperature": 0,
}


def engines(url: str) -> list[psutil.Process]:
    """The engine processes of the server that listens at ``url``."""
    port = httpx.URL(url).port
    listening = [c.pid for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == port]
    children = [child for pid in listening if pid for child in psutil.Process(pid).children(recursive=True)]
    return [child for child in children if "EngineCore" in " ".join(child.cmdline())]


def ask(url: str, **more: Any) -> httpx.Response:
    return httpx.post(f"{url}/chat/completions", json=STEERED | more, timeout=120)


def test_a_killed_engine_is_a_503_and_a_new_server_steers_as_before(url: str, tmp_path: Path) -> None:
    before = ask(url, max_tokens=32).json()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, url, max_tokens=400, ignore_eos=True)
        time.sleep(0.5)
        [engine] = engines(url)
        engine.kill()
        gone = waiting.result()
    assert gone.status_code == 503
    assert gone.headers["retry-after"]
    assert "engine is gone" in gone.json()["error"]["message"]
    with served(["--planted"], free_port(), tmp_path / "server.log") as again:
        after = ask(again, max_tokens=32).json()
    assert after["choices"] == before["choices"]
    assert after["featurehub"]["applied"] == before["featurehub"]["applied"]
