"""Do `inspect`, `activations` and `contrast` say what transformers and the SAE's own encoder say, on a served demo?

    python tests/benchmarks/reads.py smollm2 [--chats chats.jsonl.gz] [--count 24]

1. The server takes at most 256 tokens a step, so that long chats come in pieces; all chats are sent at once, and then
   once more, when the server has their tokens in its cache.
2. Every chat runs through transformers alone (``tests/end_to_end/naive.py``).
3. Printed for each call, and each time: how many numbers were compared, and the largest difference of any from its
   twin, in shares of the twin or, of numbers below 1, absolute. Both in float32.
"""

import argparse
import gzip
import itertools
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from machine import machine
from rich.console import Console

from featurehub import Client
from featurehub.artifacts.artifact import open_artifact
from featurehub.cli.demo.serving import planted, smollm2
from featurehub.cli.server import free_port, served
from featurehub.demo.corpus import conversations, messages
from tests.end_to_end.naive import NaiveReader, latents_of

STEP = ("--max-num-batched-tokens", "256")
AT_ONCE, LONGEST, LIMIT = 8, 1500, 1000
Chat = list[dict[str, str]]
Pairs = Iterator[tuple[float, float]]
"""A number of the server's, and its twin."""
console = Console(width=150, highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=("planted", "smollm2"))
    parser.add_argument("--chats", type=Path)
    parser.add_argument("--count", type=int, default=24)
    options = parser.parse_args()
    demo = (planted if options.model == "planted" else smollm2)()
    naive = NaiveReader(demo.model, open_artifact(demo.sae))
    chats = [each for each in chats_of(options.chats) if len(naive.rendered(each)[0]) <= LONGEST]
    chats = sorted(chats[: 4 * options.count], key=lambda chat: -len(str(chat)))[: options.count]
    lengths = [len(naive.rendered(each)[0]) for each in chats]
    console.print(f"{machine()}\n{options.model}, {len(chats)} chats of {min(lengths)} to {max(lengths)} tokens")
    with tempfile.TemporaryDirectory() as folder:
        flag = "--planted" if options.model == "planted" else "--demo"
        with served([flag, "--dtype", "float32", *STEP], free_port(), Path(folder) / "server.log") as url:
            compare(Client(base_url=url, timeout=600, max_retries=0), naive, chats)


def chats_of(path: Path | None) -> list[Chat]:
    """A file's, or the planted corpus'."""
    if path is None:
        return [messages(each) for each in itertools.islice(conversations(1), 400)]
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line)["messages"] for line in itertools.islice(file, 400)]


def compare(client: Client, naive: NaiveReader, chats: Sequence[Chat]) -> None:
    latent_of, rendered = latents_of(client), [naive.rendered(each) for each in chats]
    twins = [naive.activations(ids).numpy() for ids, _ in rendered]
    content = [np.array(inside) for _, inside in rendered]

    def activations(at: int) -> Pairs:
        found = client.features.activations(chats[at])
        columns = [each.latent for each in found.features]
        own = found.matrix()
        at_all = own.nonzero()
        return zip(own[at_all].tolist(), twins[at][:, columns][at_all].tolist(), strict=True)

    def inspect(at: int) -> Pairs:
        found = client.features.inspect(chats[at], limit=LIMIT)
        inside = twins[at][content[at]]
        for each in found.top(LIMIT):
            own = inside[:, latent_of(each.id)]
            twin = ((own > 0).mean(), own.mean(), own.max())
            yield from zip((each.frequency, each.mean, each.max), twin, strict=True)

    half = len(chats) // 2
    halves = [(chats[:half], chats[half:]), (chats[half:], chats[:half])]
    contrasts = [naive.contrast(*sets) for sets in halves]

    def contrast(at: int) -> Pairs:
        sets, known = halves[at], contrasts[at]
        found = client.features.contrast(*sets, limit=100)
        for each in (*found.dataset_1, *found.dataset_2):
            numbers = (each.effect, each.mean_1, each.mean_2, each.accuracy or 0.0)
            yield from zip(numbers, known[latent_of(each.id)], strict=True)

    for again in (False, True):
        report("activations", again, activations, len(chats))
        report("inspect", again, inspect, len(chats))
        report("contrast", again, contrast, 2)


def report(name: str, again: bool, ask: Callable[[int], Pairs], count: int) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        pairs = np.array([pair for found in pool.map(lambda at: [*ask(at)], range(count)) for pair in found])
    apart = np.abs(pairs[:, 0] - pairs[:, 1]) / np.maximum(1.0, np.abs(pairs[:, 1]))
    console.print(
        f"{name + (', again' if again else ''):20} {len(pairs):9,} numbers, apart at most {apart.max():.1e}, "
        f"{(apart > 1e-3).sum()} by more than 1e-3"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
