"""A store in each kind of database, and small values to fill it with."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from featurehub.artifacts.manifest import HookPoint, Manifest, ModelIdentity
from featurehub.store import Context, FeatureRow, Provenance, Store, Writer, open_store
from tests.labels import labeled

PROVENANCE = Provenance(author="test", method="by hand")

Fill = Callable[..., dict[int, str]]


def build_manifest(name: str = "demo-l2", id: str = "a" * 64, model: str = "m" * 64, d_sae: int = 30_000) -> Manifest:
    identity = ModelIdentity(
        name="demo", architecture="LlamaForCausalLM", d_model=8, layers=4, dtype="float32",
        reads="r" * 64, whole=model, tokenizer="t" * 64, chat_template="",
    )  # fmt: skip
    return Manifest(
        id=id, name=name, architecture="batchtopk", d_model=8, d_sae=d_sae, k=4, hook=HookPoint(layer=2),
        model=identity, dataset={"name": "corpus", "tokens": 100}, training={}, metrics={"explained_variance": 0.96},
        files={}, created="2026-01-01T00:00:00+00:00",
    )  # fmt: skip


def build_row(latent: int, text: str = "a quiet word") -> FeatureRow:
    tokens = tuple(f" {word}" for word in text.split())
    context = Context(tokens=tokens, activations=tuple(float(at) for at in range(len(tokens))))
    return FeatureRow(latent=latent, density=0.01, max_activation=3.0, contexts=(context,))


def fill_artifact(
    writer: Writer, labels: Mapping[int, str], score: float | None = 0.9, **of_manifest: Any
) -> dict[int, str]:
    manifest = build_manifest(**of_manifest)
    writer.put_artifact(manifest, "/nowhere")
    ids = dict(zip(labels, writer.put_features(manifest.id, map(build_row, labels)), strict=True))
    outcomes = {ids[each]: (labeled(label, score=score), PROVENANCE) for each, label in labels.items()}
    writer.put_labels(outcomes)
    return ids


@pytest.fixture(scope="session")
def make_manifest() -> Callable[..., Manifest]:
    return build_manifest


@pytest.fixture(scope="session")
def make_row() -> Callable[..., FeatureRow]:
    return build_row


@pytest.fixture(scope="session")
def fill() -> Fill:
    """Registers an artifact with ``{latent: label}`` through a writer; ids by latent."""
    return fill_artifact


@pytest.fixture(scope="session")
def provenance() -> Provenance:
    return PROVENANCE


@pytest.fixture
def store(location: str) -> Iterator[Store]:
    """An empty store; the test runs once for each kind of database."""
    opened = open_store(location)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def lasting(lasting_location: str) -> Iterator[Store]:
    """One store for a module whose tests roll back what they write."""
    opened = open_store(lasting_location)
    yield opened
    opened.close()
