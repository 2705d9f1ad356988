"""Does search find what is meant? Words alone, meaning alone, and both, on published labels; and what a query costs.

    python tests/benchmarks/search.py LABELS.json            # Neuronpedia's flat list of explanations
    python tests/benchmarks/search.py LABELS.json 10000 100000   # then queries on so many synthetic features

1. Every latent of the list becomes a feature with its first label; labels are registered and embedded, and timed.
2. ``paraphrases.json`` has 30 labels, drawn with a fixed seed, each paraphrased without its words before any search was
   made, and with an expression that right labels match, written then too. A query is answered where one of its first
   five results matches (for chance, the share of all labels that do is printed).
3. Labels that other explainers gave to the same latents are further queries, for which only that latent is right.
4. Latency: queries of one to eight words drawn from the labels, one at a time: the median and the 99th percentile of
   the time, and the median of what it took of the processors, which others that are busy do not change.
"""

import json
import random
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from featurehub.artifacts.manifest import HookPoint, Manifest, ModelIdentity
from featurehub.embedding import Embedder, open_embedder
from featurehub.runs.embed import embed_features
from featurehub.store import (
    EmbeddingKind,
    FeatureRow,
    Labeled,
    PreparedRows,
    Provenance,
    QueryVector,
    Store,
    open_store,
)
from featurehub.store.nearest import nearest
from featurehub.store.search import find

TOP = 5
QUERIES = 200
SEED = 15
PARAPHRASES = Path(__file__).with_name("paraphrases.json")
SMALL = {*"of and or in on the a an to for with by as that is are their such within between at".split()}  # noqa: SIM905
Labels = dict[int, str]


def manifest(count: int) -> Manifest:
    identity = ModelIdentity(
        name="published", architecture="Gemma2ForCausalLM", d_model=8, layers=26, dtype="float32",
        reads="r" * 64, whole="m" * 64, tokenizer="t" * 64, chat_template="",
    )  # fmt: skip
    return Manifest(
        id=f"{count:064d}", name=f"published-{count}", architecture="jumprelu", d_model=8, d_sae=count, k=4,
        hook=HookPoint(layer=20), model=identity, dataset={}, training={}, metrics={}, files={},
        created="2026-01-01T00:00:00+00:00",
    )  # fmt: skip


def register(store: Store, labels: Labels) -> str:
    """Registers latents with their labels, and returns the artifact's id."""
    made = manifest(max(labels) + 1)
    rows = PreparedRows(FeatureRow(latent=latent, density=0.01, max_activation=1.0) for latent in labels)
    by = Provenance(author="benchmark", method="published")
    with store.write() as writer:
        writer.put_artifact(made, "/nowhere")
        ids = writer.put_features(made.id, rows)
        writer.put_labels({id: (Labeled(label=label), by) for id, label in zip(ids, labels.values(), strict=True)})
    return made.id


def read_labels(path: Path) -> tuple[dict[int, str], list[tuple[int, str]]]:
    """The first label of each latent, and a sample of the further ones of other explainers."""
    labels: Labels = {}
    further: list[tuple[int, str]] = []
    for each in json.loads(path.read_text()):
        latent, label = int(each["index"]), " ".join(each["description"].split())
        if labels.setdefault(latent, label) != label:
            further.append((latent, label[:200]))
    return labels, random.Random(SEED).sample(further, min(QUERIES, len(further)))


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower())) - SMALL


def quality(store: Store, artifact: str, embedder: Embedder, labels: Labels, further: list[tuple[int, str]]) -> None:
    paraphrases = json.loads(PARAPHRASES.read_text())
    shared = [each["query"] for each in paraphrases if words(each["query"]) & words(each["label"])]
    assert not shared, f"share words with their labels: {shared}"
    queries = [*(each["query"] for each in paraphrases), *(query for _, query in further)]
    vectors = dict(zip(queries, embedder.embed(queries), strict=True))
    with store.read() as reader:
        latents = {each.id: each.latent for each in reader.features(artifact)}
        session = reader._session
        ways: dict[str, Callable[[str], Sequence[str]]] = {
            "words alone": lambda query: find(session, query, [artifact]).ids,
            "meaning alone": lambda query: [
                each.id for each in nearest(session, vectors[query], [artifact], TOP, EmbeddingKind.LABEL)
            ],
            "both, fused": lambda query: (
                find(session, query, [artifact], vector=QueryVector(embedder.identity, vectors[query])).ids
            ),
        }
        chance = np.mean([sum(is_right(each, label) for label in labels.values()) for each in paraphrases])
        print(
            f"{len(labels):,} labels, {len(paraphrases)} paraphrases, {len(further)} labels of other explainers; among"
        )
        print(
            f"the first {TOP}: a right label (any one label is with {chance / len(labels):.1%}), the very one, and for"
        )
        print("another explainer's label its own latent")
        for name, way in ways.items():
            tops = {query: [latents[id] for id in way(query)[:TOP]] for query in queries}
            right = [any(is_right(each, labels[latent]) for latent in tops[each["query"]]) for each in paraphrases]
            own = [each["latent"] in tops[each["query"]] for each in paraphrases]
            others = [latent in tops[query] for latent, query in further]
            print(f"  {name:14} {np.mean(right):.2f}  {np.mean(own):.2f}  {np.mean(others):.2f}", flush=True)


