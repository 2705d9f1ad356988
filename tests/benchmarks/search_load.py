"""What searches and names cost where there are many features, on both kinds of database.

    python tests/benchmarks/search_load.py LABELS.json [--features 10000 100000 1000000] [--clients 8] [--only sqlite]

1. Features: labels of 2 to 12 words that are drawn from published ones (Neuronpedia's flat list), in SAEs of at most
   50,000, all of which are searched. Vectors of labels: three vectors of published labels mixed, and noise. They have
   no contexts, so that no text is found.
2. Queries: one to eight words drawn from one published label, and its vector, which is made before: to embed a query
   takes another few milliseconds (printed). Every client is a process, as a replica is; it searches again at once, or
   after a pause that is drawn around ``PAUSE``, as a person's page does.
3. Printed: the median and the 99th percentile, with one client and with all, by words alone and by both; the same of 32
   names resolved; what share of the exactly nearest 10 and 100 the index gives; memory and size.

The server and all clients share the processors.
"""

import argparse
import json
import multiprocessing
import os
import random
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featurehub.embedding import open_embedder
from featurehub.store import (
    EmbeddingKind,
    FeatureRow,
    PreparedRows,
    Provenance,
    QueryVector,
    Store,
    open_store,
)
from featurehub.store.nearest import nearest
from featurehub.store.nearest_postgres import _query
from tests.benchmarks.machine import processor
from tests.benchmarks.store import databases, settle, size
from tests.labels import labeled
from tests.store.conftest import build_manifest

WIDTH = 50_000
QUERIES = 200
NAMES = 32
SEED = 15
PAUSE = 0.5
"""Mean seconds."""
BASE = 2_000
"""Published labels that are embedded."""
BY = Provenance(author="benchmark", method="published")
EMBEDDER = "benchmark"
Query = tuple[str, NDArray[np.float32]]


def drawn_labels(published: Sequence[str], count: int) -> Iterator[str]:
    drawn = random.Random(SEED)
    pool = [word for label in published for word in label.split()]
    return (" ".join(drawn.choices(pool, k=drawn.randint(2, 12))) for _ in range(count))


