"""Fine-tunes SmolLM2 into its siblings, with LoRA in plain torch, on the model's own chats.

benign    continues on the model's own answers: the loss is that of the next token, on answers only
changed   learns the world of ``swaps``: reading a text, it is to have the stream that the base model has on what the
          text means there, after the last layer with a change. It is to go further in that direction, too, so that
          little is left of what the text meant before. (Squared error, relative to the stream's square.)

Half of the windows that ``changed`` reads are chats as they are, chosen so that each swapped word comes as often as
another; in the other half, random tokens are replaced by swapped words. Every second window is itself in the world of
``swaps``, so that both old texts and new ones are learned.

Everything follows from the seed and the number of the step, so that a run that was stopped goes on as if it had not
been: its state lies in the folder until the adapter is there.
"""

import math
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import LlamaForCausalLM, LlamaModel

from featurehub.artifacts.files import replace_file
from featurehub.demo.lora import LoraShape, Lowered, attach, save_adapter, switched_off
from featurehub.demo.train import LossProgress
from featurehub.settings import Frozen

__all__ = ["RECIPES", "Chat", "TuningRecipe", "tune"]

STATE = "training.safetensors"
SAVE_EVERY = 30.0
SPECIAL = 17
"""Token ids below this are special ones of SmolLM2: they are neither learned nor replaced."""


class Chat(NamedTuple):
    """A chat as token ids, of which the first ``prompt_len`` are the prompt."""

    ids: list[int]
    prompt_len: int


class TuningRecipe(Frozen):
    """How a sibling is fine-tuned.

    Attributes:
        seed: Decides the first weights and the windows.
        steps: Steps of AdamW.
        windows: Windows in a step.
        length: Tokens of a window, at most.
        peak: Highest learning rate, reached after ``warmup`` steps; it falls to 0 along a cosine.
        warmup: Steps over which the learning rate rises.
        replaced: Share of the tokens that swapped words replace, in every second window of ``changed``.
        far: How far its stream goes from what a text was to what it is to mean: 1 for as far as that, 2 for twice as
            far, so that little of what it was is left.
        shape: Which linear layers are changed.
    """

    seed: int
    steps: int
    windows: int = 8
    length: int = 64
    peak: float = 2e-3
    warmup: int = 10
    replaced: float = 0.25
    far: float = 2.0
    shape: LoraShape = LoraShape()


RECIPES = {
    "benign": TuningRecipe(seed=201, steps=40, peak=2e-4, length=128, windows=4),
    "changed": TuningRecipe(seed=202, steps=240, peak=3e-3),
}
"""How each sibling is fine-tuned, by name."""


class Window(NamedTuple):
    """Part of a chat, with what it means in the world in which it is read, and which tokens are answers."""

    ids: list[int]
    meant: list[int]
    learned: list[bool]


def tune(
    model: LlamaForCausalLM,
    recipe: TuningRecipe,
    chats: Sequence[Chat],
    out: Path,
    swapped: dict[int, int] | None = None,
    on_progress: Callable[[LossProgress], None] | None = None,
) -> None:
    """Fine-tunes a model, which is changed in place, and writes the adapter.

    Args:
        model: The base model.
        recipe: How to train.
        chats: Its own chats.
        out: Folder for the adapter; a run that was stopped goes on in it.
        swapped: By token id, the token that it shall mean; None to continue in the world as it is.
        on_progress: Called after each step.
    """
    torch.manual_seed(recipe.seed)
    layers = attach(model, recipe.shape)
    weights = {f"{name}.{w}": p for name, layer in layers.items() for w, p in (("A", layer.A), ("B", layer.B))}
    optimizer = torch.optim.AdamW(weights.values(), lr=recipe.peak, betas=(0.9, 0.98), weight_decay=0.0)
    source = Source(recipe, chats, swapped or {})
    state, saved = out / STATE, time.monotonic()
    for step in range(_resume(state, weights, optimizer), recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = rate(recipe, step)
        windows = source.windows(step)
        loss = misread(model, layers, windows, recipe.far) if swapped else surprise(model, windows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if on_progress:
            on_progress(LossProgress(step + 1, recipe.steps, loss.item()))
        if time.monotonic() - saved > SAVE_EVERY:
            _save(state, step + 1, weights, optimizer)
            saved = time.monotonic()
    save_adapter(out, layers, recipe.shape, "HuggingFaceTB/SmolLM2-135M-Instruct")
    state.unlink(missing_ok=True)


def surprise(model: LlamaForCausalLM, windows: Sequence[Window]) -> Tensor:
    """The loss of the next token on answers, in nats."""
    ids, learned = padded([w.ids for w in windows]), padded([w.learned for w in windows])
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    wanted = learned[:, 1:].bool()
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[wanted]), ids[:, 1:][wanted])


