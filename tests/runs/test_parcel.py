"""An SAE that ships: small, the same bytes every time, and unpacked once, into a database that people go on using."""

import filecmp
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from featurehub.artifacts.artifact import MANIFEST, WEIGHTS, Artifact, open_artifact, seal, verify
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint
from featurehub.demo.bundle import bundled_model
from featurehub.dictionary import Dictionary
from featurehub.errors import ArtifactNotFound, CorruptArtifact, StoreError
from featurehub.records import FeatureMap
from featurehub.runs import parcel as parcel_module
from featurehub.runs.parcel import FEATURES, pack, unpack
from featurehub.store import (
    Calibration,
    Context,
    FeatureRow,
    FeatureSet,
    Provenance,
    Unlabeled,
    open_store,
    save_feature_set,
)
from featurehub.store.statistics import id_of
from tests.labels import labeled

HOOK, D_MODEL, D_SAE = HookPoint(layer=1), 192, 6
BY_HAND = Provenance(author="test", method="by hand", prompt="evidence")
CALIBRATED = Calibration(strength=3.25, dose=0.3, steerability=0.5, answers=8)


def dictionary(seed: int) -> Dictionary:
    made = torch.Generator().manual_seed(seed)
    matrices = [torch.randn(D_SAE, D_MODEL, generator=made) for _ in range(3)]
    b_dec, theta = torch.randn(D_MODEL, generator=made), torch.rand(D_SAE, generator=made)
    return Dictionary(matrices[0], matrices[1], torch.zeros(D_SAE), b_dec, theta, W_steer=matrices[2])


def sealed(folder: Path, seed: int = 0) -> Artifact:
    """A random SAE of the planted model, with the files that builds make."""
    folder.mkdir()
    dictionary(seed).save(folder / WEIGHTS)
    for name in ("canaries.safetensors", "answers.safetensors", "tokens.json", "training.html"):
        (folder / name).write_text(name)
    fields = {
        "name": "tiny", "architecture": "batchtopk", "d_model": D_MODEL, "d_sae": D_SAE, "k": 2.0, "hook": HOOK,
        "model": identify(bundled_model(), HOOK), "dataset": {"name": "/home/somebody/chats.jsonl", "tokens": 9},
        "training": {"seed": seed}, "metrics": {"explained_variance": 0.9}, "created": f"2026-01-0{seed + 1}",
    }  # fmt: skip
    artifact = seal(folder, fields)
    (folder / "calibration.json").write_text("{}")
    return artifact


class Built(NamedTuple):
    """A registered SAE."""

    artifact: Artifact
    database: str


def built(folder: Path, seed: int = 0) -> Built:
    artifact, database = sealed(folder / f"sae{seed}", seed), str(folder / f"built{seed}.db")
    tokens = Context(tokens=("a", " löan"), activations=(0.0, 1.5 + seed))
    rows = [FeatureRow(latent=i, density=0.1, max_activation=1.5, contexts=(tokens,), neighbors=(0,)) for i in (0, 2)]
    labels = {0: (labeled("banking: loan", score=0.9, scores={"f1": 0.8}), BY_HAND)}
    words = {"cheque": [(0, 2.5), (2, 0.75)]}
    features = FeatureSet(
        artifact.manifest, artifact.folder, rows, labels | {2: (Unlabeled(reason="rare"), BY_HAND)},
        {0: CALIBRATED}, words, map=FeatureMap.of([0, 2], [[1, 65_535], [200, 7]]),
    )  # fmt: skip
    save_feature_set(features, database)
    return Built(artifact, database)


@pytest.fixture
def source(tmp_path: Path) -> Built:
    return built(tmp_path)


@pytest.fixture
def parcel(source: Built, tmp_path: Path) -> Path:
    return pack(source.artifact.folder, source.database, tmp_path / "parcel").folder


@pytest.fixture
def place(tmp_path: Path) -> tuple[Path, str]:
    """Where it is unpacked: a folder and a database, in a folder that nobody has made yet."""
    return tmp_path / "home" / "sae", str(tmp_path / "home" / "featurehub.db")


def features_in(database: str, name: str = "tiny") -> FeatureSet:
    with open_store(database).read() as reader:
        return reader.feature_set(name)


