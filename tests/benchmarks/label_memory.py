"""What labelling holds in memory, by the number of latents: peaks of processes that label made-up activations.

Each process draws a corpus of documents of 256 tokens, on each token of which 64 latents fire, and a decoder; then it
does what `featurehub label` does between reading the text and asking a language model. Prints the peak resident memory
after each step.

    python tests/benchmarks/label_memory.py [--latents 65536] [--documents 3000]
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

ACTIVE, LENGTH, D_MODEL, VOCABULARY = 64, 256, 64, 8000
STEPS = ("corpus", "projection", "statistics", "split", "outlines", "contexts", "scored")
console = Console(highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latents", type=int, default=65_536)
    parser.add_argument("--documents", type=int, default=3000)
    options = parser.parse_args()
    table = Table("latents", *STEPS, title="peak memory in MB")
    for latents in (options.latents // 16, options.latents):
        command = [sys.executable, __file__, "--run", str(latents), str(options.documents)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        said = json.loads(done.stdout.splitlines()[-1])
        table.add_row(f"{latents:,}", *(f"{said[step] / 1e6:,.0f}" for step in STEPS))
    console.print(table)


def run(latents: int, documents: int) -> None:
    print(json.dumps(dict(steps(latents, documents))))


def steps(latents: int, documents: int) -> Iterator[tuple[str, int]]:
    import numpy as np
    from scipy.sparse import csr_matrix

    from labeling.contexts import Contexts
    from labeling.corpus import Corpus, split
    from labeling.evidence import outline
    from labeling.examiner import HeldOut
    from labeling.logit_lens import project
    from labeling.statistics import PackedRows, StatisticsConfig, feature_rows

    random = np.random.default_rng(0)
    vocabulary = [f" word{i}" for i in range(VOCABULARY)]
    texts = [[vocabulary[i] for i in random.integers(VOCABULARY, size=LENGTH)] for _ in range(documents)]
    tokens = documents * LENGTH
    indices = np.sort(random.integers(latents, size=(tokens, ACTIVE), dtype=np.int32), axis=1)
    values = random.random((tokens, ACTIVE), dtype=np.float32).ravel()
    matrix = csr_matrix((values, indices.ravel(), np.arange(tokens + 1) * ACTIVE), shape=(tokens, latents))
    corpus = Corpus(texts, matrix, np.arange(documents + 1) * LENGTH)
    W_dec = random.standard_normal((latents, D_MODEL), dtype=np.float32)
    yield "corpus", peak()
    unembed = random.standard_normal((VOCABULARY, D_MODEL), dtype=np.float32)
    projection = project(W_dec, lambda rows: rows, unembed, vocabulary)
    yield "projection", peak()
    rows = PackedRows(feature_rows(corpus, tokens, W_dec, projection, StatisticsConfig()))
    yield "statistics", peak()
    shown, rest = split(corpus, 0.5, 0)
    held_out = HeldOut(rest)
    yield "split", peak()
    evidences = outline(shown, range(latents), projection)
    first = next(evidences)
    yield "outlines", peak()
    contexts = Contexts(shown)
    contexts.firing(first.latent, 16)
    yield "contexts", peak()
    for _, evidence in zip(range(200), evidences, strict=False):
        drawn = contexts.firing(evidence.latent, 16)
        held_out.contexts.firing(evidence.latent, 10, evidence.level)
        held_out.contexts.quiet(evidence.latent, 10, rows[evidence.latent].neighbors)
        assert drawn
    yield "scored", peak()


def peak() -> int:
    import resource

    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        run(int(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
