"""What `featurehub refresh` prints, and what it takes for granted."""

from contextlib import closing
from pathlib import Path

import pytest

from featurehub.cli.progress import output
from featurehub.cli.refresh import affected, beside, show, text_of
from featurehub.errors import InvalidInput
from featurehub.features import Edit
from featurehub.records import Scope
from featurehub.refreshes import RefreshCost, RefreshReport
from featurehub.store import open_store
from tests.store.conftest import fill_artifact
from tests.store.test_refreshes import KEPT, LABELS, MOVED, OLD, RELABELLED, RETIRED, report_of

COST = RefreshCost(
    tokens=150_000, trained=110_592, answered=39_299, seconds=300.0, training_seconds=9.0, scratch_trained=3_000_000,
    scratch_seconds=61.0,
)  # fmt: skip
REPORT = report_of(OLD, "7" * 64, KEPT, MOVED, RELABELLED, RETIRED).model_copy(update={"cost": COST})


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(output, "width", 300)

    def call(*arguments: object) -> str:
        show(*arguments)  # type: ignore[arg-type]
        return capsys.readouterr().out

    return call


def test_it_says_what_became_of_the_names_and_what_that_cost(said) -> None:
    text = said(REPORT)
    assert "1 kept  2 relabelled  1 retired  of 4 labelled features" in text
    assert "explained variance 0.900; 0.800 before the refresh, 0.900 on the model before" in text
    assert "trained on 110,592 (3.7%), read 150,000 tokens, in about 9 s" in text
    assert "From scratch: 3,000,000, about 61 s" in text
    rows = {line.split()[1]: line for line in text.splitlines() if line.startswith("│")}
    assert "means 'harbours' (F1 0.00)" in rows["pirates"]
    assert "is retired; close: 'ships'" in rows["whales:"]
    assert "the new model hardly says it" in rows["weather"]
    assert "banking:" not in rows


def test_where_scratch_is_better_it_says_why_and_how_to_go_on(said) -> None:
    refused = RefreshReport(
        parent=OLD, model="new", fingerprint="f", created="", reason="it explains -0.27 of the variance",
        explained_variance_before=0.98, explained_variance_stale=-0.27,
    )  # fmt: skip
    text = said(refused)
    assert text.startswith("train from scratch  it explains -0.27 of the variance")
    assert "--anyway goes on all the same" in text


def test_it_says_which_variants_name_features_that_were_not_kept(said, tmp_path: Path) -> None:
    database = str(tmp_path / "features.db")
    with closing(open_store(database)) as store, store.write() as writer:
        fill_artifact(writer, LABELS, name="old", id=OLD)
        writer.variants.save("fine", "demo", {"banking": Edit(weight=0.5)}, scope=Scope(saes=(OLD,)))
        both = {"banking": Edit(weight=0.5), "weather": Edit(weight=0.5)}
        writer.variants.save("rainy", "demo", both, scope=Scope(saes=(OLD,)))
    found = affected(REPORT, database)
    assert [(each.variant, each.features) for each in found] == [("rainy@1", ("'weather' is retired",))]
    assert "the variant 'rainy@1': 'weather' is retired" in said(REPORT, found)


def test_the_text_is_by_default_that_of_the_first_training() -> None:
    assert text_of({"name": "texts.json", "tokens": 9}) == "texts.json"
    with pytest.raises(InvalidInput, match="give --text"):
        text_of({"tokens": 9})


def test_the_same_model_has_the_same_folder_so_that_a_stopped_run_goes_on() -> None:
    assert beside(Path("saes/demo"), "0123456789abcdef") == Path("saes/demo-01234567")
    assert beside(Path("saes/demo-01234567"), "89abcdef01234567") == Path("saes/demo-89abcdef")
