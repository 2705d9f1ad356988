"""What labelling holds in memory and on disk, by the number of latents: processes that label made-up activations.

Each process draws a corpus of documents of 256 tokens, on each token of which 64 latents fire, and a decoder; then it
does what `featurehub label` does between reading the text and asking a language model. Prints of each step the peak of
the process' own memory and of its files on disk, and the seconds of the processor until its end. Pages of mapped files
are no memory of the process: the operating system drops them where it needs the room.

    python tests/benchmarks/label_memory.py [--latents 4096 65536] [--documents 3000]
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.table import Table

FIRST = 4096
"""Latents whose rows are computed: they lie on disk, and those of all take minutes."""
ACTIVE, LENGTH, D_MODEL, VOCABULARY = 64, 256, 64, 8000
STEPS = ("corpus", "projection", "statistics", "split", "outlines", "contexts", "scored")
console = Console(highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latents", type=int, nargs="+", default=[4096, 65_536])
    parser.add_argument("--documents", type=int, default=3000)
    options = parser.parse_args()
    table = Table("latents", "", *STEPS)
    for latents in options.latents:
        command = [sys.executable, __file__, "--run", str(latents), str(options.documents)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        said = json.loads(done.stdout.splitlines()[-1])
        for at, name in enumerate(("MB of memory", "MB on disk", "seconds")):
            table.add_row(f"{latents:,}", name, *(f"{said[step][at]:,.0f}" for step in STEPS))
    console.print(table)


def run(latents: int, documents: int) -> None:
    watch = Watch()
    print(json.dumps({step: watch.read() for step in steps(latents, documents)}))


class Watch(threading.Thread):
    """Looks a hundred times a second how much memory and disk this process takes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peaks = (0, 0)
        self.start()

    def run(self) -> None:
        while True:
            own, disk = memory(), on_disk()
            self.peaks = max(self.peaks[0], own), max(self.peaks[1], disk)
            time.sleep(0.01)

    def read(self) -> tuple[float, float, float]:
        """Peaks since the last time, in MB, and seconds of the processor since the start."""
        (own, disk), self.peaks = self.peaks, (0, 0)
        return own / 1e6, disk / 1e6, time.process_time()


def memory() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def on_disk() -> int:
    """Bytes of the files without a name that this process has mapped."""
    found: dict[str, int] = {}
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        if line.endswith(" (deleted)"):
            span, _, _, _, inode, *_ = line.split()
            start, stop = (int(each, 16) for each in span.split("-"))
            found[inode] = stop - start
    return sum(found.values())


def steps(latents: int, documents: int) -> Iterator[str]:
    import numpy as np

    from featurehub.sparse import MatrixWriter
    from labeling.contexts import Contexts
    from labeling.corpus import Corpus, split
    from labeling.evidence import outline
    from labeling.examiner import HeldOut
    from labeling.logit_lens import project
    from labeling.statistics import PackedRows, StatisticsConfig, feature_rows
    from labeling.texts import PackedTexts

    random = np.random.default_rng(0)
    vocabulary = [f" word{i}" for i in range(VOCABULARY)]
    texts = PackedTexts([vocabulary[i] for i in random.integers(VOCABULARY, size=LENGTH)] for _ in range(documents))
    tokens, written = documents * LENGTH, MatrixWriter(latents)
    for _ in range(documents):
        indices = np.sort(random.integers(latents, size=(LENGTH, ACTIVE), dtype=np.int32), axis=1)
        written.add(random.random(indices.size, dtype=np.float32), indices.ravel(), np.full(LENGTH, ACTIVE))
    corpus = Corpus(texts, written.rows(), np.arange(documents + 1) * LENGTH)
    W_dec = random.standard_normal((latents, D_MODEL), dtype=np.float32)
    yield "corpus"
    unembed = random.standard_normal((VOCABULARY, D_MODEL), dtype=np.float32)
    projection = project(W_dec, lambda rows: rows, unembed, vocabulary)
    yield "projection"
    rows = PackedRows(islice(feature_rows(corpus, tokens, W_dec, projection, StatisticsConfig()), FIRST))
    yield "statistics"
    shown, rest = split(corpus, 0.5, 0)
    held_out = HeldOut(rest)
    yield "split"
    evidences = outline(shown, range(latents), projection)
    first = next(evidences)
    yield "outlines"
    contexts = Contexts(shown)
    contexts.firing(first.latent, 16)
    yield "contexts"
    for _, evidence in zip(range(200), evidences, strict=False):
        drawn = contexts.firing(evidence.latent, 16)
        held_out.contexts.firing(evidence.latent, 10, evidence.level)
        held_out.contexts.quiet(evidence.latent, 10, rows[evidence.latent].neighbors)
        assert drawn
    yield "scored"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        run(int(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
