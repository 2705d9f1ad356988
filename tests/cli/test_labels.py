"""Labels from Neuronpedia and back, by the commands, with an SAE at hand and without one."""

import gzip
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from featurehub.cli import progress
from featurehub.cli.main import app
from featurehub.errors import ArtifactNotFound, FeaturehubError, FeatureNotFound, InvalidInput
from featurehub.records import Calibration, Context, FeatureRow, Histogram, Label, Labeled, Provenance, TokenLogit
from featurehub.store import open_store, save_feature_set
from featurehub.store.feature_set import FeatureSet
from tests.labels import labeled
from tests.store.conftest import build_manifest

SOURCE = {"modelId": "gemma-2-2b", "layer": "20-gemmascope-res-16k"}
NAME = "gemma-2-2b/20-gemmascope-res-16k"


def explained(index: int, text: str, **fields: Any) -> dict[str, Any]:
    return {**SOURCE, "index": str(index), "description": text, "typeName": "np_max-act", **fields}


LIST = [
    explained(3, "references to banking", explanationModelName="older"),
    explained(3, "banks and money ", explanationModelName="newer"),
    explained(7, "pirates at sea\n"),
    explained(9, "  "),
]


@pytest.fixture
def database(tmp_path: Path) -> str:
    return str(tmp_path / "features.db")


