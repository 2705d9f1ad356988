"""The bundled model in transformers, with the naive equation in forward hooks: the twin of the whole engine."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import jaxtyping
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from featurehub.demo.bundle import bundled_model
from featurehub.dictionary import Dictionary
from featurehub.edits import Steering
from featurehub.steering import Reference

Dictionaries = Mapping[str, Mapping[str, Dictionary]]
CLOSE = 0.02
"""A difference of logits below which rounding may decide which token is chosen."""


class Twin(NamedTuple):
    """A greedy answer.

    close:    how many tokens came before one that was nearly a tie; what follows is not to be compared
    computed: tokens of prompt and answer that the model ran over
    """

    token_ids: list[int]
    close: int
    computed: int
    reference: Reference

    def agrees(self, token_ids: list[int]) -> bool:
        return token_ids[: self.close] == self.token_ids[: self.close]


@contextmanager
def without_shape_checks() -> Iterator[None]:
    """The naive equation runs for every token anew, a million times over: checking its shapes takes most of a test."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@cache
def model() -> nn.Module:
    return AutoModelForCausalLM.from_pretrained(bundled_model(), dtype=torch.float32)


def decode(
    prompt: list[int], steering: Steering, dictionaries: Dictionaries, max_tokens: int, ignore_eos: bool = False
) -> Twin:
    """Without a cache: the whole text runs again for every token, so nothing can be left over from before."""
    reference = Reference(steering, dictionaries, len(prompt))
    ids, close, computed = list(prompt), max_tokens, 0
    handles = [layer.register_forward_hook(edit(name, reference)) for name, layer in layers(dictionaries)]
    try:
        while len(ids) < len(prompt) + max_tokens:
            best = logits(ids).topk(2)
            computed = len(ids)
            if any(reference.event(position) for position in range(computed)):
                break
            if float(best.values[0] - best.values[1]) < CLOSE:
                close = min(close, len(ids) - len(prompt))
            ids.append(int(best.indices[0]))
            if ids[-1] == eos() and not ignore_eos:
                break
    finally:
        for handle in handles:
            handle.remove()
    return Twin(ids[len(prompt) :], close, computed, reference)


def eos() -> int:
    return int(model().config.eos_token_id)  # type: ignore[union-attr,arg-type]


@torch.no_grad()
@without_shape_checks()
def logits(ids: list[int]) -> Tensor:
    return model()(torch.tensor([ids]), use_cache=False).logits[0, -1]


def layers(dictionaries: Dictionaries) -> list[tuple[str, nn.Module]]:
    """By the hook points' names, ``layers.N.resid_post``."""
    return [(name, model().get_submodule("model." + name.removesuffix(".resid_post"))) for name in dictionaries]


def edit(name: str, reference: Reference) -> Any:
    def hook(module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
        for position in range(output.shape[1]):
            output[0, position] = reference.at(name, position, output[0, position]).x
        return output

    return hook
