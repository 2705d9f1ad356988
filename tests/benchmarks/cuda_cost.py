"""Check c of ``cuda_check.py``: what steering costs on a GPU, sized for three minutes, half of them two starts.

The 1B shape, compiled and with CUDA graphs; plain vLLM and ours in processes of their own, which take turns. Plain is
asked twice a round: its second figure is the control.
"""

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from machine import has_gpu, machine
from shapes import SHAPES
from slopes import measure_slopes, rows
from turns import Arm, started

__all__ = ["check_cost"]

PLAIN = Arm("plain")
OURS = (*(Arm("featurehub", edits=edits) for edits in (0, 1, 8)), Arm("featurehub", edits=8, distinct=True))
ARMS = (PLAIN, *OURS, Arm("featurehub", top_k=8), PLAIN)


class Size(NamedTuple):
    model: str
    batches: tuple[int, ...]
    lengths: tuple[int, int]
    rounds: int
    compiled: bool


SIZES = {"cuda": Size("1b", (1, 32, 256), (16, 112), 5, True), "cpu": Size("demo", (1, 4), (2, 10), 2, False)}
"""On a CPU, only whether the check itself is right shows."""


def check_cost(device: str) -> dict[str, Any]:
    """Milliseconds, and multiples of plain vLLM's. Skipped on a machine without the GPU that it is asked for."""
    if device == "cuda" and not has_gpu():
        return {"skipped": "there is no GPU here: on a CPU, `throughput.py --mode slope` measures smaller shapes"}
    size = SIZES[device]
    figures: dict[str, Any] = {"on": machine(), "of": f"{size.model}: {SHAPES[size.model]}"}
    with tempfile.TemporaryDirectory() as folder:
        SHAPES[size.model].save(Path(folder))
        with started(ARMS, size.model, Path(folder), size.compiled) as workers:
            for batch in size.batches:
                costs = measure_slopes(workers, ARMS, batch, size.rounds, size.lengths)
                for row in rows(ARMS, costs):
                    figures[f"batch {batch}, {row.arm}: ms a step"] = f"{row.step}, {row.step_over_base} of plain"
                    figures[f"batch {batch}, {row.arm}: ms a request"] = f"{row.request}, {row.request_over_base}"
    return figures
