"""Is every decoded token steered, and nothing else, when everything meets in one batch? Compiled, through HTTP.

24 requests at once: a third plain, a third steered with ``n``, ``logprobs`` and ``stop``, a third with an ablated
feature; a quarter of each are streams that their clients close after two chunks. Then 500 more closed streams.

1. Plain answers are, token by token, those of vLLM's server without featurehub under the same load.
2. An edit was in force at every token that the model computed, and at no other.
3. Steered answers are, token by token, those that the same requests get alone: before, in the crowd, and after.

    python tests/benchmarks/mixed_load.py [--closed 500]
"""

import argparse
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from servers import stock

from featurehub.cli.demo.planted import ensure_planted, planted_database
from featurehub.cli.server import free_port, served
from featurehub.demo.bundle import bundled_model
from featurehub.demo.prompts import neutral_prompts

CROWD, TOKENS = 24, 60
KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"features": {"pirate": 0.7}, "n": 3, "logprobs": 5, "stop": ["."]},
    {"features": {"pirate": {"mode": "ablate"}}},
)
OPTIONS = ("--dtype", "float32", "--max-num-seqs", "64")
PLAIN, STOPPED = range(0, CROWD, 3), range(1, CROWD, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--closed", type=int, default=500)
    closed = parser.parse_args().closed
    sae = ensure_planted()
    plain = ["--served-model-name", "base", *OPTIONS]
    with tempfile.TemporaryDirectory() as logs, stock(bundled_model(), plain, Path(logs) / "plain.log") as url:
        reference = crowd(url, without_features=True)
    with tempfile.TemporaryDirectory() as logs:
        arguments = [str(bundled_model()), "--sae", str(sae.folder), "--db", planted_database(), *OPTIONS]
        with served(arguments, free_port(), Path(logs) / "featurehub.log") as url:
            alone = [ask(url, i) for i in range(CROWD)]
            together = crowd(url)
            after = crowd(url, closed=closed)
            check(url, reference, alone, together, after)


def check(url: str, reference: Sequence[Any], alone: Sequence[Any], *crowds: Sequence[Any]) -> None:
    for name, answers in (("alone", alone), ("in the crowd", crowds[0]), ("after the closed streams", crowds[1])):
        same = [tokens_of(answers[i]) == tokens_of(reference[i]) for i in PLAIN if answers[i] and reference[i]]
        print(f"{name}: {sum(same)} of {len(same)} plain answers are those of vLLM without featurehub")
        own = [tokens_of(one) == tokens_of(other) for one, other in zip(answers, alone, strict=True) if one and other]
        print(f"{name}: {sum(own)} of {len(own)} answers are those that the requests got alone")
        off = [extra(answers[i]) for i in range(CROWD) if i not in PLAIN and answers[i]]
        print(f"{name}: tokens in force beyond those computed: {off}")
    health = httpx.get(f"{url.removesuffix('/v1')}/healthz")
    print(f"/healthz: {health.status_code} {health.json()['status']}")


def extra(answer: Any) -> int:
    """Each of n answers computes the whole prompt and all of its tokens but the last; nothing here is long enough to
    be cached.
    """
    usage, n = answer["usage"], len(answer["choices"])
    computed = n * usage["prompt_tokens"] + usage["completion_tokens"] - n
    return answer["featurehub"]["applied"][0]["tokens"] - computed


def tokens_of(answer: Any) -> list[list[int]]:
    return [choice["token_ids"] for choice in answer["choices"]]


def crowd(url: str, without_features: bool = False, closed: int = 0) -> list[Any]:
    """The answers to 24 requests at once; None where the client left, as every fourth does. ``closed`` more leave
    before."""
    with ThreadPoolExecutor(CROWD) as pool:
        list(pool.map(lambda i: leave(url, i), range(closed)))
        return list(pool.map(lambda i: (leave if i % 4 == 3 else ask)(url, i, without_features), range(CROWD)))


def ask(url: str, i: int, without_features: bool = False) -> Any:
    answer = httpx.post(f"{url}/completions", json=body(url, i, without_features), timeout=300)
    answer.raise_for_status()
    return answer.json()


def leave(url: str, i: int, without_features: bool = False) -> None:
    asked = body(url, i, without_features) | {"stream": True}
    with httpx.stream("POST", f"{url}/completions", json=asked, timeout=300) as answer:
        answer.raise_for_status()
        list(zip(range(4), answer.iter_lines(), strict=False))  # An event is a line and an empty one.


def body(url: str, i: int, without_features: bool) -> dict[str, Any]:
    prompts = neutral_prompts("evaluate")
    common = {
        "model": "base", "prompt": prompts[i // 3 % len(prompts)], "temperature": 0.7, "seed": i, "max_tokens": TOKENS,
        "return_token_ids": True,
    }  # fmt: skip
    kind = KINDS[i % 3]
    return common | {key: kind[key] for key in kind if not (without_features and key == "features")}


if __name__ == "__main__":
    main()
