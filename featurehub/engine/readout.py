"""Whether a loaded model reads its stream out as it is taken to: norm(x) at the end, and W_U · norm(x) for the logits.

What is no read-out of the stream alone is left to the model: a factor on all logits, or a cap, changes no order.
"""

import itertools
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from vllm.model_executor.layers.logits_processor import LogitsProcessor

from featurehub.families import Norm

__all__ = ["epsilons_of", "head_error", "norm_error", "relative", "scaled_error"]

TINY = 1e-30


def relative(error: Tensor, to: Tensor) -> float:
    """The largest of the rows' relative errors."""
    return (error.norm(dim=-1) / to.norm(dim=-1).clamp(min=TINY)).max().item()


def norm_error(x: Tensor, norm: nn.Module, kind: Norm, result: Tensor) -> float | None:
    """By how much such a norm, with a final norm's weights, misses what the model returns.

    Args:
        x: [tokens, d_model] the stream behind the last layer.
        norm: The final norm.
        kind: How it is taken to work.
        result: [tokens, d_model] what the model returns.

    Returns:
        The relative error; None where the module is no norm with weights.
    """
    weight = getattr(norm, "weight", None)
    if weight is None or weight.shape != x.shape[1:] or result.shape != x.shape:
        return None
    return relative(normalized(x, norm, kind) - result, result)


def normalized(x: Tensor, norm: nn.Module, kind: Norm) -> Tensor:
    """norm(x), with a final norm's weights, [tokens, d_model]."""
    weight: Any = norm.weight
    bias: Any = getattr(norm, "bias", None)
    eps = max(epsilons_of(norm), default=0.0)
    if kind is Norm.LAYER:
        x = x - x.mean(-1, keepdim=True)
    gain = weight.float() + (kind is Norm.RMS_OFFSET)
    return gain * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) + (bias.float() if bias is not None else 0.0)


def epsilons_of(module: nn.Module) -> set[float]:
    """What the norms in a module add to the mean square."""
    found = (getattr(each, name, None) for each in module.modules() for name in ("variance_epsilon", "eps"))
    return {float(each) for each in found if each is not None}


def scaled_error(given: Tensor, x: Tensor, epsilons: Collection[float], raw: bool) -> float:
    """By how much a tensor misses a norm of a stream, whatever weights the norm has.

    Each channel of an RMSNorm or a LayerNorm is an affine map of the stream's normed channel, the same for all tokens.
    The best such map is found for each channel, and what it leaves of the differences between tokens is the error.

    Args:
        given: [tokens, d_model]; more than two tokens, since two lie on some line.
        x: [tokens, d_model] the stream.
        epsilons: What the norm may add to the mean square.
        raw: Whether the stream itself counts, too.

    Returns:
        The relative error of the best kind of norm.
    """
    kinds = itertools.product((x, x - x.mean(-1, keepdim=True)), {0.0, *epsilons})
    bases = [each * torch.rsqrt(each.square().mean(-1, keepdim=True) + max(eps, TINY)) for each, eps in kinds]
    y = given - given.mean(0)
    bases += [x] if raw else []
    return min(unexplained(y, base - base.mean(0)) for base in bases)


def unexplained(y: Tensor, x: Tensor) -> float:
    """What the best factor on each channel of x leaves of y, relative to y."""
    slope = (x * y).sum(0) / x.square().sum(0).clamp(min=TINY)
    return ((y - slope * x).norm() / y.norm().clamp(min=TINY)).item()


def head_error(model: nn.Module, result: Tensor, dtype: torch.dtype) -> float | None:
    """By how much W_U · result misses the model's logits, up to a factor on what the head is given.

    Args:
        model: vLLM's model.
        result: [tokens, d_model] what it returns.
        dtype: Its precision.

    Returns:
        The relative error; None where the head lies on another worker, or is no plain matrix.
    """
    calls: list[tuple[nn.Module, Tensor]] = []
    heads = [each for each in model.modules() if isinstance(each, LogitsProcessor)]
    hung = [each.register_forward_pre_hook(lambda _, args: calls.append(args[:2])) for each in heads]
    try:
        logits = model.compute_logits(result.to(dtype))  # type: ignore[operator]
    finally:
        for each in hung:
            each.remove()
    if logits is None or not calls:
        return None
    (head, given), processor = calls[0], heads[0]
    weight = getattr(head, "weight", None)
    if weight is None or not weight.is_floating_point() or weight.shape[-1] != given.shape[-1]:
        return None
    factor = (given.float() * result).sum() / result.square().sum()
    naive = (factor * result) @ weight.float().T[:, : logits.shape[-1]]
    if naive.shape != logits.shape:  # This worker has a part of the vocabulary.
        return None
    if (bias := getattr(head, "bias", None)) is not None:
        naive = naive + bias.float()[: logits.shape[-1]]
    if processor.soft_cap is not None:
        naive = processor.soft_cap * torch.tanh(naive / processor.soft_cap)
    return relative(processor.scale * naive - logits.float(), logits.float())
