"""What steering and reading cost, against vLLM alone in the same run, on the CPU or on a GPU.

    python tests/benchmarks/throughput.py [--mode batches|slope|http] [--model demo|wide|1b|8b] [--rounds 9]
        [--compiled] [--batches 1 8 32 64] [--lengths 16 208] [--peers]

batches: tokens per second of whole batches, 32 tokens of prompt and 16 of answer for a request.
slope:   seconds of a decoding step, and of all else for each request, apart; from batches of two lengths.
http:    tokens per second and time to the first token of ``featurehub serve`` and of vLLM's own server, streamed and
         not, for as many clients at once as a batch has requests (``servers.py``).

Each prints medians of the ratios to the baseline's figure of the same round, with the middle half of them; absolute
figures mean little on a shared machine (see ``turns.py``). On a GPU, all share its memory.

demo: the shape of the bundled model;  wide: 30 layers of d_model 576, 4,608 latents. All weights are random.
``--peers`` adds Hugging Face hooks, sae-lens' steering on TransformerLens, and vllm-lens where it lies on PYTHONPATH.
"""

import argparse
import tempfile
from importlib.util import find_spec
from pathlib import Path

from machine import machine
from servers import compare_servers
from shapes import CONTEXT, CROWD, PROMPT, SHAPES
from slopes import LENGTHS, measure_slopes, rows, show_slopes
from turns import Arm, Worker, console, measure, show, started

BATCHES = (1, 8, 32, 64)
PLAIN, CONTROL = Arm("plain"), Arm("control")
OURS = (*(Arm("featurehub", edits=edits) for edits in (0, 1, 8)), Arm("featurehub", top_k=8))
EQUAL, DISTINCT = Arm("featurehub", edits=8), Arm("featurehub", edits=8, distinct=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=("batches", "slope", "http"), default="batches")
    parser.add_argument("--model", choices=SHAPES, default="demo")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--batches", type=int, nargs="+", default=[])
    parser.add_argument("--lengths", type=int, nargs=2, default=LENGTHS, metavar=("SHORT", "LONG"))
    arguments = parser.parse_args()
    short, long = arguments.lengths
    if not 1 <= short < long <= CONTEXT - PROMPT:
        parser.error(f"--lengths {short} {long}: give two that rise, from 1 to {CONTEXT - PROMPT}")
    console.print(f"{machine()}\n{arguments.model}: {SHAPES[arguments.model]}", highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory() as folder:
        (over_servers if arguments.mode == "http" else in_process)(arguments, Path(folder))


def in_process(arguments: argparse.Namespace, folder: Path) -> None:
    SHAPES[arguments.model].save(folder)
    names = peers() if arguments.peers else []
    theirs = (arm for name in names for arm in (Arm(name), Arm(name, edits=8), Arm(name, top_k=8)))
    arms = (PLAIN, CONTROL, *OURS, *theirs)
    with started(arms, arguments.model, folder, arguments.compiled) as workers:
        for batch in arguments.batches or (*BATCHES, CROWD):
            compare = slopes if arguments.mode == "slope" else rates
            compare(workers, arms, batch, arguments)


def rates(workers: dict[str, Worker], arms: tuple[Arm, ...], batch: int, arguments: argparse.Namespace) -> None:
    crowd = batch == CROWD
    found = measure(workers, (PLAIN, CONTROL, EQUAL, DISTINCT) if crowd else arms, batch, arguments.rounds)
    show(batch, EQUAL if crowd else PLAIN, found)


def slopes(workers: dict[str, Worker], arms: tuple[Arm, ...], batch: int, arguments: argparse.Namespace) -> None:
    arms = (*arms, DISTINCT)
    lengths = tuple(arguments.lengths)
    found = measure_slopes(workers, arms, batch, arguments.rounds, lengths)
    show_slopes(batch, lengths, rows(arms, found))


def over_servers(arguments: argparse.Namespace, folder: Path) -> None:
    compare_servers(arguments.model, folder, arguments.batches or (1, 16), arguments.rounds, arguments.compiled)


def peers() -> list[str]:
    if find_spec("vllm_lens") is None:
        console.print("vllm-lens is not on PYTHONPATH: left out")
        return ["hooks", "transformerlens"]
    return ["vllm-lens", "hooks", "transformerlens"]


if __name__ == "__main__":
    main()