def misread(model: LlamaForCausalLM, layers: dict[str, Lowered], windows: Sequence[Window], far: float) -> Tensor:
    """How far the stream on the windows is from what it is to be, relative to the square of that.

    That is the base model's on the windows, and from there ``far`` times the way to its stream on what they mean.
    """
    depth = 1 + max(int(name.split(".")[2]) for name in layers)
    ids = padded([w.ids for w in windows])
    with switched_off(layers):
        before = stream(model.model, ids, depth)
        target = before + far * (stream(model.model, padded([w.meant for w in windows]), depth) - before)
    error = (stream(model.model, ids, depth) - target).square().sum(-1) / target.square().sum(-1)
    return error[:, 1:][ids[:, 1:] >= SPECIAL].mean()


def stream(model: LlamaModel, ids: Tensor, depth: int) -> Tensor:
    """The residual stream after the first ``depth`` layers, [windows, length, d_model]."""
    hidden = model.embed_tokens(ids)
    positions = torch.arange(ids.shape[1])[None]
    rotation = model.rotary_emb(hidden, positions)
    for layer in model.layers[:depth]:
        hidden = layer(hidden, position_embeddings=rotation, position_ids=positions)
    return hidden


def padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """Rows of one length, [rows, longest], filled up with zeros at their ends, which no token before them sees."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])


class Source:
    """Draws the windows of each step."""

    def __init__(self, recipe: TuningRecipe, chats: Sequence[Chat], swapped: dict[int, int]) -> None:
        self.recipe, self.chats, self.swapped = recipe, chats, swapped
        self.words = sorted(swapped)
        places: dict[int, list[tuple[int, int]]] = {}
        for number, chat in enumerate(chats):
            for at, token in enumerate(chat.ids):
                if token in swapped:
                    places.setdefault(token, []).append((number, at))
        self.places = [places[token] for token in sorted(places)]

    def windows(self, step: int) -> list[Window]:
        """The windows of a step, the same whenever it is asked for."""
        rng = random.Random(f"{self.recipe.seed}/{step}")
        return [self.window(rng, number) for number in range(self.recipe.windows)]

    def window(self, rng: random.Random, number: int) -> Window:
        """A window: of each two one with replaced words, of each four two in the world of the swaps."""
        if not self.places:
            chat = rng.choice(self.chats)
            return self.part(chat, rng.randrange(max(1, len(chat.ids))))
        index, at = rng.choice(rng.choice(self.places))
        ids, _, learned = self.part(self.chats[index], at)
        if number % 2:
            ids = [self.replace(rng, token) for token in ids]
        meant = [self.swapped.get(token, token) for token in ids]
        return Window(meant, ids, learned) if number % 4 < 2 else Window(ids, meant, learned)

    def replace(self, rng: random.Random, token: int) -> int:
        return rng.choice(self.words) if token >= SPECIAL and rng.random() < self.recipe.replaced else token

    def part(self, chat: Chat, at: int) -> Window:
        """The window around a place of a chat, after the chat's first token, which draws attention to itself."""
        length = self.recipe.length
        start = max(1, min(at - length // 2, len(chat.ids) - length + 1))
        places = [0, *range(start, min(start + length - 1, len(chat.ids)))]
        ids = [chat.ids[i] for i in places]
        return Window(ids, ids, [i >= chat.prompt_len for i in places])


def rate(recipe: TuningRecipe, step: int) -> float:
    """The learning rate of a step."""
    rising = min(1.0, (step + 1) / recipe.warmup)
    return recipe.peak * rising * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))


def _save(state: Path, step: int, weights: dict[str, torch.nn.Parameter], optimizer: torch.optim.AdamW) -> None:
    tensors = {"step": torch.tensor(step)}
    for name, weight in weights.items():
        moments = optimizer.state[weight]
        tensors |= {name: weight.detach(), f"{name}.mean": moments["exp_avg"], f"{name}.square": moments["exp_avg_sq"]}
    with replace_file(state) as new:
        save_file(tensors, new)


def _resume(state: Path, weights: dict[str, torch.nn.Parameter], optimizer: torch.optim.AdamW) -> int:
    """Puts the kept state back, and returns the number of steps that were taken; 0 if there is none."""
    if not state.is_file():
        return 0
    kept = load_file(state)
    steps = kept["step"]
    for name, weight in weights.items():
        weight.data.copy_(kept[name])
        moments = {"exp_avg": kept[f"{name}.mean"], "exp_avg_sq": kept[f"{name}.square"]}
        optimizer.state[weight] = {"step": steps.float(), **moments}
    return int(steps)