def call(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["features", *map(str, arguments)])
    if isinstance(done.exception, FeaturehubError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def written(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if ".jsonl" not in path.suffixes:
        path.write_text(json.dumps(rows))
    else:
        with gzip.open(path, "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def registered(database: str, folder: Path, label: str = "banking: loan") -> FeatureSet:
    """An SAE of ours with features at latents 3 and 4, of which 3 has a label."""
    context = Context(tokens=("the", " bank"), activations=(0.0, 2.5))
    rows = [
        FeatureRow(
            latent=latent, density=0.25, max_activation=2.5, contexts=(context,),
            top_tokens=(TokenLogit(token="bank", logit=1.5),), bottom_tokens=(TokenLogit(token="sea", logit=-1.0),),
            histogram=Histogram(low=0.0, high=2.5, counts=(3, 0, 1, 1)),
        )
        for latent in (3, 4)
    ]  # fmt: skip
    labels = {3: (labeled(label, score=0.9), Provenance(author="us", method="contrastive", model="none"))}
    calibrations = {3: Calibration(strength=2.0, dose=0.3, steerability=0.5)}
    features = FeatureSet(build_manifest(name="ours"), folder, rows, labels, calibrations)
    save_feature_set(features, database)
    return features


def test_labels_without_their_sae_are_found_and_say_so(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = call("import", written(tmp_path / "labels.json", LIST), "--db", database)
    assert f"3 labels of {NAME}, 1 blank ones left out" in said
    assert "nothing can be steered by them" in said
    with closing(open_store(database)) as store, store.read() as reader:
        [found] = reader.search("money").features
        assert (found.latent, found.label, found.label_version) == (3, "banks and money", 2)
        assert [each.provenance.model for each in reader.details(found.id).labels] == ["older", "newer"]
        assert reader.resolve("references to banking").id == found.id, "a former label is an alias"
        artifact = reader.artifact(NAME)
        assert not artifact.has_weights
        assert not artifact.is_default
        assert str(artifact.manifest.hook) == "layers.20.resid_post"
    monkeypatch.setattr(progress.output, "width", 200)
    listed = CliRunner().invoke(app, ["saes", "list", "--db", database]).output
    assert "labels only" in listed
    assert "only its labels are here" in CliRunner().invoke(app, ["saes", "show", NAME, "--db", database]).output
    with pytest.raises(ArtifactNotFound, match="without its weights"):
        raise CliRunner().invoke(app, ["saes", "verify", NAME, "--db", database]).exception  # type: ignore[misc]
    kept = CliRunner().invoke(app, ["saes", "remove", NAME, "--files", "--yes", "--db", database])
    assert isinstance(kept.exception, ArtifactNotFound)


def test_a_label_of_theirs_is_a_name_as_a_whole(tmp_path: Path, database: str) -> None:
    call(
        "import",
        written(tmp_path / "labels.json", [LIST[0] | {"description": "Note: dates (years)"}]),
        "--db",
        database,
    )
    with closing(open_store(database)) as store, store.read() as reader:
        found = reader.resolve("note: dates (years)")
        assert (found.label, found.slug, found.aliases) == ("Note: dates (years)", "note-dates-years", ())
        assert reader.labels(NAME) == {found.latent: Label(name="Note: dates (years)")}
        with pytest.raises(FeatureNotFound):
            reader.resolve("note")


def test_importing_again_changes_nothing(tmp_path: Path, database: str) -> None:
    file = written(tmp_path / "labels.json", LIST[1:])
    for _ in range(2):
        call("import", file, "--db", database)
    with closing(open_store(database)) as store, store.read() as reader:
        assert [f.label_version for f in reader.features(NAME)] == [1, 1]


def test_labels_join_the_sae_once_it_is_here(tmp_path: Path, database: str) -> None:
    call("import", written(tmp_path / "labels.json", LIST), "--db", database)
    registered(database, tmp_path / "sae")
    said = call("join", NAME, "ours", "--db", database)
    assert "1 features of ours got a label; 1 labels of latents that it has no feature for were left out" in said
    with closing(open_store(database)) as store, store.read() as reader:
        assert [each.name for each in reader.artifacts()] == ["ours"]
        found = reader.resolve("banks and money")
        assert found.id == reader.resolve("banking").id, "its own name finds it still"
        assert (found.density, found.strength) == (0.25, 2.0)
        said = [each.outcome for each in reader.details(found.id).labels[-2:]]
        assert [isinstance(each, Labeled) and each.label.name for each in said] == [
            "references to banking",
            "banks and money",
        ]
    with pytest.raises(InvalidInput, match="weights of its own"):
        call("join", "ours", "ours", "--db", database)


def test_with_its_sae_labels_become_new_versions_and_other_latents_are_counted(tmp_path: Path, database: str) -> None:
    registered(database, tmp_path / "sae")
    said = call("import", written(tmp_path / "l.json", LIST), "--sae", "ours", "--db", database)
    assert "2 labels for ours, 1 of latents that it has no feature for, 1 blank ones left out" in said
    with closing(open_store(database)) as store, store.read() as reader:
        assert [(f.latent, f.label, f.label_version) for f in reader.features("ours")] == [
            (3, "banks and money", 3),
            (4, "", 0),
        ]


def test_what_is_exported_is_imported_as_it_was(tmp_path: Path, database: str) -> None:
    features = registered(database, tmp_path / "sae")
    assert "2 features in" in call("export", "ours", tmp_path / "out", "--db", database)
    other = str(tmp_path / "other.db")
    said = call("import", tmp_path / "out", "--db", other)
    assert "1 labels of" in said
    with closing(open_store(other)) as store, store.read() as reader:
        [artifact] = reader.artifacts()
        found = reader.feature_set(artifact.id)
    assert list(found.rows) == list(features.rows)
    outcome, provenance = found.labels[3]
    assert isinstance(outcome, Labeled)
    named = outcome.label, provenance.method, provenance.model
    assert named == (Label(name="banking: loan"), "contrastive", "none"), "theirs are names as a whole"
    with pytest.raises(InvalidInput, match="exists already"):
        call("export", "ours", tmp_path / "out", "--db", database)


@pytest.mark.parametrize(
    ("name", "rows", "problem"),
    [
        ("l.json", [*LIST, {**LIST[0], "layer": "21-x"}], "row 5: it is of gemma-2-2b/21-x"),
        ("l.json", [{**LIST[0], "index": "-1"}], "row 1: .*greater than or equal to 0"),
        ("l.json", [{**LIST[0], "description": "x" * 3000}], "row 1: .*at most 2000"),
        ("l.json", [], "holds no feature"),
        ("activations/batch-0.jsonl.gz", [{**SOURCE, "index": 1, "tokens": ["a"], "values": []}], "1 tokens but 0"),
        ("features/batch-0.jsonl.gz", [{**SOURCE, "index": 1, "frac_nonzero": 1.5}], "row 1"),
    ],
)
def test_what_cannot_be_read_leaves_nothing(
    tmp_path: Path, database: str, name: str, rows: list[dict[str, Any]], problem: str
) -> None:
    path = written(tmp_path / "in" / name, rows)
    with pytest.raises(InvalidInput, match=problem):
        call("import", path if name.startswith("l") else tmp_path / "in", "--db", database)
    assert not Path(database).exists()


@pytest.mark.parametrize("content", [b"[{", b"\x1f\x8b\x08broken", b"\xff\xfe[]"])
def test_a_damaged_file_is_named(tmp_path: Path, database: str, content: bytes) -> None:
    path = tmp_path / ("labels.json.gz" if content[:1] == b"\x1f" else "labels.json")
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"labels\.json.* cannot be read"):
        call("import", path, "--db", database)
    with pytest.raises(InvalidInput, match="neither a file nor a folder"):
        call("import", tmp_path, "--db", database)
