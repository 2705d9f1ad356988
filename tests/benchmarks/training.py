"""How fast an SAE is trained: tokens per second, harvest included, against sae-lens' own runner.

Same model, same tokens, same SAE (batchtopk), same machine; each token is trained on once.

    python tests/benchmarks/training.py [--model demo|wide] [--rounds 3] [--documents 1600]
"""

import argparse
import tempfile
from pathlib import Path

from shapes import SHAPES
from turns import Arm, measure, show, started

RUNNER = Arm("runner")
ARMS = (RUNNER, Arm("train"), Arm("train-from-disk"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SHAPES, default="demo")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--documents", type=int, default=1600)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        SHAPES[arguments.model].save(Path(folder), weights=True)
        with started(ARMS, arguments.model, Path(folder)) as workers:
            show(arguments.documents, RUNNER, measure(workers, ARMS, arguments.documents, arguments.rounds))


if __name__ == "__main__":
    main()
