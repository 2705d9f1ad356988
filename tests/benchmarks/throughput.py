"""What steering and reading cost: tokens per second of whole batches, against vLLM alone in the same run.

Prints the median of the ratios to the baseline's batch of the same round, with the middle half of them; absolute
figures mean little (see ``turns.py``). 32 tokens of prompt and 16 of answer for a request.

    python tests/benchmarks/throughput.py [--model demo|wide|1b|8b] [--rounds 9] [--compiled] [--peers]

demo: the shape of the bundled model;  wide: 30 layers of d_model 576, 4,608 latents. All weights are random.
``--peers`` adds Hugging Face hooks, sae-lens' steering on TransformerLens, and vllm-lens where it lies on PYTHONPATH.
"""

import argparse
import tempfile
from importlib.util import find_spec
from pathlib import Path

from shapes import CROWD, SHAPES
from turns import Arm, console, end_all, measure, show, start_all

BATCHES = (1, 8, 32, 64)
PLAIN, CONTROL = Arm("plain"), Arm("control")
OURS = (*(Arm("featurehub", edits=edits) for edits in (0, 1, 8)), Arm("featurehub", top_k=8))
EQUAL, DISTINCT = Arm("featurehub", edits=8), Arm("featurehub", edits=8, distinct=True)


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
        workers = start_all(arms, arguments.model, Path(folder), arguments.compiled)
        for batch in arguments.batches:
            crowd = batch == CROWD
            rates = measure(workers, (PLAIN, CONTROL, EQUAL, DISTINCT) if crowd else arms, batch, arguments.rounds)
            show(batch, EQUAL if crowd else PLAIN, rates)
        end_all(workers)


def peers() -> list[str]:
    if find_spec("vllm_lens") is None:
        console.print("vllm-lens is not on PYTHONPATH: left out")
        return ["hooks", "transformerlens"]
    return ["vllm-lens", "hooks", "transformerlens"]


if __name__ == "__main__":
    main()
