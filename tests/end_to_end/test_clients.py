"""Clients that people have, unmodified and each in an environment of its own, steer a real server.

Each script under ``clients`` asks for the same: plainly, steered, streamed, and with a client's usual options. What it
was answered is held against requests without any client.
"""

import json
import os
import subprocess
from pathlib import Path
from shutil import copy
from typing import Any

import httpx
import pytest

from featurehub.demo.prompts import neutral_prompts
from tests.end_to_end.environments import node_with, python_with

pytestmark = pytest.mark.engine

PROMPT = neutral_prompts("evaluate")[0]
STEER = {"features": {"weather": 0.8}}
FORECAST = {
    "type": "function",
    "function": {"name": "forecast", "parameters": {"type": "object", "properties": {"place": {"type": "string"}}}},
}
SCRIPTS = Path(__file__).with_name("clients")
PYTHON = ("openai==3.57.0", "langchain-openai==1.7.4", "litellm==1.110.2")
NODE = ("openai@6.49.0",)
WHOLE = {"final", "completions"}
"""What only OpenAI's own clients have: the parts of a stream put together, and completions of prompts."""


def command(name: str) -> list[str]:
    """What runs one of the scripts, up to its arguments."""
    if name == "node":
        # Node looks for packages beside the script.
        script = copy(SCRIPTS / "with_node.mjs", node_with(NODE))
        return ["node", script]
    return [str(python_with(PYTHON)), str(SCRIPTS / f"with_{name}.py")]


def said(name: str, url: str) -> dict[str, Any]:
    """What a client was answered."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "OPENAI_API_KEY")}
    done = subprocess.run([*command(name), url, PROMPT], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def ask(url: str, path: str = "chat/completions", status: int = 200, **more: Any) -> dict[str, Any]:
    asked = {"model": "demo", "max_tokens": 24, "temperature": 0} | more
    if path == "chat/completions":
        asked["messages"] = [{"role": "user", "content": PROMPT}]
    answer = httpx.post(f"{url}/{path}", json=asked, timeout=120)
    assert answer.status_code == status, answer.text
    return answer.json()


def texts(answer: dict[str, Any]) -> list[str]:
    return [each["message"]["content"] for each in answer["choices"]]


@pytest.fixture(scope="module")
def expected(url: str) -> dict[str, Any]:
    """What the same requests are answered without a client."""
    steered = ask(url, **STEER)
    [plain], [text] = texts(ask(url)), texts(steered)
    assert plain != text
    sure = ask(url, **STEER, logprobs=True, top_logprobs=2)["choices"][0]
    [stopped] = texts(ask(url, **STEER, stop=["."]))
    completions = ask(url, "completions", prompt=["the", "a"], **STEER | {"max_tokens": 8})
    response = ask(url, "responses", input=PROMPT, max_output_tokens=24, **STEER)
    applied = [each["id"] for each in steered["featurehub"]["applied"]]
    return {
        "plain": plain, "steered": text, "streamed": text, "applied": applied,
        "streamed_applied": applied, "tokens": steered["usage"]["completion_tokens"],
        "several": texts(ask(url, **STEER | {"temperature": 1}, n=3, seed=7)),
        "logprob": pytest.approx(sure["logprobs"]["content"][0]["logprob"], abs=1e-3),
        "stopped": stopped, "final": stopped,
        "formed": texts(ask(url, **STEER, structured_outputs={"choice": ["the", "a"]}))[0],
        "tools": texts(ask(url, **STEER, tools=[FORECAST], tool_choice="auto"))[0],
        "completions": [each["text"] for each in completions["choices"]],
        "response": response["output"][0]["content"][0]["text"],
        "errors": [404, 400],
    }  # fmt: skip


@pytest.mark.parametrize("name", ["openai", "node"])
def test_openais_clients_steer_with_keys_of_the_body(name: str, url: str, expected: dict[str, Any]) -> None:
    assert said(name, url) == expected


@pytest.mark.parametrize("name", ["langchain", "litellm"])
def test_clients_over_many_models_steer_too(name: str, url: str, expected: dict[str, Any]) -> None:
    """They drop what they do not know of an answer; which edits were applied is in the headers."""
    assert said(name, url) == {key: value for key, value in expected.items() if key not in WHOLE}