class TestPacking:
    def test_it_has_what_serving_and_drift_checks_need_and_no_more(self, source: Built, parcel: Path) -> None:
        sent = {"canaries.safetensors", "answers.safetensors", "tokens.json"}
        assert {path.name for path in parcel.iterdir()} == {MANIFEST, WEIGHTS, FEATURES, *sent}
        artifact = open_artifact(parcel)
        verify(artifact)
        assert artifact.manifest.files == {name: source.artifact.manifest.files[name] for name in sent}

    def test_its_matrices_are_rounded_and_it_is_an_sae_of_its_own(self, source: Built, parcel: Path) -> None:
        exact, rounded = dictionary(0), Dictionary.load(parcel / WEIGHTS)
        for name, tensor in exact._asdict().items():
            if tensor is not None:
                expected = tensor.bfloat16().float() if name.startswith("W_") else tensor
                assert torch.equal(getattr(rounded, name), expected), name
        assert (parcel / WEIGHTS).stat().st_size < 0.6 * source.artifact.weights.stat().st_size
        manifest = open_artifact(parcel).manifest
        assert manifest.training == {"seed": 0, "packed_from": source.artifact.manifest.id}
        assert manifest.id != source.artifact.manifest.id

    def test_it_does_not_tell_where_the_text_lay(self, parcel: Path) -> None:
        assert open_artifact(parcel).manifest.dataset == {"name": "chats.jsonl", "tokens": 9}

    def test_the_same_build_gives_the_same_bytes(self, source: Built, parcel: Path, tmp_path: Path) -> None:
        again = pack(source.artifact.folder, source.database, tmp_path / "again").folder
        names = [path.name for path in parcel.iterdir()]
        assert filecmp.cmpfiles(parcel, again, names, shallow=False) == (names, [], [])

    def test_what_was_unpacked_and_calibrated_is_packed_as_the_same_sae(
        self, parcel: Path, place: tuple[Path, str], tmp_path: Path
    ) -> None:
        artifact, found = unpack(parcel, *place), CALIBRATED.model_copy(update={"output_score": 0.25})
        with open_store(place[1]).write() as writer:
            writer.put_calibrations({id_of(artifact.manifest.id, 2): found})
        again = pack(artifact.folder, place[1], tmp_path / "again")
        assert (again.folder / MANIFEST).read_bytes() == (parcel / MANIFEST).read_bytes()
        assert (again.folder / WEIGHTS).read_bytes() == (parcel / WEIGHTS).read_bytes()
        unpack(again.folder, tmp_path / "new" / "sae", str(tmp_path / "new" / "features.db"))
        assert features_in(str(tmp_path / "new" / "features.db")).calibrations == {0: CALIBRATED, 2: found}

    def test_an_sae_that_is_not_registered_is_refused(self, tmp_path: Path, source: Built) -> None:
        with pytest.raises(ArtifactNotFound):
            pack(sealed(tmp_path / "other", 3).folder, source.database, tmp_path / "parcel")
        assert not (tmp_path / "parcel").exists()


class TestUnpacking:
    def test_the_features_come_out_as_they_went_in(self, source: Built, parcel: Path, place: tuple[Path, str]) -> None:
        artifact = unpack(parcel, *place)
        verify(artifact)
        given, found = features_in(source.database), features_in(place[1])
        assert found.manifest == artifact.manifest
        assert found.folder == place[0]
        assert found[2:] == given[2:]
        with open_store(place[1]).read() as reader:
            assert reader.search("cheque", limit=1).features[0].label == "banking: loan"

    def test_the_second_time_nothing_is_written(self, parcel: Path, place: tuple[Path, str]) -> None:
        first, written = unpack(parcel, *place), self.written(place)
        assert unpack(parcel, *place) == first
        assert self.written(place) == written

    def written(self, place: tuple[Path, str]) -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in [Path(place[1]), *place[0].iterdir()]}

    def test_what_was_found_out_since_stays(self, parcel: Path, place: tuple[Path, str]) -> None:
        artifact = unpack(parcel, *place)
        better = CALIBRATED.model_copy(update={"strength": 5.0, "answers": 24})
        with open_store(place[1]).write() as writer:
            writer.put_calibrations({id_of(artifact.manifest.id, 0): better})
        (place[0] / "tokens.json").unlink()
        verify(unpack(parcel, *place))
        assert features_in(place[1]).calibrations == {0: better}

    def test_one_that_was_stopped_before_the_database_is_done_again(
        self, parcel: Path, place: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def stopped(*given: Any) -> None:
            raise StoreError("busy")

        with monkeypatch.context() as patch:
            patch.setattr(parcel_module, "save_feature_set", stopped)
            with pytest.raises(StoreError):
                unpack(parcel, *place)
        unpack(parcel, *place)
        assert len(features_in(place[1]).rows) == 2

    def test_the_parcel_of_a_later_version_takes_its_place(
        self, parcel: Path, place: tuple[Path, str], tmp_path: Path
    ) -> None:
        before = unpack(parcel, *place).manifest.id
        later = built(tmp_path, 1)
        unpack(pack(later.artifact.folder, later.database, parcel).folder, *place)
        with open_store(place[1]).read() as reader:
            known = {each.id: each for each in reader.artifacts()}
        now = open_artifact(place[0]).manifest.id
        assert known.keys() == {before, now}
        assert known[now].name == "tiny"
        assert known[now].is_default

    @pytest.mark.parametrize("name", [FEATURES, WEIGHTS, "canaries.safetensors"])
    def test_what_is_damaged_is_not_unpacked(self, name: str, parcel: Path, place: tuple[Path, str]) -> None:
        (parcel / name).write_bytes((parcel / name).read_bytes()[:-9])
        with pytest.raises(CorruptArtifact, match=name):
            unpack(parcel, *place)
        assert not place[0].exists()
        assert not Path(place[1]).exists()

    def test_an_artifact_without_features_is_no_parcel(self, source: Built, place: tuple[Path, str]) -> None:
        with pytest.raises(ArtifactNotFound, match=FEATURES):
            unpack(source.artifact.folder, *place)
