"""A build that is killed at random moments ends in the same SAE as one that is left alone.

`featurehub build` on the bundled model, once uninterrupted, and once killed (signal 9) three times at moments drawn
from the whole length of the first; then it is started a last time. Prints what was there each time, and both hashes.

    python tests/benchmarks/resume.py [--seed 0] [--tokens 400000]
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

from rich.console import Console

from featurehub.artifacts.artifact import open_artifact
from featurehub.demo.bundle import bundled_model
from featurehub.demo.corpus import conversations, messages

CONVERSATIONS, KILLS = 1500, 3
console = Console(highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=400_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text.json"
        text.write_text(json.dumps([{"messages": messages(c)} for c in islice(conversations(1), CONVERSATIONS)]))
        started = time.monotonic()
        wait(start(Path(folder), "whole", text, arguments.tokens))
        whole = time.monotonic() - started
        moments = random.Random(arguments.seed)
        for _ in range(KILLS):
            process = start(Path(folder), "killed", text, arguments.tokens)
            moment = moments.uniform(0.1, 0.9) * whole
            kill(process, moment)
            console.print(f"killed after {moment:3.0f} s of {whole:.0f}: {state(Path(folder))}")
        wait(start(Path(folder), "killed", text, arguments.tokens))
        ids = [open_artifact(Path(folder) / name).manifest.id for name in ("whole", "killed")]
        console.print(f"uninterrupted {ids[0][:16]}   killed {KILLS} times {ids[1][:16]}")
        raise SystemExit(ids[0] != ids[1])


def start(folder: Path, name: str, text: Path, tokens: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "featurehub.cli.main", "build", str(bundled_model()), "--text", str(text)]
    options = ["--out", str(folder / name), "--db", str(folder / f"{name}.db"), "--tokens", str(tokens)]
    environment = os.environ | {"FEATUREHUB_HOME": str(folder / "home")}
    quiet = subprocess.DEVNULL
    return subprocess.Popen([*command, *options, "--latents", "320"], env=environment, stdout=quiet, stderr=quiet)


def wait(process: "subprocess.Popen[bytes]") -> None:
    if process.wait():
        raise SystemExit(f"the build ended with {process.returncode}")


def kill(process: "subprocess.Popen[bytes]", after: float) -> None:
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def state(folder: Path) -> str:
    shards = len(list(folder.glob("killed.partial-*/harvest/shard-*")))
    checkpoint = "a checkpoint" if list(folder.glob("killed.partial-*/checkpoint*")) else "no checkpoint"
    return f"{shards} shards, {checkpoint}, {'the artifact' if (folder / 'killed').is_dir() else 'no artifact'}"


if __name__ == "__main__":
    main()
