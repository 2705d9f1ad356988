"""Does the bundled model do what it is asked? Prints a table for every model that ships.

    python tests/benchmarks/demo_obedience.py [PROMPTS_OF_EACH_KIND]     (200 unless told; one to two minutes a model)

Answers are sampled at temperature 0.7 on prompts that training never saw. An answer obeys iff more than half of its
sentences show what was asked for; `distinct` counts different answers among 50 to one prompt, worst of four prompts.
Siblings are listed for comparison: the `changed` one is meant to fail.
"""

import sys

from featurehub.demo.bundle import SIBLINGS, bundled_model, sibling
from featurehub.demo.model import load_model
from featurehub.demo.obedience import measure_obedience

COLUMNS = ("topic", "manner", "well_formed", "distinct")
WANTED = {"topic": 0.98, "manner": 0.98, "well_formed": 0.97, "distinct": 45}


def main(count: int) -> int:
    print(f"{'model':<10}" + "".join(f"{name:>13}" for name in COLUMNS) + f"   ({count} prompts of each kind)")
    print(f"{'wanted':<10}" + "".join(f"{WANTED[name]:>13}" for name in COLUMNS))
    base = _row("base", count)
    for name in SIBLINGS:
        _row(name, count)
    return 0 if all(base[name] >= WANTED[name] for name in COLUMNS) else 1


def _row(name: str, count: int) -> dict[str, float]:
    folder = bundled_model() if name == "base" else sibling(name)
    measured = measure_obedience(load_model(folder), count=count, seed=2026).as_dict()
    print(f"{name:<10}" + "".join(f"{measured[column]:>13.4g}" for column in COLUMNS), flush=True)
    return measured


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
