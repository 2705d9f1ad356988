"""`featurehub variants …`."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from featurehub.cli import progress
from featurehub.cli.main import app
from featurehub.conditions import FeatureAbort
from featurehub.errors import VariantNotFound
from featurehub.features import Edit
from featurehub.store import open_store
from tests.store.conftest import fill_artifact


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(progress.output, "width", 250)
    path = tmp_path / "features.db"
    store = open_store(path)
    with store.write() as writer:
        fill_artifact(writer, {1: "pirate", 2: "banking", 3: "gardening"})
        writer.put_group("money", {"banking": 1.0, "gardening": 0.5})
        when = {"feature": "gardening", "value": 0.25}
        writer.variants.save("bank", "base", {"pirate": Edit(weight=0.5)}, description="arr")
        writer.variants.save(
            "bank",
            "base",
            {"pirate": Edit.model_validate({"mode": "ablate", "when": when}), "money": Edit(weight=-0.5)},
            [FeatureAbort.model_validate(when | {"event": "weeds"})],
        )
    store.close()
    return path


def call(database: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["variants", *arguments, "--db", str(database)])


def test_variants_are_listed_shown_and_removed(database: Path) -> None:
    listed = call(database, "list").stdout
    assert [line.split("│")[1:6] for line in listed.splitlines() if "bank" in line] == [
        [" bank ", " 2       ", " base  ", " 2        ", " 1      "]
    ]
    shown = call(database, "show", "bank").stdout
    assert "bank@2 on base" in shown
    assert "versions 1 to 2" in shown
    for words in ("ablate", '"gardening"', "weeds", "abort", "-0.5"):
        assert words in shown
    assert shown.count("f_") == 4
    assert "+0.5" in call(database, "show", "bank@1").stdout
    assert isinstance(call(database, "show", "bank@3").exception, VariantNotFound)
    assert "removed" in call(database, "remove", "bank").stdout
    assert "no variant is saved here" in call(database, "list").stdout
    assert isinstance(call(database, "remove", "bank").exception, VariantNotFound)
