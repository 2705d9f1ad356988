"""What a server needs: a model with random weights and a tokenizer, an SAE of it, and features with names."""

import shutil
from pathlib import Path
from typing import NamedTuple

from shapes import Shape

from featurehub.artifacts.artifact import WEIGHTS, open_artifact, seal
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint
from featurehub.demo.bundle import bundled_model
from featurehub.records import FeatureRow
from featurehub.store import Calibration, FeatureSet, Provenance, save_feature_set
from tests.labels import labeled

WIDTH = 50_000
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


BY_HAND = Provenance(author="benchmark", method="by hand")


class ServedShape(NamedTuple):
    model: Path
    sae: Path
    database: Path


def name_of(latent: int) -> str:
    return f"topic number {latent}"


def save_served(shape: Shape, folder: Path, others: int = 0, tokenizer: Path | None = None) -> ServedShape:
    """Its vocabulary is a tokenizer's, so that every token has a text.

    Args:
        shape: The model's and the SAE's.
        folder: Where all of it is written.
        others: How many features of other SAEs the database has besides.
        tokenizer: Folder of the tokenizer; by default the bundled model's.
    """
    from transformers import AutoTokenizer

    words = tokenizer or bundled_model()
    served = ServedShape(folder / "model", folder / "sae", folder / "featurehub.db")
    shape.save(folder, weights=True, vocabulary=len(AutoTokenizer.from_pretrained(words)))
    for name in TOKENIZER:
        shutil.copy(words / name, served.model)
    if (template := words / "chat_template.jinja").exists():
        shutil.copy(template, served.model)
    served.sae.mkdir()
    (folder / WEIGHTS).rename(served.sae / WEIGHTS)
    save_features(shape, served)
    for first in range(0, others, WIDTH):
        save_others(served, first, min(WIDTH, others - first))
    return served


def save_features(shape: Shape, served: ServedShape) -> None:
    hook, latents = HookPoint(layer=shape.layer), range(shape.d_sae)
    fields = {
        "name": "random", "architecture": "batchtopk", "d_model": shape.hidden_size, "d_sae": shape.d_sae, "k": 2.0,
        "hook": hook, "model": identify(served.model, hook), "dataset": {}, "training": {}, "metrics": {},
        "created": "2026-01-01",
    }  # fmt: skip
    features = FeatureSet(
        manifest=seal(served.sae, fields).manifest,
        folder=served.sae,
        rows=[FeatureRow(latent=latent, density=0.01, max_activation=3.0) for latent in latents],
        labels={latent: (labeled(f"{name_of(latent)}: words", score=0.9), BY_HAND) for latent in latents},
        calibrations={latent: Calibration(strength=2.0, dose=0.3, steerability=0.8) for latent in latents},
    )
    save_feature_set(features, served.database)


def save_others(served: ServedShape, first: int, count: int) -> None:
    """An SAE of which only the features are here."""
    own = open_artifact(served.sae).manifest
    rows = [FeatureRow(latent=latent, density=0.01, max_activation=3.0) for latent in range(count)]
    labels = {at: (labeled(f"subject {first + at}: words", score=0.9), BY_HAND) for at in range(count)}
    manifest = own.model_copy(update={"id": f"{first:064x}", "name": f"other-{first}", "d_sae": count})
    save_feature_set(FeatureSet(manifest, Path("/nowhere"), rows, labels, {}), served.database)
