"""The tour on SmolLM2 as people see it: runs it, and keeps what it prints as text and as a picture, for the README.

python tests/benchmarks/transcript.py --out FOLDER [--width 110]
"""

import argparse
from functools import partial
from pathlib import Path

from featurehub.cli.demo.serving import smollm2
from featurehub.cli.demo.shown import Shown
from featurehub.cli.demo.tour import run_tour
from featurehub.cli.progress import output, phase
from featurehub.demo.adapters import smollm2_sibling


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--width", type=int, default=110)
    given = parser.parse_args()
    output.width, output.record = given.width, True
    run_tour(smollm2(), Shown.load(), partial(smollm2_sibling, "changed", phase=phase), keep=False)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "tour.txt").write_text(output.export_text(clear=False), "utf-8")
    (given.out / "tour.svg").write_text(output.export_svg(title="featurehub demo run"), "utf-8")


if __name__ == "__main__":
    main()