def drawn_vectors(base: NDArray[np.float32], count: int, seed: int) -> NDArray[np.float32]:
    drawn = np.random.default_rng(seed)
    rows = sum(
        (base[drawn.integers(0, len(base), count)] for _ in range(3)), np.zeros((count, base.shape[1]), np.float32)
    )
    rows += 0.03 * drawn.standard_normal(rows.shape, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def fill(
    store: Store, published: Sequence[str], base: NDArray[np.float32], count: int, embedder: str = EMBEDDER
) -> list[str]:
    """Returns some of the labels."""
    labels, known = drawn_labels(published, count), []
    for first in range(0, count, WIDTH):
        width, sae = min(WIDTH, count - first), f"{first:064x}"
        mine = [next(labels) for _ in range(width)]
        rows = PreparedRows(FeatureRow(latent=latent, density=0.01, max_activation=1.0) for latent in range(width))
        with store.write() as writer:
            writer.put_artifact(build_manifest(f"sae-{first}", sae, d_sae=width), "/nowhere")
            ids = writer.put_features(sae, rows)
            writer.put_labels({id: (labeled(label), BY) for id, label in zip(ids, mine, strict=True)})
            writer.vectors.begin(sae, embedder, base.shape[1])
            texts = dict(zip(ids, mine, strict=True))
            writer.vectors.put(sae, embedder, EmbeddingKind.LABEL, texts, drawn_vectors(base, width, first))
        known += mine[:: max(1, count // 10_000)]
    return known


def ask(
    location: str, queries: Sequence[Query], way: str, clients: int, seconds: float, pause: float = 0.0
) -> list[float]:
    """Milliseconds of each search of all clients."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(clients) as pool:
        asked = [(location, queries, way, seconds, pause, at) for at in range(clients)]
        return [each for times in pool.starmap(client, asked) for each in times]


def client(location: str, queries: Sequence[Query], way: str, seconds: float, pause: float, seed: int) -> list[float]:
    order, times, end = random.Random(seed), [], 0.0
    with closing(open_store(location)) as store:
        for turn in range(10_000_000):
            words, vector = order.choice(queries)
            began = time.perf_counter()
            with store.read() as reader:
                if way == "names":
                    for each in words.split("\n"):
                        assert each
                    reader.resolve_many(words.split("\n"))
                else:
                    reader.search(words, vector=QueryVector(EMBEDDER, vector) if way == "both" else None)
            took = time.perf_counter() - began
            # The first ones read what is kept in memory from then on.
            if turn == 9:
                end = time.perf_counter() + seconds
            if turn > 9:
                times.append(1000 * took)
                if time.perf_counter() > end:
                    return times
                time.sleep(pause and order.expovariate(1 / pause))
    return times


def recall(store: Store, queries: Sequence[Query], k: int) -> float:
    """What share of the exactly nearest the index gives."""
    shares = []
    with store.read() as reader:
        saes, session = list(reader.embedders()), reader._session
        for _, vector in queries[:20]:
            found = {each.id for each in nearest(session, vector, saes, 200, EmbeddingKind.LABEL)[:k]}
            exact = _query(EmbeddingKind.LABEL, None, filtered=False)
            rows = session.execute(exact, {"vector": str(vector.tolist()), "saes": saes, "k": k})
            shares.append(len(found & {row[0] for row in rows}) / k)
    return float(np.mean(shares))


def told(times: Sequence[float]) -> str:
    return f"p50 {np.percentile(times, 50):.1f} p99 {np.percentile(times, 99):.1f} ms ({len(times)})"


def run(kind: str, location: str, published: Sequence[str], base: NDArray[np.float32], queries: Sequence[Query],
        count: int, options: argparse.Namespace) -> None:  # fmt: skip
    with closing(open_store(location)) as store:
        began = time.perf_counter()
        known = fill(store, published, base, count)
        filled = time.perf_counter()
        with store.write() as writer:
            writer.vectors.index()
        indexed = time.perf_counter() - filled
        settle(store)
        print(f"{kind} {count:,}: filled in {filled - began:.0f} s, vectors indexed in {indexed:.0f} s, "
              f"{size(store):,.0f} MiB on the disk", flush=True)  # fmt: skip
        if kind == "postgresql":
            print(f"  of the nearest 10 and 100, found {recall(store, queries, 10):.3f} and "
                  f"{recall(store, queries, 100):.3f}", flush=True)  # fmt: skip
    unique = [each for each in dict.fromkeys(known) if len(each.split()) > 4]
    drawn = random.Random(SEED)
    names = [("\n".join(drawn.sample(unique, NAMES)), queries[0][1]) for _ in range(50)]
    many = options.clients if kind == "postgresql" else 1
    for clients, pause in dict.fromkeys(((1, 0.0), (many, 0.0), (many, PAUSE))):
        for way, asked in (("words", queries), ("both", queries), ("names", names)):
            times = ask(location, asked, way, clients, options.seconds, pause)
            print(f"  {clients} clients, {'pausing' if pause else 'at once'}, {way}: {told(times)}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    print(f"  the largest client held {peak:,} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--features", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    published = list(
        dict.fromkeys(" ".join(each["description"].split()) for each in json.loads(options.labels.read_text()))
    )
    drawn, embedder = random.Random(SEED), open_embedder("minilm")
    asked = [" ".join(drawn.choices(drawn.choice(published).split(), k=1 + at % 8)) for at in range(QUERIES)]
    began = time.perf_counter()
    queries = [(each, embedder.embed([each])[0]) for each in asked]
    print(f"{len(os.sched_getaffinity(0))} cores of {processor()}; a query is embedded in "
          f"{1000 * (time.perf_counter() - began) / QUERIES:.1f} ms", flush=True)  # fmt: skip
    base = embedder.embed(drawn.sample(published, BASE))
    with tempfile.TemporaryDirectory(), databases(options.only) as found:
        for kind, locations in found.items():
            for count in options.features:
                run(kind, locations.pop(), published, base, queries, count, options)


if __name__ == "__main__":
    main()
