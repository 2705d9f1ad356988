"""Does memory stay bounded by the buffer? Peaks of processes that train on N tokens, and on ten times as many.

Each process reads a text of that length through the engine, into shards or as training asks for it, and trains on it
once, with the same buffer. Prints the peak resident memory of all, of a control with a buffer ten times as large, and
of the engine alone.

    python tests/benchmarks/memory.py [--tokens 200000]
"""

import argparse
import json
import subprocess
import sys

from rich.console import Console
from rich.table import Table

BUFFER = 32_768
SHARDS, STREAM = "shards", "streamed"
console = Console(highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=200_000)
    tokens = parser.parse_args().tokens
    table = Table("tokens", "read", "buffer", "on disk", "peak")
    runs = [(count, BUFFER, how) for how in (SHARDS, STREAM) for count in (tokens, 10 * tokens)]
    for count, buffer, how in ((0, BUFFER, STREAM), *runs, (10 * tokens, 10 * BUFFER, STREAM)):
        command = [sys.executable, __file__, "--run", str(count), str(buffer), how]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        said = json.loads(done.stdout.splitlines()[-1])
        sizes = [f"{said[what] / 1e6:,.0f} MB" for what in ("disk", "peak")]
        table.add_row(f"{count:,}", how, f"{buffer:,}", *sizes)
    console.print(table)


def run(tokens: int, buffer: int, how: str) -> None:
    import resource
    import tempfile
    from pathlib import Path

    from featurehub.demo.bundle import bundled_model
    from featurehub.engine.config import EngineConfig
    from featurehub.engine.offline import Engine
    from featurehub.runs.harvest import identify_hook
    from saes.documents import Document
    from saes.harvest import HarvestConfig, harvest_documents
    from saes.recipes import Recipe
    from saes.run import TrainConfig
    from saes.stream import DocumentChunks, Stream, StreamConfig
    from saes.train import train

    identity, hook = identify_hook(bundled_model(), None)
    texts = [Document([10 + (7 * i + j) % 300 for j in range(128)], 1) for i in range(max(1, tokens // 128))]
    with Engine(bundled_model(), EngineConfig.capturing(hook)) as engine, tempfile.TemporaryDirectory() as folder:
        chunks, disk = DocumentChunks(engine, texts, ()), 0
        if how == SHARDS:
            chunks = harvest_documents(engine, texts, (), Path(folder), identity, [hook], HarvestConfig())
            disk = chunks.bytes
        if tokens:
            stream = Stream(chunks, StreamConfig(buffer_tokens=buffer))
            train(stream, identity.d_model, [Recipe(d_sae=320)], TrainConfig(tokens=tokens))
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"peak": peak, "disk": disk}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        run(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
    else:
        main()
