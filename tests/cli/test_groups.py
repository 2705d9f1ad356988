"""`featurehub groups …`."""

from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from featurehub.artifacts.artifact import WEIGHTS, seal
from featurehub.cli import progress
from featurehub.cli.main import app
from featurehub.dictionary import Dictionary
from featurehub.errors import FeatureNotFound, InvalidInput
from featurehub.store import FeatureRow, Scope, open_store
from tests.engine.world import unit_dictionary
from tests.labels import labeled
from tests.store.conftest import PROVENANCE, build_manifest

LABELS = {1: "pirate: matey", 2: "pirate: ahoy", 3: "banking: loan=debt", 5: "chess"}


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An SAE whose latents 1, 2 and 4 write much the same; the last of them has no label."""
    monkeypatch.setattr(progress.output, "width", 200)
    dictionary = unit_dictionary(0, 8, 6, 0.5)
    rows = dictionary.W_dec.clone()
    rows[2] = rows[1] + 0.2 * rows[3]
    rows[4] = rows[1]
    folder = tmp_path / "sae"
    folder.mkdir()
    dictionary._replace(W_dec=rows / rows.norm(dim=1, keepdim=True)).save(folder / WEIGHTS)
    fields = build_manifest(d_sae=6).model_dump(exclude={"id", "files"})
    artifact = seal(folder, fields)
    path = tmp_path / "features.db"
    store = open_store(path)
    with store.write() as writer:
        writer.put_artifact(artifact.manifest, folder)
        ids = writer.put_features(
            artifact.manifest.id, [FeatureRow(latent=n, density=0.1, max_activation=1) for n in range(6)]
        )
        writer.put_labels({ids[n]: (labeled(label, score=n / 10), PROVENANCE) for n, label in LABELS.items()})
    store.close()
    return path


def call(database: Path, *arguments: object) -> Result:
    return CliRunner().invoke(app, ["groups", *map(str, arguments), "--db", str(database)])


def printed(database: Path, *arguments: object) -> str:
    result = call(database, *arguments)
    assert result.exit_code == 0, result
    return result.stdout


def failure(database: Path, *arguments: object) -> BaseException | None:
    return call(database, *arguments).exception


def test_a_group_is_saved_shown_listed_and_removed(database: Path) -> None:
    assert "groups save" in printed(database, "list")
    out = printed(
        database, "save", "speech", "pirate: matey=0.5", "chess", "banking: loan=debt=-1", "--description", "talk"
    )
    assert out == printed(database, "show", "SPEECH")
    assert [line.split()[0].strip("│") or line.split()[1] for line in out.splitlines() if "f_" in line] == [
        "+0.5",
        "+1",
        "-1",
    ]
    assert "sae:demo-l2/3" in out
    assert "talk" in printed(database, "list")
    printed(database, "remove", "speech")
    assert "groups save" in printed(database, "list")
    assert isinstance(failure(database, "remove", "speech"), FeatureNotFound)


@pytest.mark.parametrize(
    "members", [("pirate: matey=2",), ("pirate: matey=0",), ("chess=1", "chess=0.5"), ("chess", "sae:demo-l2/5")]
)
def test_weights_out_of_bounds_and_repetitions_are_errors(database: Path, members: Any) -> None:
    assert isinstance(failure(database, "save", "x", *members), InvalidInput)


def test_a_label_with_an_equals_sign_is_a_name(database: Path) -> None:
    assert "+1 " in printed(database, "save", "x", "banking: loan=debt")
    assert isinstance(failure(database, "save", "x", "bankin=1"), FeatureNotFound)


def test_what_is_gone_is_shown(database: Path) -> None:
    printed(database, "save", "speech", "chess", "pirate: ahoy")
    store = open_store(database)
    with store.write() as writer:
        writer.remove_artifact(writer.reader.artifact("demo-l2").id)
    store.close()
    assert printed(database, "show", "speech").count("gone") == 2
    assert "2, 2 gone" in printed(database, "list")


def test_split_concepts_are_proposed_and_saved_on_request_only(database: Path) -> None:
    out = printed(database, "propose", "demo-l2", "--cosine", 0.9)
    [row] = [line for line in out.splitlines() if "0.9" in line and "│" in line]
    assert "pirate" in row
    assert "groups save" in printed(database, "list")
    assert isinstance(failure(database, "propose", "demo-l2", "--save", "chess"), InvalidInput)
    printed(database, "propose", "demo-l2", "--cosine", 0.9, "--save", "pirate")
    store = open_store(database)
    with store.read() as reader:
        [group] = reader.groups.list(Scope())
        rows = Dictionary.load(Path(reader.artifacts()[0].path) / WEIGHTS).W_dec
    store.close()
    assert [(each.latent, each.label) for each in group.members] == [(1, "pirate: matey"), (2, "pirate: ahoy")]
    assert group.method == "decoder rows"
    moved = sum((each.weight * rows[each.latent] for each in group.members), torch.zeros(8))
    assert moved.norm() == pytest.approx(1.0, abs=2e-3)
    assert "try a smaller" in printed(database, "propose", "demo-l2", "--cosine", 0.9999)
