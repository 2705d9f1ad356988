"""Work that is killed at random moments ends as if it had been left alone.

`featurehub harvest` and `featurehub build` on the bundled model, each once uninterrupted, and once killed (signal 9)
three times at moments drawn from the whole length of the first; then it is started a last time. Prints what was there
each time, and the hashes of what came out: of all shards, and of the SAE.

    python tests/benchmarks/resume.py [--seed 0] [--tokens 400000]
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from featurehub.artifacts.artifact import open_artifact
from featurehub.demo.bundle import bundled_model
from featurehub.demo.corpus import conversations, messages

CONVERSATIONS, KILLS = 1500, 3
console = Console(highlight=False)


class Trial(NamedTuple):
    """result: a hash of what the command leaves in ``--out``"""

    command: str
    options: Sequence[str]
    result: Callable[[Path], str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=400_000)
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    build = ("--tokens", str(arguments.tokens), "--latents", "320")
    trials = (Trial("harvest", (), hash_of_shards), Trial("build", build, lambda out: open_artifact(out).manifest.id))
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text.json"
        text.write_text(json.dumps([{"messages": messages(c)} for c in islice(conversations(1), CONVERSATIONS)]))
        differ = [trial.command for trial in trials if not same(trial, Path(folder) / trial.command, text, moments)]
    raise SystemExit(f"{differ} ended differently" if differ else 0)


def same(trial: Trial, folder: Path, text: Path, moments: random.Random) -> bool:
    started = time.monotonic()
    wait(start(trial, folder, "whole", text))
    whole = time.monotonic() - started
    for _ in range(KILLS):
        moment = moments.uniform(0.1, 0.9) * whole
        kill(start(trial, folder, "killed", text), moment)
        console.print(f"{trial.command} killed after {moment:3.0f} s of {whole:.0f}: {state(folder)}")
    wait(start(trial, folder, "killed", text))
    left, killed = (trial.result(folder / name) for name in ("whole", "killed"))
    console.print(f"{trial.command} left alone {left[:16]}   killed {KILLS} times {killed[:16]}")
    return left == killed


def start(trial: Trial, folder: Path, name: str, text: Path) -> "subprocess.Popen[bytes]":
    program = [sys.executable, "-m", "featurehub.cli.main", trial.command, str(bundled_model())]
    options = ["--text", str(text), "--out", str(folder / name), *trial.options]
    environment = os.environ | {"FEATUREHUB_HOME": str(folder / name) + ".home"}
    quiet = subprocess.DEVNULL
    return subprocess.Popen([*program, *options], env=environment, stdout=quiet, stderr=quiet)


def wait(process: "subprocess.Popen[bytes]") -> None:
    if process.wait():
        raise SystemExit(f"the command ended with {process.returncode}")


def kill(process: "subprocess.Popen[bytes]", after: float) -> None:
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def state(folder: Path) -> str:
    shards = len(list(folder.glob("killed*/**/shard-*")))
    checkpoint = "a checkpoint" if list(folder.glob("killed.partial-*/checkpoint*")) else "no checkpoint"
    return f"{shards} shards, {checkpoint}"


def hash_of_shards(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