def is_right(paraphrase: dict[str, str], label: str) -> bool:
    return re.search(paraphrase["right"], label, re.IGNORECASE) is not None


def synthetic(labels: Sequence[str], count: int) -> dict[int, str]:
    """Labels of words that are mixed from published ones."""
    drawn = random.Random(SEED)
    pool = [word for label in labels for word in label.split()]
    return {latent: " ".join(drawn.choices(pool, k=drawn.randint(2, 12))) for latent in range(count)}


def latency(store: Store, artifact: str, identity: str, queries: Iterable[tuple[str, np.ndarray]]) -> str:
    took: dict[str, list[tuple[float, float]]] = {"words": [], "both": []}
    for query, vector in queries:
        for way, each in took.items():
            asked = QueryVector(identity, vector) if way == "both" else None
            began, before = time.perf_counter(), time.process_time()
            with store.read() as reader:
                reader.search(query, reader.scope(artifact), vector=asked)
            each.append((1000 * (time.perf_counter() - began), 1000 * (time.process_time() - before)))
    told = []
    for way, each in took.items():
        (wall, used), (slow, _) = np.percentile(each, 50, axis=0), np.percentile(each, 99, axis=0)
        told.append(f"{way} p50 {wall:.0f} ms (CPU {used:.0f}), p99 {slow:.0f} ms")
    return "; ".join(told)


def fill_vectors(store: Store, artifact: str, embedder: Embedder) -> None:
    """Random vectors, as long as the embedder's: what they mean does not change what a query costs."""
    drawn = np.random.default_rng(SEED)
    after = -1
    with store.write() as writer:
        writer.begin_embedding(artifact, embedder.identity, embedder.dimensions)
        while batch := writer.reader.unembedded(artifact, EmbeddingKind.LABEL, after, 8192):
            rows = drawn.standard_normal((len(batch), embedder.dimensions), dtype=np.float32)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            texts = {each.id: each.text for each in batch}
            writer.put_embeddings(artifact, embedder.identity, EmbeddingKind.LABEL, texts, rows)
            after = batch[-1].latent


def main(path: Path, sizes: Sequence[int]) -> None:
    labels, further = read_labels(path)
    embedder = open_embedder("minilm")
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "features.db")
        began, before = time.perf_counter(), time.process_time()
        artifact = register(store, labels)
        registered = time.perf_counter() - began
        count = sum(embed_features(store, embedder).values())
        took, used = time.perf_counter() - began, time.process_time() - before
        print(f"{len(labels):,} labels: {registered:.1f} s to register, {took:.1f} s (CPU {used:.1f}) with {count:,}")
        print(f"vectors of {embedder.identity}", flush=True)
        quality(store, artifact, embedder, labels, further)
        store.close()
    drawn = random.Random(SEED)
    asked = [
        " ".join(drawn.choices(drawn.choice(list(labels.values())).split(), k=1 + at % 8)) for at in range(QUERIES)
    ]
    queries = list(zip(asked, embedder.embed(asked), strict=True))
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            store = open_store(Path(folder) / "features.db")
            artifact = register(store, synthetic(list(labels.values()), size))
            fill_vectors(store, artifact, embedder)
            latency(store, artifact, embedder.identity, queries[:2])
            told = latency(store, artifact, embedder.identity, queries)
            bytes = sum(each.stat().st_size for each in Path(folder).iterdir()) >> 20
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
            print(f"{size:>9,} features: {told}; {bytes:,} MB of file, peak {peak:,} MB of memory")
            store.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(each) for each in sys.argv[2:]])
