"""Does search find what is meant? Words alone, meaning alone, and both, on published labels.

    python tests/benchmarks/search.py LABELS.json            # Neuronpedia's flat list of explanations

1. Every latent of the list becomes a feature with its first label; labels are registered and embedded, and timed.
2. ``paraphrases.json`` has 30 labels, drawn with a fixed seed, each paraphrased without its words before any search was
   made, and with an expression that right labels match, written then too. A query is answered where one of its first
   five results matches (for chance, the share of all labels that do is printed). ``paraphrases_tuning.json`` has 30
   others, written in the same way: only these were looked at as the ranking was changed.
3. Labels that other explainers gave to the same latents are further queries, for which only that latent is right.

What searches cost is measured by ``search_load.py``.
"""

import json
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from featurehub.artifacts.manifest import HookPoint, Manifest, ModelIdentity
from featurehub.embedding import Embedder, open_embedder
from featurehub.runs.embed import embed_features
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
from featurehub.store.search import find
from tests.labels import labeled

TOP = 5
QUERIES = 200
SEED = 15
PARAPHRASES = {name: Path(__file__).with_name(f"{name}.json") for name in ("paraphrases", "paraphrases_tuning")}
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
        writer.put_labels({id: (labeled(label), by) for id, label in zip(ids, labels.values(), strict=True)})
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
    sets = {name: json.loads(path.read_text()) for name, path in PARAPHRASES.items()}
    shared = [each["query"] for rows in sets.values() for each in rows if words(each["query"]) & words(each["label"])]
    assert not shared, f"share words with their labels: {shared}"
    queries = [*(each["query"] for rows in sets.values() for each in rows), *(query for _, query in further)]
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
        for name, rows in sets.items():
            chance = np.mean([sum(is_right(each, label) for label in labels.values()) for each in rows]) / len(labels)
            print(f"{len(labels):,} labels, {len(rows)} of {name}: any one label is right with {chance:.1%}")
        print(
            f"among the first {TOP} for each: a right label, the very one; for {len(further)} labels of others: its own"
        )
        for name, way in ways.items():
            tops = {query: [latents[id] for id in way(query)[:TOP]] for query in queries}
            told = [
                (np.mean([any(is_right(each, labels[at]) for at in tops[each["query"]]) for each in rows]),
                 np.mean([each["latent"] in tops[each["query"]] for each in rows]))
                for rows in sets.values()
            ]  # fmt: skip
            others = np.mean([latent in tops[query] for latent, query in further])
            print(f"  {name:14} " + "  ".join(f"{right:.2f} {own:.2f}" for right, own in told) + f"  {others:.3f}")


def is_right(paraphrase: dict[str, str], label: str) -> bool:
    return re.search(paraphrase["right"], label, re.IGNORECASE) is not None


def main(path: Path) -> None:
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


if __name__ == "__main__":
    main(Path(sys.argv[1]))
