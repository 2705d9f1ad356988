"""Every architecture that has a row, against Hugging Face transformers, on tiny random weights: the table of README.

    python tests/benchmarks/families.py [--only Olmo2ForCausalLM ...] [--folder KEPT]

At every hook point of two layers, streams are within 1e-3 and greedy answers equal: without edits, with one at each
point, and with several under a condition; and an engine without the last layers reads the same stream
(``tests/engine/random_models.py``). Each architecture is checked in a process of its own. With a folder, what was found
is kept there, and a run that was stopped goes on.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from featurehub.families import ARCHITECTURES
from tests.benchmarks.machine import processor

CHECK = """
import sys
from pathlib import Path
from tests.engine.random_models import CASES, check_against_transformers, save_model

name, folder = sys.argv[1], Path(sys.argv[2])
check_against_transformers(name, folder / "model", save_model(CASES[name], folder / "model"), folder, True)
"""
VERIFIED = "verified"
LONGEST = 900
console = Console(width=150, highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=sorted(ARCHITECTURES), choices=sorted(ARCHITECTURES))
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        kept: Path = options.folder or Path(temporary)
        kept.mkdir(parents=True, exist_ok=True)
        found = {name: found_of(name, kept) for name in track(options.only, "checking", console=console)}
    table = Table("architecture", "on this machine")
    for name, said in found.items():
        table.add_row(name, said)
    console.print(f"{processor()}: {sum(said == VERIFIED for said in found.values())} of {len(found)} verified", table)


def found_of(name: str, kept: Path) -> str:
    """What the check of one says: ``VERIFIED``, or the last line of why not."""
    file = kept / f"{name}.txt"
    if not file.is_file():
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", CHECK, name, folder]
            done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)
        lines = [line for line in done.stderr.splitlines() if line.strip()] or [f"ended with {done.returncode}"]
        file.write_text(VERIFIED if done.returncode == 0 else lines[-1])
    return file.read_text()


if __name__ == "__main__":
    main()
