"""Transcoders of the bundled model's MLPs: one for each layer, and one across them, beside controls.

EV, L0, dead   of each layer, on conversations that training never saw
KL             of the model's next-token predictions from those that it makes with these MLPs' outputs replaced at every
               ordinary token, in nats; each is computed from the stream as the replacements before it have left it

Controls: the mean output; the same transcoder with the inputs of other tokens; affine least squares, which is dense.

    python tests/benchmarks/transcoders.py [--layers 1 2 3] [--tokens 500000] [--latents 768] [--k 12]
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import AutoModelForCausalLM

from featurehub.demo.bundle import bundled_model
from featurehub.demo.corpus import conversations, messages
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.runs.harvest import identify_hooks
from featurehub.token_ids import special_ids
from saes.documents import Document, tokenize
from saes.harvest import Harvest, HarvestConfig, harvest_documents
from saes.run import TrainConfig
from saes.stream import Stream, StreamConfig
from saes.transcoders.pairs import READ, WRITTEN, Pairs, pairs
from saes.transcoders.quality import TranscoderQuality, evaluate_transcoder, explained_variance
from saes.transcoders.trainable import TranscoderRecipe
from saes.transcoders.training import train_transcoder
from saes.transcoders.transcoder import Transcoder

CONVERSATIONS, HELD_OUT, SCORED = 4000, 300, 60
console = Console(width=140, highlight=False)
Guess = Callable[[Tensor], Tensor]
"""From x to ŷ, both [tokens, layers, d_model]. Of ŷ, a layer may depend on x up to it."""


class Read(NamedTuple):
    """What was harvested, the documents that predictions are compared on, and the ids of special tokens."""

    training: Harvest
    held_out: Pairs
    documents: Sequence[Document]
    special: frozenset[int]


class Columns:
    """One layer's pairs among those of several; a trainer's ``Chunks``."""

    def __init__(self, harvest: Harvest, layer: int) -> None:
        self.harvest = harvest
        self.columns = slice(2 * layer * harvest.record.d_model, 2 * (layer + 1) * harvest.record.d_model)

    def __len__(self) -> int:
        return len(self.harvest)

    def streams(self, chunk: int) -> list[Tensor]:
        return [x[:, self.columns] for x in self.harvest.streams(chunk)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--tokens", type=int, default=500_000)
    parser.add_argument("--latents", type=int, default=768)
    parser.add_argument("--k", type=float, default=12.0)
    arguments = parser.parse_args()
    recipe, config = TranscoderRecipe(d_sae=arguments.latents, k=arguments.k), TrainConfig(tokens=arguments.tokens)
    layers = sorted(arguments.layers)
    with tempfile.TemporaryDirectory() as folder:
        read = harvested(layers, Path(folder))
        every = range(len(layers))
        alone = [timed(Stream(Columns(read.training, i), StreamConfig()), 1, recipe, config) for i in every]
        across = timed(Stream(read.training, StreamConfig()), len(layers), recipe, config)
        show(layers, read, [each for each, _ in alone], across[0], [sum(s for _, s in alone), across[1]])


def harvested(layers: Sequence[int], folder: Path) -> Read:
    identity, hooks = identify_hooks(bundled_model(), layers, (READ, WRITTEN))
    with Engine(bundled_model(), EngineConfig.capturing(*hooks, truncated=True), EngineOptions()) as engine:
        special = special_ids(engine.tokenizer)

        def read(name: str, seed: int, count: int) -> tuple[Harvest, list[Document]]:
            entries = [messages(each) for each in islice(conversations(seed), count)]
            documents, started = tokenize(engine.tokenizer, entries, 256).documents, time.monotonic()
            made = harvest_documents(engine, documents, special, folder / name, identity, hooks, HarvestConfig())
            seconds = time.monotonic() - started
            console.print(f"{name}: {made.record.tokens:,} tokens at {len(hooks)} hook points in {seconds:.0f} s")
            return made, documents

        training, _ = read("training", 7, CONVERSATIONS)
        held_out, documents = read("held out", 8, HELD_OUT)
    columns = torch.cat([held_out.load(shard).x for shard in range(len(held_out))])
    return Read(training, pairs(columns, len(layers)), documents[:SCORED], special)


def timed(stream: Stream, layers: int, recipe: TranscoderRecipe, config: TrainConfig) -> tuple[Transcoder, float]:
    started, width = time.monotonic(), next(stream).shape[1]
    return train_transcoder(stream, layers, width // layers // 2, recipe, config), time.monotonic() - started


def show(
    layers: Sequence[int], read: Read, alone: Sequence[Transcoder], across: Transcoder, seconds: Sequence[float]
) -> None:
    x, y = read.held_out
    shuffled = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
    mean, affine = y.mean(dim=0), least_squares(read)
    qualities = [evaluate_transcoder(each, [Pairs(x[:, [i]], y[:, [i]])]) for i, each in enumerate(alone)]
    own = TranscoderQuality(
        explained_variance=sum((each.explained_variance for each in qualities), ()),
        l0=sum((each.l0 for each in qualities), ()),
        dead=sum((each.dead for each in qualities), ()),
        tokens=len(x),
    )
    guesses: dict[str, Guess] = {
        "mean output": lambda x: mean.expand(len(x), -1, -1),
        "affine, dense": affine,
        "a transcoder per layer": lambda x: torch.cat(
            [each.decode(each.encode(x[:, [i]])) for i, each in enumerate(alone)], dim=1
        ),
        "one across layers": lambda x: across.decode(across.encode(x)),
    }
    model = AutoModelForCausalLM.from_pretrained(bundled_model(), dtype=torch.float32).eval()
    table = Table("", *(f"EV {layer}" for layer in layers), "L0", "dead", "seconds", "KL")
    measured = {
        "a transcoder per layer": (own, seconds[0]),
        "one across layers": (evaluate_transcoder(across, [read.held_out]), seconds[1]),
    }
    for name, guess in guesses.items():
        evs, kl = explained_variance([(y, guess(x))]), divergence(model, read, layers, guess)
        table.add_row(name, *map(number, evs), *cells(measured.get(name)), f"{kl:.3f}")
    evs = explained_variance([(y, guesses["one across layers"](shuffled))])
    table.add_row("  of other tokens", *map(number, evs), *[""] * 4)
    console.print(table)


def number(value: float) -> str:
    return f"{value:.3f}"


def cells(measured: tuple[TranscoderQuality, float] | None) -> list[str]:
    if measured is None:
        return ["", "", ""]
    quality, seconds = measured
    return [" ".join(f"{n:.1f}" for n in quality.l0), " ".join(f"{n:.1%}" for n in quality.dead), f"{seconds:.0f}"]


def least_squares(read: Read) -> Guess:
    """Each layer's output from its own input, fitted on the first shards of the training text."""
    columns = torch.cat([read.training.load(shard).x for shard in range(min(8, len(read.training)))])
    x, y = pairs(columns, read.held_out.x.shape[1])
    fits = [torch.linalg.lstsq(with_one(x[:, i]), y[:, i]).solution for i in range(x.shape[1])]
    return lambda x: torch.stack([with_one(x[:, i]) @ fit for i, fit in enumerate(fits)], dim=1)


