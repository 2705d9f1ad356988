"""What steering and reading cost: tokens per second of whole batches, against vLLM alone in the same run.

Each contender (``contenders.py``) runs in a process of its own. They take turns, batch by batch, so that the machine's
moods hit all of them, and each batch is compared with the baseline's of the same round. Prints the median of these
ratios with the middle half of them; absolute figures mean little. 32 tokens of prompt and 16 of answer for a request.

    python tests/benchmarks/throughput.py [--model demo|wide|1b|8b] [--rounds 9] [--compiled] [--peers]

demo: the shape of the bundled model;  wide: 30 layers of d_model 576, 4,608 latents. All weights are random.
``--peers`` adds Hugging Face hooks, sae-lens' steering on TransformerLens, and vllm-lens where it lies on PYTHONPATH.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from contenders import CROWD, PLUGINS, SHAPES, Asked
from rich.console import Console
from rich.progress import track

BATCHES = (1, 8, 32, 64)
console = Console(width=120)


class Arm(NamedTuple):
    """A contender, and what every request asks of it."""

    contender: str
    edits: int = 0
    distinct: bool = False
    top_k: int = 0

    def __str__(self) -> str:
        edits = f"{self.edits} edit{'s' * (self.edits > 1)}{', each its own' * self.distinct}" if self.edits else ""
        return f"{self.contender:16} {edits or (f'top-{self.top_k} read' if self.top_k else 'nothing asked')}"


PLAIN, CONTROL = Arm("plain"), Arm("control")
OURS = (*(Arm("featurehub", edits=edits) for edits in (0, 1, 8)), Arm("featurehub", top_k=8))
EQUAL, DISTINCT = Arm("featurehub", edits=8), Arm("featurehub", edits=8, distinct=True)
Workers = dict[str, "subprocess.Popen[str]"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SHAPES, default="demo")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--batches", type=int, nargs="+", default=[*BATCHES, CROWD])
    arguments = parser.parse_args()
    names = peers() if arguments.peers else []
    theirs = (arm for name in names for arm in (Arm(name), Arm(name, edits=8), Arm(name, top_k=8)))
    arms = (PLAIN, CONTROL, *OURS, *theirs)
    with tempfile.TemporaryDirectory() as folder:
        SHAPES[arguments.model].save(Path(folder))
        workers = {arm.contender: start(arm.contender, arguments, Path(folder)) for arm in arms}
        for batch in arguments.batches:
            crowd = batch == CROWD
            rates = measure(workers, (PLAIN, CONTROL, EQUAL, DISTINCT) if crowd else arms, batch, arguments.rounds)
            show(batch, EQUAL if crowd else PLAIN, rates)
        for process in workers.values():
            process.communicate("")


def peers() -> list[str]:
    if find_spec("vllm_lens") is None:
        console.print("vllm-lens is not on PYTHONPATH: left out")
        return ["hooks", "transformerlens"]
    return ["vllm-lens", "hooks", "transformerlens"]


def start(name: str, arguments: argparse.Namespace, folder: Path) -> "subprocess.Popen[str]":
    """Waits until its first batch is answered, so that no two load at a time."""
    environment = {**os.environ, "VLLM_PLUGINS": PLUGINS.get(name, "")}
    program = [sys.executable, str(Path(__file__).with_name("contenders.py")), name, arguments.model, str(folder)]
    pipe, errors = subprocess.PIPE, (folder / f"{name}.log").open("w")
    process = subprocess.Popen(
        program + ["compiled"] * arguments.compiled,
        stdin=pipe,
        stdout=pipe,
        stderr=errors,
        text=True,
        env=environment,
    )
    with console.status(f"{name} starts"):
        try:
            ask(process, Asked(1))
        except EOFError:
            raise SystemExit(f"{name} ended:\n{(folder / f'{name}.log').read_text()[-3000:]}") from None
    return process


def ask(process: "subprocess.Popen[str]", asked: Asked) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    print(*map(int, asked), file=process.stdin, flush=True)
    for line in process.stdout:
        if line.startswith("RATE "):
            return float(line.split()[1])
    raise EOFError


def measure(workers: Workers, arms: tuple[Arm, ...], batch: int, rounds: int) -> dict[Arm, list[float]]:
    """The first round warms up, and is not counted."""
    rates: dict[Arm, list[float]] = {arm: [] for arm in arms}
    for turn in track(range(rounds + 1), f"batch {batch}", console=console, transient=True):
        for arm in arms:
            rate = ask(workers[arm.contender], Asked(batch, *arm[1:]))
            if turn:
                rates[arm].append(rate)
    return rates


def show(batch: int, baseline: Arm, rates: dict[Arm, list[float]]) -> None:
    base = np.array(rates[baseline])
    console.print(f"batch {batch}, of {baseline}: {np.median(base):.0f} tokens/s", highlight=False)
    for arm, measured in rates.items():
        low, middle, high = np.quantile(np.array(measured) / base, [0.25, 0.5, 0.75])
        console.print(f"    {arm!s:48} {middle:.3f}   ({low:.3f} to {high:.3f})", highlight=False)


if __name__ == "__main__":
    main()
