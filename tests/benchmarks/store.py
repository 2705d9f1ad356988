"""The feature database on both of its kinds: how fast it is filled and asked, and whether a crowd breaks it.

    python tests/benchmarks/store.py [--features 10000 100000] [--rounds 200] [--crowd 60] [--only sqlite]

Filled with SAEs of at most 50,000 features, each with statistics, a label and its names, in one transaction an SAE. Per
second of wall-clock time: prepared as rows (before the write lock is taken), written in the transaction, and everything
with the making of the values. Then 32 names are resolved in the scope of all SAEs (median, 99th percentile), and 24
threads read and write for a while; the only error that they may get is StoreBusy.
"""

import argparse
import os
import resource
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import text

from featurehub.store import FeatureRow, FeatureSet, NewFeatures, Provenance, Store, open_store
from tests.benchmarks.machine import processor
from tests.labels import labeled
from tests.postgres import binaries, running
from tests.store.conftest import build_manifest
from tests.store.crowd import crowd, prepare

WIDTH = 50_000
NAMES = 32
BY_HAND = Provenance(author="benchmark", method="by hand")


class Filled(NamedTuple):
    """Features per second: prepared, written, and both with the making of the values."""

    prepared: float
    written: float
    all: float


def label(n: int) -> str:
    return f"topic number {n}: words of {n % 7}"


def fill(store: Store, count: int) -> Filled:
    prepared = written = 0.0
    began = time.perf_counter()
    for first in range(0, count, WIDTH):
        width = min(WIDTH, count - first)
        rows = [FeatureRow(latent=n, density=0.01, max_activation=3.0) for n in range(width)]
        labels = {n: (labeled(label(first + n), score=0.9), BY_HAND) for n in range(width)}
        manifest = build_manifest(f"sae-{first}", f"{first:064x}", d_sae=width)
        start = time.perf_counter()
        new = NewFeatures(FeatureSet(manifest, Path("/nowhere"), rows, labels, {}))
        prepared += time.perf_counter() - start
        start = time.perf_counter()
        with store.write() as writer:
            writer.put_artifact(manifest, "/nowhere")
            writer.add_features(new)
        written += time.perf_counter() - start
    return Filled(*(count / each for each in (prepared, written, time.perf_counter() - began)))


def resolving(store: Store, count: int, rounds: int) -> tuple[float, float]:
    """Milliseconds for 32 names: the median and the 99th percentile."""
    times = []
    for turn in range(rounds):
        names = [f"topic number {(turn * 7919 + n * 104_729) % count}" for n in range(NAMES)]
        began = time.perf_counter()
        with store.read() as reader:
            assert len(reader.resolve_many(names)) == len(set(names))
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times), statistics.quantiles(times, n=100)[98]


def size(store: Store) -> float:
    """MiB on the disk."""
    if store.name.startswith("postgresql://"):
        with store.read() as reader:
            return reader._session.scalar(text("SELECT pg_database_size(current_database())")) / 2**20
    return sum(each.stat().st_size for each in Path(store.name).parent.glob("*.db*")) / 2**20


def settle(store: Store) -> None:
    """What a server does by itself within a minute of a large change: it counts what its tables hold now."""
    if store._engine.dialect.name == "sqlite":
        return
    with store._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


@contextmanager
def databases(only: str) -> Iterator[dict[str, list[str]]]:
    """Locations of empty databases, by kind."""
    with tempfile.TemporaryDirectory() as folder:
        found = {"sqlite": [f"{folder}/{n}/f.db" for n in range(9)]}
        if only == "sqlite":
            yield found
            return
        programs = binaries()
        assert programs is not None, "there is no PostgreSQL here; --only sqlite"
        durable = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "shared_buffers": "512MB"}
        with running(programs, **durable) as server:
            found["postgresql"] = [server.create(f"t{n}") for n in range(9)]
            yield {kind: each for kind, each in found.items() if only in ("", kind)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--crowd", type=float, default=60.0)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    print(f"{len(os.sched_getaffinity(0))} cores of {processor()}; SQLite {sqlite3.sqlite_version}, PostgreSQL 18")
    print(
        "database    features  prepared/s  written/s  all/s  32 names: median ms  99 % ms  MiB on disk  peak MiB here"
    )
    with databases(options.only) as found:
        for kind, locations in found.items():
            for count in options.features:
                with closing(open_store(locations.pop())) as store:
                    rates = fill(store, count)
                    settle(store)
                    median, most = resolving(store, count, options.rounds)
                    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                    print(
                        f"{kind:<10} {count:9,} {rates.prepared:11,.0f} {rates.written:10,.0f} {rates.all:6,.0f} "
                        f"{median:20.2f} {most:8.2f} {size(store):12,.0f} {peak:14,.0f}"
                    )
        for kind, locations in found.items():
            location = locations.pop()
            with closing(open_store(location)) as store:
                prepare(store)
            done = crowd(location, writers=8, readers=16, seconds=options.crowd)
            print(f"{kind}: 8 writers and 16 readers for {options.crowd:.0f} s: {dict(sorted(done.items()))}")


if __name__ == "__main__":
    main()