def with_one(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones(len(x), 1)], dim=1)


@torch.no_grad()
def divergence(model: Any, read: Read, layers: Sequence[int], guess: Guess) -> float:
    """Mean over ordinary tokens."""
    special, total, count = torch.tensor(sorted(read.special)), 0.0, 0
    for document in read.documents:
        ids = torch.tensor(document.token_ids)
        ordinary = ~torch.isin(ids, special)
        own = model(ids[None]).logits[0].log_softmax(-1)[ordinary]
        with replaced(model, layers, guess, ordinary, read.held_out.x.shape[1]):
            other = model(ids[None]).logits[0].log_softmax(-1)[ordinary]
        total, count = total + float((own.exp() * (own - other)).sum()), count + len(own)
    return total / count


@contextmanager
def replaced(model: Any, layers: Sequence[int], guess: Guess, ordinary: Tensor, width: int) -> Iterator[None]:
    """The MLPs of these layers write what ``guess`` says, from the streams that have come by so far."""
    d_model = model.config.hidden_size
    x = torch.zeros(len(ordinary), width, d_model)
    with ExitStack() as stack:
        for i, layer in enumerate(layers):

            def keep(module: Any, inputs: Any, i: int = i) -> None:
                x[:, i] = inputs[0][0]

            def write(module: Any, inputs: Any, output: Tensor, i: int = i) -> Tensor:
                return torch.where(ordinary[None, :, None], guess(x)[None, :, i], output)

            own = model.model.layers[layer]
            stack.callback(own.post_attention_layernorm.register_forward_pre_hook(keep).remove)
            stack.callback(own.mlp.register_forward_hook(write).remove)
        yield


if __name__ == "__main__":
    main()
