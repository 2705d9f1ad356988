"""Work that is killed at random moments ends as if it had been left alone.

`featurehub harvest`, and `featurehub train` with shards and with a streamed text, on the bundled model: each once
uninterrupted, and once killed (signal 9) three times at moments drawn from the length of the first after it began its
work; then it is started a last time. Prints what was there each time, and the hashes of what came out: of all shards,
and of the SAE.

    python tests/benchmarks/resume.py [--seed 0]
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

from featurehub.artifacts.artifact import MANIFEST, open_artifact
from featurehub.demo.bundle import bundled_model
from featurehub.demo.corpus import conversations, messages

CONVERSATIONS, KILLS = 6000, 3
console = Console(highlight=False)


class Trial(NamedTuple):
    """result: a hash of what the command leaves in ``--out``"""

    name: str
    command: str
    options: Sequence[str]
    result: Callable[[Path], str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    moments = random.Random(parser.parse_args().seed)
    once = ("--buffer-tokens", "16384", "--tokens", "100000")
    trials = (
        Trial("harvest", "harvest", (), hash_of_shards),
        Trial("train", "train", ("--latents", "320", "--tokens", "1200000"), id_of_sae),
        Trial("train, streamed", "train", ("--latents", "320", *once), id_of_sae),
    )
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text.json"
        text.write_text(json.dumps([{"messages": messages(c)} for c in islice(conversations(1), CONVERSATIONS)]))
        differ = [trial.name for trial in trials if not same(trial, Path(folder) / trial.name, text, moments)]
    raise SystemExit(f"{differ} ended differently" if differ else 0)


def same(trial: Trial, folder: Path, text: Path, moments: random.Random) -> bool:
    begun, ended = watch(start(trial, folder, "whole", text), folder)
    for _ in range(KILLS):
        moment = moments.uniform(begun, ended)
        kill(start(trial, folder, "killed", text), moment)
        console.print(f"{trial.name} killed after {moment:3.0f} s of {ended:.0f}: {state(folder)}")
    wait(start(trial, folder, "killed", text))
    left, killed = (trial.result(folder / name) for name in ("whole", "killed"))
    console.print(f"{trial.name} left alone {left[:16]}   killed {KILLS} times {killed[:16]}")
    return left == killed


def start(trial: Trial, folder: Path, name: str, text: Path) -> "subprocess.Popen[bytes]":
    program = [sys.executable, "-m", "featurehub.cli.main", trial.command, str(bundled_model())]
    options = ["--text", str(text), "--out", str(folder / name), *trial.options]
    environment = os.environ | {"FEATUREHUB_HOME": str(folder / name) + ".home"}
    quiet = subprocess.DEVNULL
    return subprocess.Popen([*program, *options], env=environment, stdout=quiet, stderr=quiet)


def watch(process: "subprocess.Popen[bytes]", folder: Path) -> tuple[float, float]:
    """Seconds until its work begins, and until it has ended."""
    started, begun = time.monotonic(), 0.0
    while process.poll() is None:
        if not begun and list(folder.glob("whole/harvest.json")) + list(folder.glob("whole.partial-*/tokens")):
            begun = time.monotonic() - started
        time.sleep(0.1)
    wait(process)
    return begun, time.monotonic() - started


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
    sealed = ", the SAE" if list(folder.glob(f"killed/*/{MANIFEST}")) else ""
    return f"{shards} shards, {checkpoint}{sealed}"


def id_of_sae(folder: Path) -> str:
    [sae] = folder.iterdir()
    return open_artifact(sae).manifest.id


def hash_of_shards(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
