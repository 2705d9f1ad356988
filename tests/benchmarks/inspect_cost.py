"""What `inspect` takes beside a plain prefill of the same number of tokens, on a served demo.

    python tests/benchmarks/inspect_cost.py smollm2 [--tokens 1000] [--rounds 9] [--texts texts.jsonl.gz]

Every round sends, in turn, a completion of one token and an inspection with the options that it has by default, each
of a text that the server has never seen, cut to the number of tokens, so that no cached prefix helps either. Printed:
the median of the rounds' ratios, with the middle half of them, of the whole answer as a client of the SDK has it.
"""

import argparse
import gzip
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import numpy as np
from costs import Middle
from machine import machine
from rich.console import Console
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from featurehub import Client
from featurehub.cli.demo.serving import NAME, planted, smollm2
from featurehub.cli.server import free_port, served
from featurehub.demo.corpus import conversations, messages

console = Console(width=150, highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=("planted", "smollm2"))
    parser.add_argument("--tokens", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--texts", type=Path)
    options = parser.parse_args()
    demo = (planted if options.model == "planted" else smollm2)()
    tokenizer = AutoTokenizer.from_pretrained(demo.model)
    texts = cut(tokenizer, sentences(options.texts), options.tokens)
    console.print(f"{machine()}\n{options.model}, {options.tokens} tokens", soft_wrap=True)
    with tempfile.TemporaryDirectory() as folder:
        flag = "--planted" if options.model == "planted" else "--demo"
        with served([flag, "--dtype", "float32"], free_port(), Path(folder) / "server.log") as url:
            report(*measure(Client(base_url=url, timeout=600, max_retries=0), texts, options.rounds))


def sentences(texts: Path | None) -> Iterator[str]:
    """Text without end, in an order of its own: a file's, or the planted corpus'."""
    if texts is None:
        return (turn["content"] for chat in conversations(1) for turn in messages(chat))
    with gzip.open(texts, "rt", encoding="utf-8") as file:
        lines = [json.loads(line)["text"] for line in file]
    Random(0).shuffle(lines)
    return itertools.cycle(lines)


def cut(tokenizer: PreTrainedTokenizerBase, pieces: Iterator[str], tokens: int) -> Iterator[str]:
    """Texts of so many tokens, none of which begins as another."""
    for _ in itertools.count():
        ids: list[int] = []
        while len(ids) < tokens:
            ids += tokenizer.encode(next(pieces) + " ", add_special_tokens=False)
        yield tokenizer.decode(ids[:tokens])


def measure(client: Client, texts: Iterator[str], rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of prefills and of inspections, [rounds] each. The first round warms up, and is not counted."""

    def prefill(text: str) -> None:
        client.completions.create(model=NAME, prompt=text, max_tokens=1, temperature=0)

    def inspect(text: str) -> None:
        client.features.inspect(text)

    seconds = np.array([[timed(each, next(texts)) for each in (prefill, inspect)] for _ in range(rounds + 1)])
    return seconds[1:, 0], seconds[1:, 1]


def timed(run: Callable[[str], None], text: str) -> float:
    started = time.perf_counter()
    run(text)
    return time.perf_counter() - started


def report(prefill: np.ndarray, inspect: np.ndarray) -> None:
    console.print(f"prefill {1e3 * np.median(prefill):.0f} ms, inspect {1e3 * np.median(inspect):.0f} ms")
    console.print(f"inspect of prefill: {Middle.of(inspect / prefill)}")


if __name__ == "__main__":
    main()
