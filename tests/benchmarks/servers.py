"""The HTTP mode of ``throughput.py``: ``featurehub serve`` against vLLM's own server with the same model and options.

Three servers run at once and take turns: vLLM's, the same again as a control, and ours, which is asked for nothing, for
one name and for eight. Clients send requests of 32 tokens of prompt and 64 of answer, streamed or not, each its next as
soon as it has its answer. An answer that does not tell of its edits ends the benchmark.

The first token is timed on streams of one token: with a small model on two cores, a busy engine keeps the processors
from vLLM's own server too, and half of all longer streams arrive as one piece at their end. Between turns is a pause,
since a worker of vLLM's spins for a second after its last request, on a processor that the next server needs.
"""

import itertools
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from costs import Middle
from load import Load, load
from machine import has_gpu
from rich.progress import track
from rich.table import Table
from served_shape import ServedShape, name_of, save_served
from shapes import CONTEXT, CROWD, PROMPT, SHAPES
from turns import ALL_SHARES, console

from featurehub.cli.server import free_port, running, served
from featurehub.engine.loading import as_fingerprinted

SPINNING = 1.2
"""Seconds after which an idle worker sleeps, and some."""
TOKENS, REQUESTS = 64, 6
"""Generated for a request; requests of a client in a turn."""
NAME = "base"
LEAST_ID, MOST_ID = 10, 500
"""Token ids of prompts are drawn between them."""
numbers = itertools.count()


class Asking(NamedTuple):
    """A server, and how many names every request gives it."""

    server: str
    names: int = 0

    def __str__(self) -> str:
        return self.server if self.server in STOCK else f"{self.server}, {self.names or 'no'} names"

    def body(self, streamed: bool, tokens: int = TOKENS) -> dict[str, Any]:
        """A prompt of its own, so that no cache of prefixes has it."""
        draw = random.Random(next(numbers))
        body: dict[str, Any] = {
            "model": NAME, "prompt": [draw.randrange(LEAST_ID, MOST_ID) for _ in range(PROMPT)], "max_tokens": tokens,
            "ignore_eos": True, "temperature": 0.7,
        }  # fmt: skip
        if streamed:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        if self.names:
            body["features"] = {name_of(8 * latent): 0.5 for latent in range(self.names)}
        return body

    def bodies(self, clients: int, streamed: bool, tokens: int = TOKENS) -> list[dict[str, Any]]:
        """What all clients send in a turn."""
        return [self.body(streamed, tokens) for _ in range(REQUESTS * clients)]


STOCK = ("vllm serve", "control")
ARMS = (*map(Asking, STOCK), *(Asking("featurehub", names) for names in (0, 1, 8)))


@contextmanager
def stock(model: Path, options: Sequence[str], log: Path) -> Iterator[str]:
    """vLLM's own server, without featurehub's plugin.

    Args:
        model: Folder of the model.
        options: Of ``vllm serve``, without host and port.
        log: File that receives the server's output.

    Yields:
        The base URL, ending in ``/v1``.

    Raises:
        EngineUnavailable: The server does not start; the message has the end of its log.
    """
    port = free_port()
    # What ``vllm serve`` runs; the command itself does not start where the distribution has another name, as on a CPU.
    program = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    place = ["--host", "127.0.0.1", "--port", str(port)]
    own = {"VLLM_PLUGINS": "", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with running([*program, *place, *options], port, log, {**os.environ, **own}) as url:
        yield url


def compare_servers(
    model: str, folder: Path, crowds: Sequence[int], rounds: int, compiled: bool, others: int = 0
) -> None:
    """crowds: numbers of clients at once;  others: features of other SAEs in the database"""
    with console.status("a model of this shape is written"):
        shape = save_served(SHAPES[model], folder, others)
    with all_served(shape, folder, options_of(shape.model, compiled)) as urls:
        for clients, streamed in itertools.product(crowds, (True, False)):
            found = measure_servers(urls, ARMS, clients, streamed, rounds)
            show_servers(clients, streamed, found)


def options_of(model: Path, compiled: bool) -> list[str]:
    """What both kinds of server are given."""
    loading = (("--" + name.replace("_", "-"), value) for name, value in as_fingerprinted(model).items())
    share = ["--gpu-memory-utilization", f"{ALL_SHARES / (len(STOCK) + 1):.3f}"] if has_gpu() else []
    sizes = ["--max-model-len", str(CONTEXT), "--max-num-seqs", str(CROWD), "--served-model-name", NAME]
    return [*itertools.chain.from_iterable(loading), *sizes, *share, *(() if compiled else ("--enforce-eager",))]


@contextmanager
def all_served(shape: ServedShape, folder: Path, options: Sequence[str]) -> Iterator[dict[str, str]]:
    """The servers' base URLs by name. No two start at a time."""
    ours = [str(shape.model), "--sae", str(shape.sae), "--db", str(shape.database), *options]
    with ExitStack() as stack:
        urls: dict[str, str] = {}
        for name in STOCK:
            with console.status(f"{name} starts"):
                urls[name] = stack.enter_context(stock(shape.model, options, folder / f"{name}.log"))
        with console.status("featurehub serve starts"):
            urls["featurehub"] = stack.enter_context(served(ours, free_port(), folder / "featurehub.log"))
        yield urls


def measure_servers(
    urls: dict[str, str], arms: Sequence[Asking], clients: int, streamed: bool, rounds: int
) -> dict[Asking, list[Load]]:
    """The first round warms up, and is not counted."""
    loads: dict[Asking, list[Load]] = {arm: [] for arm in arms}
    for turn in track(range(rounds + 1), f"{clients} clients", console=console, transient=True):
        for arm in arms:
            time.sleep(SPINNING)
            seen = load(urls[arm.server], arm.bodies(clients, streamed), clients, edits=arm.names)
            if streamed:
                short = load(urls[arm.server], arm.bodies(clients, streamed, 1), clients, edits=arm.names)
                seen = seen._replace(first=short.first)
            if turn:
                loads[arm].append(seen)
    return loads


def show_servers(clients: int, streamed: bool, loads: dict[Asking, list[Load]]) -> None:
    """The first arm is the baseline."""
    first = "ms to the first token" if streamed else "ms to the answer"
    title = f"{clients} client{'s' * (clients > 1)}, {'streamed' if streamed else 'whole'}, against {next(iter(loads))}"
    table = Table("", "tokens/s", "of it", first, "ms more", "of it", title=title, title_justify="left", box=None)
    rates, waits = np.moveaxis(np.array(list(loads.values())), -1, 0)  # [arms, rounds] each
    for arm, rate, wait in zip(loads, rates, waits, strict=True):
        cells = (f"{np.median(rate):.0f}", Middle.of(rate / rates[0]), f"{1e3 * np.median(wait):.1f}")
        more = f"{1e3 * np.median(wait - waits[0]):.1f}"
        table.add_row(str(arm), *map(str, cells), more, str(Middle.of(wait / waits[0])))
    console.print(table, highlight=False)
