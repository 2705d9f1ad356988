"""A small database in which everything that a page shows occurs, behind a server without a model that echoes."""

from fastapi import FastAPI

from api.engine import FakeEngine
from api.fake import create_fake_app
from api.model import ServedModel
from featurehub.artifacts.manifest import HookPoint, Manifest
from featurehub.features import State
from featurehub.store import (
    Calibration,
    Cluster,
    CoActive,
    Context,
    FeatureRow,
    Histogram,
    Provenance,
    Store,
    TokenLogit,
    Trial,
    Writer,
)  # fmt: skip
from tests.api.drift import drift_report
from tests.api.models import model
from tests.api.reports import report
from tests.labels import labeled

__all__ = ["HOSTILE", "LOWER", "UPPER", "fill_sae", "fill_site", "site_app"]

LOWER, UPPER = "a" * 64, "b" * 64
"""The two SAEs that are served: demo-l2 and demo-l8."""
SIBLING = "n" * 64
"""The weights that are served: of a retrained sibling, so that features are fresh, suspect, stale and unchecked."""
HOSTILE = "<script>window.hacked = 1</script><img src=x onerror=window.hacked=1>"
"""Stands in a label, an alias, a description and in contexts, and must never run."""
LABELS = dict(
    enumerate(
        (
            "pirate speech: matey, ship, treasure", "formal tone: sincerely, regards", "banking: loan, deposit, credit",
            "sad endings: tears, loss, goodbye", "cheerful greetings", "cooking: oven, recipe", "the French language",
            "polite refusals", "python code: def, import", "weather: rain, cloud", "formal letters: dear sir",
            "exclamation marks", "space travel: orbit, rocket", f"hostile {HOSTILE}", "questions that ask why",
            "a very long label that goes on and on about the many things on which this feature fires, such as commas "
            "in lists of adjectives before the names of old European cities and rivers",
            "",
        )
    )
)  # fmt: skip
STATES = {0: State.FRESH, 1: State.STALE, 2: State.SUSPECT, 3: State.FRESH, 4: State.FRESH, 13: State.STALE}
BY_HAND = Provenance(author="test", method="by hand")


def manifest(id: str, name: str, layer: int) -> Manifest:
    return Manifest(
        id=id, name=name, architecture="batchtopk", d_model=8, d_sae=64, k=4, hook=HookPoint(layer=layer),
        model=model(), dataset={"name": "corpus", "tokens": 100}, training={},
        metrics={"explained_variance": 0.96, "l0": 31.5}, files={}, created="2026-01-01T00:00:00+00:00",
    )  # fmt: skip


def row(latent: int, label: str) -> FeatureRow:
    word = (label or "nothing").split()[0]
    tokens = ("Once", " upon", " a", f" {word}", ",", " the", f" {HOSTILE}" if latent == 13 else " end", ".")
    fired = (0.0, 0.4, 0.0, 3.0 + latent / 10, 0.2, 0.0, 1.5, 0.0)
    return FeatureRow(
        latent=latent, density=10 ** (-1 - latent % 5), max_activation=3.0 + latent / 10,
        quantiles={"0.5": 0.8, "0.9": 2.0, "0.99": 2.9},
        contexts=tuple(Context(tokens=tokens, activations=tuple(share * each for each in fired)) for share in (1, 0.6)),
        top_tokens=(TokenLogit(token=f" {word}", logit=2.5), TokenLogit(token="!", logit=1.1)),
        bottom_tokens=(TokenLogit(token=" the", logit=-1.5),),
        neighbors=tuple(each for each in (latent + 1, latent + 2) if each in LABELS),
        histogram=Histogram(low=0.0, high=3.0 + latent / 10, counts=tuple(512 >> at for at in range(10))),
        coactive=(CoActive(latent=(latent + 3) % 16, jaccard=0.3),),
    )  # fmt: skip


def fill_sae(writer: Writer, id: str, name: str, layer: int, *, calibrated: bool = True) -> list[str]:
    writer.put_artifact(manifest(id, name, layer), "/nowhere")
    ids = writer.put_features(id, [row(latent, label) for latent, label in LABELS.items()])
    scores = {latent: 0.5 + (latent * 7 % 50) / 100 for latent in LABELS}
    writer.put_labels(
        {ids[latent]: (labeled(label, score=scores[latent]), BY_HAND) for latent, label in LABELS.items() if label}
    )
    for latent in range(0, 12 if calibrated else 0, 2 if id == UPPER else 1):
        steerability = (0.9, 0.6, 0.3, 0.8, -0.1)[latent % 5] - latent / 100
        strength = 2.0 + latent
        curve = tuple(
            Trial(strength=share * strength, dose=0.3 * share, success=0.6 * share, coherence=1 - 0.4 * share)
            for share in (0.5, 1.0, 1.5)
        )
        calibration = Calibration(strength=strength, dose=0.3, steerability=steerability, answers=40, curve=curve)
        writer.put_calibration(ids[latent], calibration)
    writer.put_calibration(ids[15], Calibration(strength=2.0, dose=0.3, expected_steerability=0.4, output_score=0.01))
    writer.put_clusters(id, [Cluster(name="letters", latents=(1, 4, 10))])
    return ids


def fill_site(store: Store) -> None:
    """Puts two SAEs into a database: 17 features each, a group, and a drift report on the first."""
    with store.write() as writer:
        ids = fill_sae(writer, LOWER, "demo-l2", 2)
        fill_sae(writer, UPPER, "demo-l8", 8)
        writer.put_group("letters", {ids[1]: 1.0, ids[10]: 0.5}, description=f"formal things {HOSTILE}")
        writer.put_report(drift_report(LOWER, model(SIBLING).function, STATES, LABELS))


def site_app(store: Store, engine: FakeEngine | None = None) -> FastAPI:
    """A server with the database's two SAEs; its model echoes what it is sent."""
    served = ServedModel.model_validate(
        {"store": "unused", "saes": [LOWER, UPPER], "on_stale": "refuse", "names": ("demo",), "model": model(SIBLING)}
    )
    return create_fake_app(store, served, engine or FakeEngine(default=report(7)))
