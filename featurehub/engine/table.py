"""Per-request edits as table rows, and the rows of the tokens that a step computes.

An edit changes its latent's activation a by an affine amount, so every mode is two numbers:

    change = alpha · a + beta
    nudge   alpha = 0           beta = value
    pin     alpha = −1          beta = value
    mul     alpha = value − 1   beta = 0
    ablate  alpha = −1          beta = 0

1. ``admit`` gives a request a row; row 0 belongs to nobody and changes nothing. Edits that come to nothing get row 0
   too, so that weight 0 is exactly no edit.
2. ``schedule`` writes, per step, which token runs under which row. Whether a token is prompt or generated is decided
   by its position, never by the scheduler's phase: after a preemption,
   generated tokens are computed as if they were prompt.
3. ``release`` frees the row when its request is gone; its counts wait in ``reports`` until they are fetched.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from featurehub.dictionary import Dictionary
from featurehub.engine.report import SteerReport
from featurehub.errors import InvalidEdit
from featurehub.features import LatentEdit, Mode, Positions, Steering

__all__ = ["EditTable", "Span", "Step"]

REPORTS_KEPT = 4096
NOTHING = (0.0, 0.0)
LARGEST = 1e9
"""Largest |value| of an edit: any sum of such edits has a finite length in float32, so that the guard can scale it."""


class Span(NamedTuple):
    """A request's tokens in one step: ``tokens`` of them at batch index ``start``, the first at ``position``."""

    request: str
    start: int
    tokens: int
    position: int
    prompt_len: int


class Step(NamedTuple):
    """What the op does to the step's tokens.

    tokens, rows: indices of the steered tokens and their rows, [steered]
    affine:       whether any of those rows needs its latents' activations
    """

    tokens: Tensor
    rows: Tensor
    affine: bool


class EditTable:
    """The edits of all running requests. ``max_reqs`` rows of ``max_edits`` edits, and row 0.

    latent, alpha, beta: [rows, K];  dose_max: [rows];  nudge: [rows, d_model], the part of Δ that is the same for every
    token;  counts: [rows, 4], written by the op: steered tokens, sum of doses, largest dose, clipped tokens.
    """

    def __init__(self, dictionary: Dictionary, max_reqs: int, max_edits: int) -> None:
        # dtypes are said everywhere: vLLM builds models under a default dtype of its own.
        rows = max_reqs + 1
        self.dictionary = dictionary
        self.max_edits = max_edits
        self.latent = torch.zeros(rows, max_edits, dtype=torch.long)
        self.alpha = torch.zeros(rows, max_edits, dtype=torch.float32)
        self.beta = torch.zeros(rows, max_edits, dtype=torch.float32)
        self.dose_max = torch.ones(rows, dtype=torch.float32)
        self.nudge = torch.zeros(rows, dictionary.d_model, dtype=torch.float32)
        self.counts = torch.zeros(rows, 4, dtype=torch.float64)
        self.expected = np.zeros(rows, dtype=np.int64)
        self.affine = np.zeros(rows, dtype=bool)
        self.free = list(range(rows - 1, 0, -1))
        self.steerings: dict[int, Steering] = {}
        self.reports: OrderedDict[str, SteerReport] = OrderedDict()

    def check(self, steering: Steering) -> None:
        """Raises InvalidEdit for too many edits, a latent that the SAE does not have, or a value beyond ``LARGEST``."""
        if len(steering.edits) > self.max_edits:
            raise InvalidEdit(f"{len(steering.edits)} edits in one request; this engine takes at most {self.max_edits}")
        for edit in steering.edits:
            if edit.latent >= self.dictionary.d_sae:
                raise InvalidEdit(f"latent {edit.latent}: the SAE has latents 0 to {self.dictionary.d_sae - 1}")
            if abs(edit.value) > LARGEST:
                raise InvalidEdit(f"latent {edit.latent}: the value {edit.value} is beyond ±{LARGEST:g}")

    def admit(self, steering: Steering) -> int:
        """The row that holds the steering from now on. Raises InvalidEdit."""
        self.check(steering)
        if not any(affine(edit) != NOTHING for edit in steering.edits):
            self.keep(steering.report, SteerReport())
            return 0
        row = self.free.pop()
        self.steerings[row] = steering
        for k, edit in enumerate(steering.edits):
            self.latent[row, k] = edit.latent
            self.alpha[row, k], self.beta[row, k] = affine(edit)
        self.dose_max[row] = steering.dose_max
        self.nudge[row] = self.beta[row] @ self.dictionary.W_dec[self.latent[row]]
        self.affine[row] = bool(self.alpha[row].any())
        return row

    def release(self, row: int) -> None:
        """Frees a row and keeps its counts for whoever asks for them."""
        steering = self.steerings.pop(row)
        self.keep(steering.report, self.count(row))
        for column in (self.latent, self.alpha, self.beta, self.counts, self.nudge):
            column[row] = 0
        self.expected[row], self.affine[row] = 0, False
        self.free.append(row)

    def schedule(self, spans: Sequence[tuple[int, Span]]) -> Step:
        """Lays the step out, given each steered request's row and span, and counts what the op must come to."""
        tokens, rows = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for row, span in spans:
            indices = span.start + steered_positions(self.steerings[row].positions, span)
            self.expected[row] += len(indices)
            tokens.append(indices)
            rows.append(np.full(len(indices), row))
        used = np.concatenate(rows)
        return Step(torch.from_numpy(np.concatenate(tokens)), torch.from_numpy(used), bool(self.affine[used].any()))

    def count(self, row: int) -> SteerReport:
        steered, dose_sum, dose_max, clipped = self.counts[row].tolist()
        return SteerReport(
            steered_tokens=int(steered),
            expected_tokens=int(self.expected[row]),
            dose_mean=dose_sum / steered if steered else 0.0,
            dose_max=dose_max,
            clipped=int(clipped),
        )

    def keep(self, key: str, report: SteerReport) -> None:
        """Requests that share a key (``n`` > 1) add up. The oldest unclaimed reports are dropped."""
        if not key:
            return
        self.reports[key] = self.reports[key] + report if key in self.reports else report
        while len(self.reports) > REPORTS_KEPT:
            self.reports.popitem(last=False)

    def report(self, key: str) -> SteerReport | None:
        """Takes the counts under ``key``, of requests that are released and of those that still hold a row."""
        for row, steering in list(self.steerings.items()):
            if steering.report == key:
                self.keep(key, self.count(row))
                self.steerings[row] = steering.model_copy(update={"report": ""})
        return self.reports.pop(key, None)


def affine(edit: LatentEdit) -> tuple[float, float]:
    """(alpha, beta) of an edit."""
    return {
        Mode.NUDGE: (0.0, edit.value),
        Mode.PIN: (-1.0, edit.value),
        Mode.MUL: (edit.value - 1.0, 0.0),
        Mode.ABLATE: (-1.0, 0.0),
    }[edit.mode]


def steered_positions(positions: Positions, span: Span) -> np.ndarray:
    """Which of the span's tokens are steered, as offsets into the span."""
    generated_from = min(max(span.prompt_len - span.position, 0), span.tokens)
    first = generated_from if positions is Positions.GENERATED else 0
    last = generated_from if positions is Positions.PROMPT else span.tokens
    return np.arange(first, last)
