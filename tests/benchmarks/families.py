"""Every architecture that this vLLM writes text with: verified, self-checked, or why not. The table of README.

    python tests/benchmarks/families.py [--only Olmo2ForCausalLM ...] [--folder KEPT] [--write]

1. Those that have a row in ``featurehub.families`` are compared with Hugging Face transformers on tiny random weights,
   each in a process of its own (``tests/engine/random_models.py``): at every hook point of two layers streams are
   within 1e-3 and greedy answers equal, without edits, with one at each point, and with several under a condition; and
   an engine without the last layers reads the same stream. They are *verified*. What transformers does not show, such
   as what a router says of each expert, goes through the check of 2 alone.
2. The others are built by vLLM from a tiny configuration of their own, with random weights, and go through the check
   that every engine makes at boot, at both ends of all layers (``tests/engine/tiny_models.py``). They are
   *self-checked*; of the sites inside a layer, those that pass are named.
3. What remains has a reason: it is refused, no configuration is at hand, or vLLM cannot build it on this machine.

With a folder, what was found is kept there, and a run that was stopped goes on. ``--write`` puts it where README and
``featurehub saes catalog`` take it from.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from featurehub.architectures import FILE, Status, Support
from featurehub.artifacts.manifest import Site
from featurehub.families import ARCHITECTURES
from tests.benchmarks.machine import processor
from tests.engine import torchvision_ops

VERIFY = """
import sys
from pathlib import Path
from tests.engine.random_models import CASES, check_against_transformers, save_model

name, folder = sys.argv[1], Path(sys.argv[2])
check_against_transformers(name, folder / "model", save_model(CASES[name], folder / "model"), folder, True)
"""
SELF_CHECK = """
import sys
from tests.engine import torchvision_ops
torchvision_ops.define()
from tests.engine.tiny_models import found_in

for name in sys.argv[1:]:
    print("FOUND", name, found_in(name).model_dump_json(), sep="\\t", flush=True)
"""
LONGEST = 900
console = Console(width=150, highlight=False)


def main() -> None:
    torchvision_ops.define()
    known = architectures()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=known, choices=known, metavar="ARCHITECTURE")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        kept: Path = options.folder or Path(temporary)
        kept.mkdir(parents=True, exist_ok=True)
        run([name for name in options.only if not (kept / f"{name}.json").is_file()], kept)
        found = {name: Support.model_validate_json((kept / f"{name}.json").read_text()) for name in options.only}
    table = Table("architecture", "status", "on this machine")
    for name, each in found.items():
        table.add_row(name, each.status, ", ".join(each.sites) or each.reason)
    console.print(table, f"{processor()}: {dict(Counter(each.status for each in found.values()))}")
    if options.write:
        rows = ",\n".join(f"{json.dumps(name)}: {each.model_dump_json()}" for name, each in sorted(found.items()))
        FILE.write_text(f'{{"vllm": "{vllm_version()}", "architectures": {{\n{rows}\n}}}}\n', encoding="utf-8")


def architectures() -> list[str]:
    """All that this vLLM writes text with."""
    from featurehub.engine.hooked import architectures

    return sorted(architectures())


def vllm_version() -> str:
    import vllm

    return vllm.__version__


def run(names: Iterable[str], kept: Path) -> None:
    """Steps 1 and 2; each finding is written as it comes."""
    verified = [name for name in names if name in ARCHITECTURES]
    for name in track(verified, "comparing with transformers", console=console):
        write(kept, name, verify(name))
    for name, finding in self_checks([name for name in names if name not in ARCHITECTURES]):
        write(kept, name, finding)


def write(kept: Path, name: str, finding: Support) -> None:
    (kept / f"{name}.json").write_text(finding.model_dump_json())


def verify(name: str) -> Support:
    from tests.engine.random_models import CASES

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", VERIFY, name, folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)
    lines = [line for line in done.stderr.splitlines() if "Error" in line] or [f"ended with {done.returncode}"]
    if done.returncode:
        return Support(status=Status.REFUSED, reason=lines[-1])
    [(_, checked)] = self_checks([name])
    sites = {*CASES[name].sites, *checked.sites}
    return Support(status=Status.VERIFIED, sites=tuple(site for site in Site if site in sites))


def self_checks(names: list[str]) -> Iterator[tuple[str, Support]]:
    """Runs them in one process, and those behind one that ended it in another."""
    left = list(names)
    while left:
        command = [sys.executable, "-c", SELF_CHECK, *left]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("FOUND\t"):
                    _, name, found = line.rstrip("\n").split("\t")
                    left.remove(name)
                    console.print(name, found[:140], markup=False)
                    yield name, Support.model_validate_json(found)
        if left and process.returncode:
            yield left.pop(0), Support(status=Status.UNTRIED, reason=f"vLLM ended with {process.returncode}")


if __name__ == "__main__":
    main()
