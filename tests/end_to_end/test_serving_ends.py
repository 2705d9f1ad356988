"""The engine is killed under a request: a clear 503, and a server started anew steers as before, and keeps a budget.

Runs last: it ends the server that the other tests share.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from typer.testing import CliRunner

from featurehub.cli.main import app
from featurehub.cli.server import free_port, served

pytestmark = pytest.mark.engine

STEERED: dict[str, Any] = {
    "model": "demo",
    "messages": [{"role": "user", "content": "tell me something ."}],
    "features": {"weather": 0.8},
    "temperature": 0,
}
READING: dict[str, Any] = {"return_activations": {"top_k": 5}, "max_tokens": 64, "ignore_eos": True}
WHEN: dict[str, Any] = {"feature": "weather", "value": 0.05}
CONDITIONAL: dict[str, Any] = {"features": {"weather": {"weight": 0.8, "when": WHEN}}, "max_tokens": 64}
SECONDS = 90
"""How long a change of what is refused may take; some ten seconds, unless the machine is busy."""


def engines(url: str) -> list[psutil.Process]:
    """The engine processes of the server that listens at ``url``."""
    port = httpx.URL(url).port
    listening = [c.pid for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == port]
    children = [child for pid in listening if pid for child in psutil.Process(pid).children(recursive=True)]
    return [child for child in children if "EngineCore" in " ".join(child.cmdline())]


def ask(url: str, **more: Any) -> httpx.Response:
    return httpx.post(f"{url}/chat/completions", json=STEERED | more, timeout=120)


@pytest.fixture(scope="module")
def before(url: str) -> dict[str, Any]:
    """An answer of the first server."""
    return ask(url, max_tokens=32).json()


@pytest.fixture(scope="module")
def again(built: Any, before: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A second server. Its budget is so small that all work exceeds it."""
    log: Path = tmp_path_factory.mktemp("log") / "server.log"
    with served(["--planted", "--db", built.database, "--overhead-budget", "0.01%"], free_port(), log) as again:
        yield again


def test_a_killed_engine_is_a_503(url: str, before: dict[str, Any]) -> None:
    [engine] = engines(url)  # Found first: it may take a second, in which the answer would end.
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, url, max_tokens=400, ignore_eos=True)
        time.sleep(0.5)
        engine.kill()
        gone = waiting.result()
    assert gone.status_code == 503
    assert gone.headers["retry-after"]
    assert "engine is gone" in gone.json()["error"]["message"]


def test_a_new_server_steers_as_before(again: str, before: dict[str, Any]) -> None:
    after = ask(again, max_tokens=32).json()
    assert after["choices"] == before["choices"]
    assert after["featurehub"]["applied"] == before["featurehub"]["applied"]


def refused(url: str, asked: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Asks until it is refused: the refusal, and how many whole answers came before it."""
    deadline = time.monotonic() + SECONDS
    answers = 0
    while time.monotonic() < deadline:
        answer = ask(url, **asked)
        if answer.status_code == 503:
            assert answer.headers["retry-after"]
            return answer.json()["error"], answers
        assert_whole(answer, asked)
        answers += 1
    raise TimeoutError(f"{answers} answers in {SECONDS} s, and none was refused")


def assert_whole(answer: httpx.Response, asked: dict[str, Any]) -> None:
    """Nothing is missing in the answer of a request that was taken."""
    assert answer.status_code == 200, answer.text
    content = answer.json()
    assert content["featurehub"]["applied"]
    if "return_activations" in asked:
        usage = content["usage"]
        assert len(content["featurehub"]["activations"]) == usage["prompt_tokens"] + usage["completion_tokens"] - 1


def metrics(url: str) -> dict[str, float]:
    text = httpx.get(f"{url.removesuffix('/v1')}/metrics").text
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("featurehub_"))
    return {name: float(value) for name, value in lines}


def test_over_its_budget_reads_yield_then_conditions_and_all_come_back(again: str) -> None:
    for asked, key, level in ((READING, "return_activations", 1), (CONDITIONAL, "features.weather.when", 2)):
        with ThreadPoolExecutor(3) as pool:
            refusals = list(pool.map(lambda _, asked=asked: refused(again, asked), range(3)))
        assert sum(answers for _, answers in refusals) > 0
        for error, _ in refusals:
            assert (error["code"], error["param"]) == ("overhead_exceeded", key)
            assert "budget of 0.01 %" in error["message"]
        assert metrics(again)["featurehub_overhead_refused"] == level
        assert_whole(ask(again, max_tokens=8), {})
    measured = metrics(again)
    assert measured["featurehub_overhead_budget"] == 0.0001
    assert all(0 < measured[f'featurehub_overhead_share{{part="{part}"}}'] < 1 for part in ("host", "op"))
    told = CliRunner().invoke(app, ["doctor", "--server", again]).output
    assert "budget 0.01 %; refused: new requests that read or have conditions" in told
    deadline = time.monotonic() + SECONDS
    while metrics(again)["featurehub_overhead_refused"] and time.monotonic() < deadline:
        time.sleep(1)
    for asked in (READING, CONDITIONAL):
        assert_whole(ask(again, **asked), asked)
