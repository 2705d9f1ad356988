"""The hook: one place in the model, and what happens to the stream there.

1. x = hidden + residual, in float32, for the tokens concerned
2. reading: tokens of requests that asked for it are captured, or encoded and their strongest latents kept
3. steering: the edit equation of ``featurehub.steering`` for the steered tokens of all requests at once
4. writing: the stream is written once, into ``residual``, and ``hidden`` becomes zero, so that the sum is x' rounded
   to the model's dtype exactly once. Tokens without edits are not touched at all.
"""

from collections import OrderedDict
from typing import NamedTuple

import torch
from torch import Tensor
from torch.library import Library
from vllm.utils.torch_utils import direct_register_custom_op

from featurehub.dictionary import Dictionary
from featurehub.engine.report import SteerReport, TokenFeatures
from featurehub.engine.table import EditTable, Span, Step

__all__ = ["HOOKS", "RESID_POST", "Hook", "Reading", "register_op"]

RESID_POST = "resid_post"

_GATHERED_FLOATS = 1 << 24
_ACTIVATIONS_KEPT = 256


class Reading(NamedTuple):
    """What to read of one request's tokens in this step. top_k 0 captures the stream itself.

    token_ids: [span.tokens]
    """

    key: str
    span: Span
    top_k: int
    token_ids: Tensor


class Hook:
    """State of one hook point in one worker.

    table: None for an engine without an SAE, which can only capture
    """

    def __init__(self, dictionary: Dictionary | None, table: EditTable | None) -> None:
        self.dictionary = dictionary
        self.table = table
        self.step: Step | None = None
        self.readings: list[Reading] = []
        self.captured: dict[str, list[Tensor]] = {}
        self.activations: OrderedDict[str, list[TokenFeatures]] = OrderedDict()

    def begin_step(self, step: Step | None, readings: list[Reading]) -> None:
        self.step = step if step is not None and len(step.tokens) else None
        self.readings = readings

    def run(self, hidden: Tensor, residual: Tensor) -> None:
        """The op's body. ``hidden`` and ``residual`` ([tokens, d_model], any float dtype) are edited in place."""
        for reading in self.readings:
            self.read(reading, hidden, residual)
        if self.step is not None and self.table is not None:
            steer(hidden, residual, self.step, self.table)

    def read(self, reading: Reading, hidden: Tensor, residual: Tensor) -> None:
        rows = slice(reading.span.start, reading.span.start + reading.span.tokens)
        x = hidden[rows].float() + residual[rows].float()
        if not reading.top_k:
            self.captured.setdefault(reading.key, []).append(x)
        elif self.dictionary is not None:
            self.keep_activations(reading.key, strongest(self.dictionary.encode(x), reading))

    def keep_activations(self, key: str, tokens: list[TokenFeatures]) -> None:
        """Until they are fetched; the oldest unclaimed ones are dropped."""
        self.activations.setdefault(key, []).extend(tokens)
        while len(self.activations) > _ACTIVATIONS_KEPT:
            self.activations.popitem(last=False)

    def report(self, key: str) -> SteerReport | None:
        """Takes everything that is known of the request with this key; None where nothing is."""
        report = self.table.report(key) if self.table is not None else None
        tokens = self.activations.pop(key, None)
        if tokens is None:
            return report
        return (report or SteerReport()).model_copy(update={"activations": tuple(tokens)})


def strongest(a: Tensor, reading: Reading) -> list[TokenFeatures]:
    """The ``top_k`` latents of every token that are active at all."""
    top = a.topk(min(reading.top_k, a.shape[1]), dim=-1)
    tokens = zip(reading.token_ids.tolist(), top.indices.tolist(), top.values.tolist(), strict=True)
    return [
        TokenFeatures(
            position=reading.span.position + i,
            token=token,
            latents=tuple(latent for latent, value in zip(latents, values, strict=True) if value > 0),
            activations=tuple(value for value in values if value > 0),
        )
        for i, (token, latents, values) in enumerate(tokens)
    ]


def steer(hidden: Tensor, residual: Tensor, step: Step, table: EditTable) -> None:
    """Steps 1, 3 and 4 for the steered tokens, in chunks that bound the gathered decoder rows."""
    chunk = (
        max(1, _GATHERED_FLOATS // (table.max_edits * table.dictionary.d_model)) if step.affine else len(step.tokens)
    )
    for tokens, rows in zip(step.tokens.split(chunk), step.rows.split(chunk), strict=True):
        x = hidden[tokens].float() + residual[tokens].float()
        delta = table.nudge[rows]
        if step.affine:
            delta = delta + affine_part(x, rows, table)
        scale, dose = guard(x, delta, table.dose_max[rows])
        residual[tokens] = (x + scale * delta).to(residual.dtype)
        hidden[tokens] = 0
        count(table.counts, rows, dose, scale[:, 0] < 1.0)


def affine_part(x: Tensor, rows: Tensor, table: EditTable) -> Tensor:
    """Σ_k alpha_k · a_k · W_dec[k] per token, encoding only the edited latents."""
    sae, latents = table.dictionary, table.latent[rows]
    z = torch.einsum("td,tkd->tk", x - sae.b_dec, sae.W_enc[latents]) + sae.b_enc[latents]
    a = z * (z > sae.threshold[latents])
    return torch.einsum("tk,tkd->td", table.alpha[rows] * a, sae.W_dec[latents])


def guard(x: Tensor, delta: Tensor, dose_max: Tensor) -> tuple[Tensor, Tensor]:
    """Scale ([tokens, 1]) that keeps ‖scale · Δ‖ ≤ dose_max · ‖x‖, and the dose that results ([tokens])."""
    size, norm = delta.norm(dim=-1), x.norm(dim=-1)
    scale = torch.where(size > dose_max * norm, dose_max * norm / size, 1.0)
    return scale[:, None], torch.where(norm > 0, scale * size / norm, 0.0)


def count(counts: Tensor, rows: Tensor, dose: Tensor, clipped: Tensor) -> None:
    """Adds to the rows' counters, without reading any of them back."""
    dose = dose.double()
    counts[:, 0].index_add_(0, rows, torch.ones_like(dose))
    counts[:, 1].index_add_(0, rows, dose)
    counts[:, 2].scatter_reduce_(0, rows, dose, "amax")
    counts[:, 3].index_add_(0, rows, clipped.double())


HOOKS: dict[str, Hook] = {}
"""The hooks of this process's model, by name: the op finds its state here, as vLLM's attention op finds its layer."""

_LIBRARY = Library("featurehub", "FRAGMENT")


def edit_stream(hidden: Tensor, residual: Tensor, hook: str) -> None:
    HOOKS[hook].run(hidden, residual)


def edit_stream_fake(hidden: Tensor, residual: Tensor, hook: str) -> None:
    """Nothing to infer: the op only mutates its arguments."""


def register_op() -> None:
    """Defines ``torch.ops.featurehub.edit_stream``. Safe to call again."""
    if not hasattr(torch.ops.featurehub, "edit_stream"):
        direct_register_custom_op(
            "edit_stream",
            edit_stream,
            mutates_args=["hidden", "residual"],
            fake_impl=edit_stream_fake,
            target_lib=_LIBRARY,
        )
