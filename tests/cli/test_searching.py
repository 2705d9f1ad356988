"""`featurehub features embed` and `search`, with the embedder that comes with the package."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from featurehub.cli import progress
from featurehub.cli.main import app
from featurehub.errors import FeaturehubError
from featurehub.store import open_store
from tests.store.conftest import fill_artifact


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(progress.output, "width", 200)
    path = tmp_path / "features.db"
    store = open_store(path)
    with store.write() as writer:
        fill_artifact(writer, {1: "banking: loan, deposit", 2: "pirate speech", 3: "weather: rain, wind"})
    store.close()
    return path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)], env={"FEATUREHUB_EMBEDDER": ""})


def test_what_is_embedded_is_found_by_its_meaning(database: Path) -> None:
    assert "by minilm:" in (first := call("features", "embed", "--db", database).stdout)
    assert "demo-l2: 6 vectors" in first
    assert "nothing to embed" in call("features", "embed", "--sae", "demo-l2", "--db", database).stdout
    found = call("features", "search", "where do I put my money", "--db", database, "--explain").stdout
    rows = [line for line in found.splitlines() if "f_" in line]
    assert "banking" in rows[0]
    assert "label 0." in rows[0]
    assert "f_" not in call("features", "search", "money", "--db", database, "--layer", 7).stdout


def test_an_embedder_that_there_is_not_is_an_error(database: Path) -> None:
    failed = call("features", "embed", "--db", database, "--embedder", "word2vec")
    assert isinstance(failed.exception, FeaturehubError)
    assert "sentence-transformers:" in failed.exception.message
