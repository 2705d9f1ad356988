"""What reading a hook point costs: tokens per second of documents of mixed lengths, against vLLM's plain prefill.

Beside it Hugging Face hooks whose forward pass ends at the layer, the fastest way to harvest without an engine. All
contenders (``contenders.py``) have all cores; padding counts for nobody.

    python tests/benchmarks/harvest.py [--model demo|wide|1b|8b] [--rounds 9] [--documents 64]
"""

import argparse
import tempfile
from pathlib import Path

from shapes import SHAPES
from turns import Arm, measure, show, started

PREFILL = Arm("prefill")
TO_LAYER = Arm("hooks-to-layer")
ARMS = (PREFILL, Arm("prefill-again"), Arm("harvest"), Arm("harvest-to-hook"), TO_LAYER)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SHAPES, default="wide")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--documents", type=int, default=64)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        SHAPES[arguments.model].save(Path(folder), weights=True)
        with started(ARMS, arguments.model, Path(folder)) as workers:
            rates = measure(workers, ARMS, arguments.documents, arguments.rounds)
        show(arguments.documents, PREFILL, rates)
        show(arguments.documents, TO_LAYER, rates)


if __name__ == "__main__":
    main()
