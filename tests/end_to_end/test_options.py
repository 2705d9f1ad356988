"""vLLM's own options beside edits: stop strings, seeds, counts of tokens, log-probabilities, structured output."""

import json
from typing import Any

import httpx
import pytest

from featurehub.demo.prompts import neutral_prompts

pytestmark = pytest.mark.engine

PROMPT = neutral_prompts("evaluate")[0]
EDITS = {"weather": 0.8}


def ask(url: str, stream: bool = False, **more: Any) -> Any:
    messages = [{"role": "user", "content": PROMPT}]
    asked = {"model": "demo", "messages": messages, "max_tokens": 24, "temperature": 0, "features": EDITS} | more
    answer = httpx.post(f"{url}/chat/completions", json=asked | {"stream": stream}, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.text if stream else answer.json()


def text(answer: Any, choice: int = 0) -> str:
    return answer["choices"][choice]["message"]["content"]


def chunks(url: str, **more: Any) -> list[Any]:
    data = [each.removeprefix("data: ") for each in ask(url, stream=True, **more).split("\n\n") if each]
    assert data.pop() == "[DONE]"
    return [json.loads(each) for each in data]


def test_a_stop_string_ends_a_steered_answer(url: str) -> None:
    whole = text(ask(url)).split()
    stop = f" {whole[4]}"
    ended = ask(url, stop=[stop])
    assert text(ended).split() == whole[: whole.index(whole[4])]
    assert ended["choices"][0]["finish_reason"] == "stop"
    used = ended["usage"]
    assert ended["featurehub"]["steered_tokens"] <= used["prompt_tokens"] + used["completion_tokens"] - 1
    last = chunks(url, stop=[stop])[-1]["featurehub"]
    assert last["applied"][0]["id"] == ended["featurehub"]["applied"][0]["id"]


def test_a_seed_draws_the_same_steered_answer(url: str) -> None:
    def drawn(features: dict[str, float]) -> list[str]:
        asked = {"temperature": 1.0, "features": features}
        return [text(ask(url, seed=seed, **asked)) for seed in (7, 8, 9)]

    steered, again, plain = drawn(EDITS), drawn(EDITS), drawn({})
    assert steered == again
    assert len({*steered}) == 3
    assert steered != plain


@pytest.mark.parametrize("usage", [True, False])
def test_counts_of_tokens_come_where_they_are_asked_for(url: str, usage: bool) -> None:
    plain, steered = (
        chunks(url, stream_options={"include_usage": usage}, **more) for more in ({"features": {}}, {"temperature": 0})
    )
    assert ["usage" in each for each in plain][-1] == ["usage" in each for each in steered][-1] == usage
    assert [each for each in steered if "featurehub" in each] == steered[-1:]
    assert steered[-1]["featurehub"]["steered_tokens"] > 0


def test_log_probabilities_are_those_of_the_steered_model(url: str) -> None:
    """Of each answer, where there are several: the first token of all of them is drawn from one distribution."""
    asked = {"logprobs": True, "top_logprobs": 3, "n": 2, "temperature": 1.0, "seed": 7}
    steered, plain = (likeliest(ask(url, features=each, **asked)) for each in (EDITS, {}))
    assert steered[0] == pytest.approx(steered[1], abs=1e-3)
    assert steered[0] != pytest.approx(plain[0], abs=1e-3)


def likeliest(answer: Any) -> list[float]:
    """The log-probability of the likeliest first token, as each choice says."""
    firsts = [one["logprobs"]["content"][0]["top_logprobs"] for one in answer["choices"]]
    return [max(each["logprob"] for each in first) for first in firsts]


def test_structured_output_holds_for_steered_answers(url: str) -> None:
    choices = ["the", "a"]
    answer = ask(url, structured_outputs={"choice": choices})
    assert text(answer).strip() in choices
    assert answer["featurehub"]["steered_tokens"] > 0
