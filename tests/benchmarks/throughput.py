"""What steering and reading cost, against vLLM alone in the same run, on the CPU or on a GPU.

    python tests/benchmarks/throughput.py [--mode batches|slope|http] [--model demo|wide|1b|8b] [--rounds 9]
        [--compiled] [--batches 1 8 32 64] [--lengths 16 208] [--peers] [--features 100000]

batches: tokens per second of whole batches, 32 tokens of prompt and 16 of answer for a request.
slope:   seconds of a decoding step, and of all else for each request, apart; from batches of two lengths.
http:    tokens per second and time to the first token of ``featurehub serve`` and of vLLM's own server, streamed and
         not, for as many clients at once as a batch has requests (``servers.py``); ``--features`` puts so many features
         of other SAEs into the database.

Each prints medians of the ratios to the baseline's figure of the same round, with the middle half of them; absolute
figures mean little on a shared machine (see ``turns.py``). On a GPU, all share its memory.

demo: the shape of the bundled model;  wide: 30 layers of d_model 576, 4,608 latents. All weights are random.

``--peers`` adds, but for http, those who steer besides (``peers.py``): Hugging Face hooks, sae-lens' steering on
TransformerLens, and vLLM's plugins vllm-lens, hotwire and mia (IBM's vLLM-Hook). The plugins are not installed: their
wheels, metadata and all, since vLLM finds plugins by it, are unpacked in a folder that PYTHONPATH names:

    pip download --no-deps --ignore-requires-python -d ../wheels vllm-lens==1.3.0 zstandard hotwire-vllm==0.1.2
    for wheel in ../wheels/*.whl; do unzip -qo $wheel -d ../peers; done
    PYTHONPATH=../peers python tests/benchmarks/throughput.py --peers

mia 0.6 is not on the package index, where the name is another project's: ``pip wheel --no-deps -w ../wheels`` makes its
wheel from a checkout of IBM's repository. A peer that cannot run stands in the table with its error, and one that
answers with edits just as without them with "does not steer here".
"""

import argparse
import itertools
import tempfile
from pathlib import Path

from machine import machine
from peers import PEERS, READERS
from servers import compare_servers
from shapes import CONTEXT, CROWD, PROMPT, SHAPES
from slopes import LENGTHS, measure_slopes, rows, show_slopes
from turns import Arm, Worker, console, measure, show, started, without_effect

BATCHES = (1, 8, 32, 64)
PLAIN, CONTROL = Arm("plain"), Arm("control")
OURS = (*(Arm("featurehub", edits=edits) for edits in (0, 1, 8)), Arm("featurehub", top_k=8))
EQUAL, DISTINCT = Arm("featurehub", edits=8), Arm("featurehub", edits=8, distinct=True)

Remarks = dict[Arm, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=("batches", "slope", "http"), default="batches")
    parser.add_argument("--model", choices=SHAPES, default="demo")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--features", type=int, default=0)
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
    peers = PEERS if arguments.peers else {}
    arms = (PLAIN, CONTROL, *OURS, *itertools.chain.from_iterable(map(arms_of, peers)))
    compare = slopes if arguments.mode == "slope" else rates
    with started(arms, arguments.model, folder, arguments.compiled, peers) as workers:
        effects = {arm: without_effect(workers[arm.contender], arm.edits) for arm in arms if arm.edits}
        for batch in arguments.batches or (*BATCHES, CROWD):
            running = tuple(arm for arm in arms if not workers[arm.contender].failure)
            compare(workers, running, batch, arguments, {arm: said for arm, said in effects.items() if said})


def arms_of(peer: str) -> tuple[Arm, ...]:
    return (Arm(peer), Arm(peer, edits=8), *((Arm(peer, top_k=8),) if peer in READERS else ()))


def rates(
    workers: dict[str, Worker], arms: tuple[Arm, ...], batch: int, arguments: argparse.Namespace, effects: Remarks
) -> None:
    if batch == CROWD:
        show(batch, EQUAL, measure(workers, (PLAIN, CONTROL, EQUAL, DISTINCT), batch, arguments.rounds))
        return
    found = measure(workers, arms, batch, arguments.rounds)
    show(batch, PLAIN, found, effects | failures(workers))


def slopes(
    workers: dict[str, Worker], arms: tuple[Arm, ...], batch: int, arguments: argparse.Namespace, effects: Remarks
) -> None:
    arms = (*arms, DISTINCT)
    lengths = tuple(arguments.lengths)
    found = measure_slopes(workers, arms, batch, arguments.rounds, lengths)
    show_slopes(batch, lengths, rows(arms, found), effects | failures(workers))


def failures(workers: dict[str, Worker]) -> Remarks:
    """Only peers get here with one."""
    return {Arm(name): f"cannot run here: {worker.failure}" for name, worker in workers.items() if worker.failure}


def over_servers(arguments: argparse.Namespace, folder: Path) -> None:
    crowds = arguments.batches or (1, 16)
    compare_servers(arguments.model, folder, crowds, arguments.rounds, arguments.compiled, arguments.features)


if __name__ == "__main__":
    main()
