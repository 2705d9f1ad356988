"""Does memory stay bounded by the buffer? Peaks of processes that train on N tokens, and on ten times as many.

Each process harvests a text of that length through the engine into shards, and trains on it once, with the same buffer.
Prints the peak resident memory of both, of a control with a buffer ten times as large, and of the engine alone.

    python tests/benchmarks/memory.py [--tokens 200000]
"""

import argparse
import json
import subprocess
import sys

from rich.console import Console
from rich.table import Table

BUFFER = 32_768
console = Console(highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=200_000)
    tokens = parser.parse_args().tokens
    table = Table("tokens", "buffer", "on disk", "peak")
    for count, buffer in ((0, BUFFER), (tokens, BUFFER), (10 * tokens, BUFFER), (10 * tokens, 10 * BUFFER)):
        done = subprocess.run(
            [sys.executable, __file__, "--run", str(count), str(buffer)], capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        said = json.loads(done.stdout.splitlines()[-1])
        table.add_row(f"{count:,}", f"{buffer:,}", f"{said['disk'] / 1e6:,.0f} MB", f"{said['peak'] / 1e6:,.0f} MB")
    console.print(table)


def run(tokens: int, buffer: int) -> None:
    import resource
    import tempfile
    from pathlib import Path

    from featurehub.cli.runs.harvest import identify_hook
    from featurehub.demo.bundle import bundled_model
    from featurehub.engine.config import EngineConfig
    from featurehub.engine.offline import Engine
    from saes.documents import Document
    from saes.harvest import HarvestConfig, harvest_documents
    from saes.recipes import Recipe
    from saes.run import TrainConfig
    from saes.stream import Stream, StreamConfig
    from saes.train import train

    identity, hook = identify_hook(bundled_model(), None)
    texts = [Document([10 + (7 * i + j) % 300 for j in range(128)], 1) for i in range(max(1, tokens // 128))]
    with Engine(bundled_model(), EngineConfig.capturing(hook)) as engine, tempfile.TemporaryDirectory() as folder:
        harvest = harvest_documents(engine, texts, (), Path(folder), identity, [hook], HarvestConfig())
        if tokens:
            stream = Stream(harvest, StreamConfig(buffer_tokens=buffer))
            train(stream, identity.d_model, [Recipe(d_sae=320)], TrainConfig(tokens=tokens))
        disk = harvest.bytes
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"peak": peak, "disk": disk}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        run(int(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
