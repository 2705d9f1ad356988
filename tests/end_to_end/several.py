"""SAEs of the bundled model, registered with their features: one at its second layer, two at its fourth, one between.

Of ``other`` a drift check has found that it is stale on the model, so that it stands for an SAE of a model before.
"""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from featurehub.artifacts.artifact import WEIGHTS, Artifact, seal
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint
from featurehub.demo.bundle import bundled_model
from featurehub.dictionary import Dictionary
from featurehub.features import State
from featurehub.store import Calibration, FeatureRow, Provenance, Writer, open_store
from featurehub.verdicts import DriftReport, FeatureVerdict
from tests.engine.world import unit_dictionary
from tests.labels import labeled

D_SAE, STRENGTH, LARGEST = 64, 60.0, 20.0
EARLY, LATE, OTHER, BETWEEN = "early", "late", "other", "between"
SERVED = (LATE, EARLY, OTHER)
HOOKS = {
    EARLY: HookPoint(layer=1), LATE: HookPoint(layer=3), OTHER: HookPoint(layer=3), BETWEEN: HookPoint(layer=2),
}  # fmt: skip
DICTIONARIES = {name: unit_dictionary(seed, 192, D_SAE, 0.5) for seed, name in enumerate(HOOKS)}
LABELS = {
    EARLY: {1: "banking", 2: "sailing", 3: "weather"},
    LATE: {1: "banking", 4: "cooking", 5: "gardening"},
    OTHER: {6: "music", 7: "chess"},
    BETWEEN: {8: "skiing"},
}


class Several(NamedTuple):
    """The SAEs by name, and the database that knows them."""

    artifacts: Mapping[str, Artifact]
    database: str

    @property
    def ids(self) -> dict[str, str]:
        return {name: artifact.manifest.id for name, artifact in self.artifacts.items()}

    @property
    def dictionaries(self) -> dict[str, dict[str, Dictionary]]:
        """Those of ``SERVED`` by hook point and id, as the naive equation takes them."""
        found: dict[str, dict[str, Dictionary]] = {}
        for name in SERVED:
            found.setdefault(str(HOOKS[name]), {})[self.ids[name]] = DICTIONARIES[name]
        return found

    def arguments(self, *names: str) -> list[str]:
        """The arguments of ``featurehub serve`` with these SAEs."""
        saes = [part for name in names for part in ("--sae", name)]
        return [str(bundled_model()), *saes, "--db", self.database, "--eager"]


def make_several(folder: Path) -> Several:
    """Writes and registers the SAEs."""
    artifacts = {name: make(folder / name, name) for name in HOOKS}
    with closing(open_store(folder / "features.db")) as store, store.write() as writer:
        for artifact in artifacts.values():
            register(writer, artifact)
        writer.put_report(verdict(artifacts[OTHER]))
    return Several(artifacts, str(folder / "features.db"))


def make(folder: Path, name: str) -> Artifact:
    folder.mkdir(parents=True)
    DICTIONARIES[name].save(folder / WEIGHTS)
    model = identify(bundled_model(), HOOKS[name])
    if name == OTHER:
        model = model.model_copy(update={"whole": "another"})
    return seal(
        folder,
        {
            "name": name, "architecture": "batchtopk", "d_model": 192, "d_sae": D_SAE, "k": 8.0, "hook": HOOKS[name],
            "model": model, "dataset": {}, "training": {}, "metrics": {}, "created": "2026-01-01",
        },
    )  # fmt: skip


def register(writer: Writer, artifact: Artifact) -> None:
    id, labels = artifact.manifest.id, LABELS[artifact.manifest.name]
    writer.put_artifact(artifact.manifest, artifact.folder)
    ids = writer.put_features(id, [FeatureRow(latent=n, density=0.1, max_activation=LARGEST) for n in labels])
    by_hand = Provenance(author="test", method="by hand")
    for feature, label in zip(ids, labels.values(), strict=True):
        writer.put_labels({feature: (labeled(label, score=0.9), by_hand)})
        writer.put_calibration(feature, Calibration(strength=STRENGTH, dose=0.3, steerability=0.5))


def verdict(artifact: Artifact) -> DriftReport:
    """Its feature "music" is stale, "chess" is fresh."""
    states = {6: State.STALE, 7: State.FRESH}
    return DriftReport(
        id="dr_other", artifact=artifact.manifest.id, model="bundled", created="2026-01-02", state=State.STALE,
        fingerprint=identify(bundled_model(), artifact.manifest.hook).function, reason="measured", metrics={},
        features=tuple(
            FeatureVerdict(latent=n, label=LABELS[OTHER][n], reads=state, steers=state, reason="measured")
            for n, state in states.items()
        ),
    )  # fmt: skip
