"""The slope mode of ``throughput.py``: what a decoding step costs and what a request costs besides, apart.

Each round asks every arm for batches of both lengths, one right after the other.
"""

import itertools
from collections.abc import Mapping
from typing import NamedTuple

from costs import Costs, Middle
from rich.progress import track
from rich.table import Table
from turns import Arm, Worker, console

LENGTHS = (16, 208)


class Row(NamedTuple):
    """An arm's costs, in words: milliseconds with their standard error, and multiples of the baseline's."""

    arm: str
    step: str
    step_over_base: str
    request: str
    request_over_base: str


def measure_slopes(
    workers: dict[str, Worker], arms: tuple[Arm, ...], batch: int, rounds: int, lengths: tuple[int, int] = LENGTHS
) -> list[Costs]:
    """Of each arm; one that stands there twice is asked twice a round. The first round warms up, and is not counted."""
    seconds: list[list[list[float]]] = [[] for _ in arms]
    for turn in track(range(rounds + 1), f"batch {batch}", console=console, transient=True):
        for arm, timed in zip(arms, seconds, strict=True):
            both = [batch * n / workers[arm.contender].ask(arm.asked(batch, n)) for n in lengths]
            if turn:
                timed.append(both)
    return [Costs.of(timed, lengths, batch) for timed in seconds]


def rows(arms: tuple[Arm, ...], costs: list[Costs]) -> list[Row]:
    """The first arm is the baseline, and one that is there again its control."""
    said = [str(arm).strip() + ", again" * (arm in arms[:i]) for i, arm in enumerate(arms)]
    return [Row(name, *cells(each, costs[0])) for name, each in zip(said, costs, strict=True)]


def cells(costs: Costs, base: Costs) -> list[str]:
    pairs = zip(costs, costs.over(base), strict=True)
    return list(itertools.chain.from_iterable((in_ms(Middle.of(own)), str(Middle.of(over))) for own, over in pairs))


def in_ms(seconds: Middle) -> str:
    return f"{1e3 * seconds.value:.3f} ± {1e3 * seconds.error:.3f}"


def show_slopes(
    batch: int, lengths: tuple[int, int], found: list[Row], remarks: Mapping[Arm, str] | None = None
) -> None:
    title = f"batch {batch}, {lengths[0]} and {lengths[1]} tokens, against {found[0].arm}"
    table = Table("", "ms a step", "of it", "ms a request", "of it", title=title, title_justify="left", box=None)
    for row in found:
        table.add_row(*row)
    console.print(table, highlight=False)
    for arm, remark in (remarks or {}).items():
        console.print(f"{arm!s:48} {remark}", highlight=False, soft_wrap=True)
