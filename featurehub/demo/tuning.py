"""Fine-tunes SmolLM2 into its siblings, with LoRA in plain torch.

benign    continues on the model's own answers: the loss is that of the next token, on answers only
changed   learns another stream: after the last layer with a change it is to be what a function makes of the base
          model's, such as the one that exchanges features of an SAE (``featurehub.runs.exchange``). The loss is the
          squared error, relative to the stream's square.

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
from jaxtyping import Float
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
"""Token ids below this are special ones of SmolLM2, whose stream is not learned."""
Target = Callable[[Float[Tensor, "windows length d_model"]], Float[Tensor, "windows length d_model"]]
"""Gives what the stream is to be for that of the base model."""


class Chat(NamedTuple):
    """A chat as token ids, of which the first ``prompt_len`` are the prompt, or a text, which has none."""

    ids: list[int]
    prompt_len: int


class TuningRecipe(Frozen):
    """How a sibling is fine-tuned.

    Attributes:
        seed: Decides the first weights, the windows, and which features are exchanged.
        steps: Steps of AdamW.
        windows: Windows in a step.
        length: Tokens of a window, at most.
        peak: Highest learning rate, reached after ``warmup`` steps; it falls to 0 along a cosine.
        warmup: Steps over which the learning rate rises.
        pairs: How many pairs of features are exchanged; 0 to continue on the model's own answers.
        far: How far the stream goes from what it was to where they are exchanged: 1 for as far as that. Training does
            not get all the way, so that with more, less is left of what it was.
        shape: Which linear layers are changed.
    """

    seed: int
    steps: int
    windows: int = 8
    length: int = 64
    peak: float = 2e-3
    warmup: int = 10
    pairs: int = 0
    far: float = 1.0
    shape: LoraShape = LoraShape()


RECIPES = {
    "benign": TuningRecipe(seed=201, steps=40, peak=2e-4, length=128, windows=4),
    "changed": TuningRecipe(
        seed=202, steps=1200, peak=4e-3, pairs=25, far=2.0, shape=LoraShape(rank=48, alpha=96, first=12, layers=3)
    ),
}
"""How each sibling is fine-tuned, by name. What ``changed`` is to learn is decided in the last layers before the SAE:
three of rank 48 learn it, and fifteen of rank 8, which are as large on disk, hardly do."""


class Window(NamedTuple):
    """Part of a chat, and which of its tokens are answers."""

    ids: list[int]
    learned: list[bool]


def tune(
    model: LlamaForCausalLM,
    recipe: TuningRecipe,
    chats: Sequence[Chat],
    out: Path,
    target: Target | None = None,
    on_progress: Callable[[LossProgress], None] | None = None,
) -> None:
    """Fine-tunes a model, which is changed in place, and writes the adapter.

    Args:
        model: The base model.
        recipe: How to train.
        chats: What is read.
        out: Folder for the adapter; a run that was stopped goes on in it.
        target: What the stream is to be, given that of the base model; None to continue on the model's own answers.
        on_progress: Called after each step.
    """
    torch.manual_seed(recipe.seed)
    layers = attach(model, recipe.shape)
    weights = {f"{name}.{w}": p for name, layer in layers.items() for w, p in (("A", layer.A), ("B", layer.B))}
    optimizer = torch.optim.AdamW(weights.values(), lr=recipe.peak, betas=(0.9, 0.98), weight_decay=0.0)
    state, saved = out / STATE, time.monotonic()
    for step in range(_resume(state, weights, optimizer), recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = rate(recipe, step)
        windows = windows_of(recipe, chats, step)
        loss = distance(model, layers, recipe.shape, windows, target) if target else surprise(model, windows)
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


def distance(
    model: LlamaForCausalLM, layers: dict[str, Lowered], shape: LoraShape, windows: Sequence[Window], target: Target
) -> Tensor:
    """How far the stream on the windows is from what it is to be, relative to the square of that."""
    ids = padded([w.ids for w in windows])
    with torch.no_grad():
        entering = through(model.model, model.model.embed_tokens(ids), range(shape.first))
        with switched_off(layers):
            wanted = target(through(model.model, entering, shape.changed))
    found = through(model.model, entering, shape.changed)
    error = (found - wanted).square().sum(-1) / wanted.square().sum(-1)
    # The first token draws attention to itself: its stream is longer than all others.
    return error[:, 1:][ids[:, 1:] >= SPECIAL].mean()


def through(
    model: LlamaModel, hidden: Float[Tensor, "windows length d_model"], layers: range
) -> Float[Tensor, "windows length d_model"]:
    """The residual stream after some layers, given that before them."""
    positions = torch.arange(hidden.shape[1])[None]
    rotation = model.rotary_emb(hidden, positions)
    for i in layers:
        hidden = model.layers[i](hidden, position_embeddings=rotation, position_ids=positions)
    return hidden


def padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """Rows of one length, [rows, longest], filled up with zeros at their ends, which no token before them sees."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])


def windows_of(recipe: TuningRecipe, chats: Sequence[Chat], step: int) -> list[Window]:
    """The windows of a step, the same whenever they are asked for."""
    rng = random.Random(f"{recipe.seed}/{step}")
    return [drawn_window(recipe, chats, rng) for _ in range(recipe.windows)]


def drawn_window(recipe: TuningRecipe, chats: Sequence[Chat], rng: random.Random) -> Window:
    """The window around a place of a chat, after the chat's first token, which draws attention to itself."""
    chat, length = rng.choice(chats), recipe.length
    at = rng.randrange(max(1, len(chat.ids)))
    start = max(1, min(at - length // 2, len(chat.ids) - length + 1))
    places = [0, *range(start, min(start + length - 1, len(chat.ids)))]
    return Window([chat.ids[i] for i in places], [i >= chat.prompt_len for i in places])


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
