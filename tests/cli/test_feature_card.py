"""`featurehub features show`: a feature's card has all that the database knows of it."""

from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from featurehub.cli.feature_card import columns
from featurehub.cli.main import app
from featurehub.errors import FeatureNotFound
from featurehub.features import State
from featurehub.records import (
    Calibration,
    Cluster,
    CoActive,
    Context,
    FeatureRow,
    Histogram,
    Provenance,
    TokenLogit,
    Trial,
    Unlabeled,
)
from featurehub.store import open_store, save_feature_set
from featurehub.store.feature_set import FeatureSet
from featurehub.verdicts import DriftReport, FeatureVerdict
from tests.labels import labeled
from tests.store.conftest import build_manifest

LONG = Context(tokens=tuple(f" w{i}" for i in range(60)), activations=(*([0.0] * 50), 4.0, *([0.0] * 9)))
BANK = Context(tokens=("the", " bank", "\n"), activations=(0.0, 2.0, 1.0))


@pytest.fixture
def database(tmp_path: Path) -> str:
    database = str(tmp_path / "features.db")
    rows = [
        FeatureRow(
            latent=3, density=0.25, max_activation=4.0, quantiles={"0.5": 1.0}, contexts=(LONG, BANK), neighbors=(5, 4),
            top_tokens=(TokenLogit(token=" bank", logit=1.5),), bottom_tokens=(TokenLogit(token="sea", logit=-1.0),),
            histogram=Histogram(low=0.0, high=4.0, counts=(2000, 40, 0, 1)),
            coactive=(CoActive(latent=4, jaccard=0.25), CoActive(latent=9, jaccard=0.2)),
        ),
        FeatureRow(latent=4, density=0.5, max_activation=1.0),
        FeatureRow(latent=5, density=0.5, max_activation=1.0),
    ]  # fmt: skip
    source = Provenance(author="us", method="contrastive", model="none")
    labels = {
        3: (labeled("banking: loan", score=0.9), source),
        5: (labeled("money"), source),
    }
    trial = Trial(strength=2.0, dose=0.3, success=0.75, coherence=0.5)
    steered = Calibration(
        strength=2.0, dose=0.3, steerability=0.5, unsteered=0.1, coherence=0.8, answers=12, curve=(trial,),
        method="steered", output_score=0.02,
    )  # fmt: skip
    expected = Calibration(strength=2.0, dose=0.3, method="dose", output_score=0.01, expected_steerability=0.4)
    clusters = [Cluster(name="finance", latents=(3, 5))]
    strengths = {3: steered, 5: expected}
    save_feature_set(FeatureSet(build_manifest(), tmp_path, rows, labels, strengths, clusters=clusters), database)
    verdict = FeatureVerdict(latent=3, label="banking", reads=State.STALE, steers=State.FRESH, reason="F1 fell")
    with closing(open_store(database)) as store, store.write() as writer:
        [three] = writer.reader.latents("demo-l2", [3])
        writer.put_label(three.id, Unlabeled(reason="no words agree"), source)
        writer.put_report(
            DriftReport(
                id="r1", artifact="a" * 64, model="retrained", fingerprint="n" * 64, created="2026-02-01T10:00",
                state=State.SUSPECT, reason="", metrics={}, features=(verdict,),
            )
        )  # fmt: skip
    return database


def show(database: str, *arguments: str) -> list[str]:
    done = CliRunner().invoke(app, ["features", "show", *arguments, "--db", database])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return [" ".join(line.split()) for line in done.stdout.splitlines()]


def test_the_card_shows_all_that_is_known(database: str) -> None:
    lines = show(database, "banking")
    assert lines[0] == "banking: loan"
    for line in (
        "SAE demo-l2 at layers.2.resid_post, latent 3",
        "further names banking",
        "label score 0.9",
        "fires on 25.00% of tokens",
        "quantile 0.5 1 ▇▇▇▇▇",
        "histogram █▄ ▁ (from 0; heights are logarithms)",
        "2 the bank⏎",
        "raises ' bank' +1.50",
        "lowers 'sea' -1.00",
        "weight 1.0 strength 2, dose 0.30 (steered)",
        "steerability 0.50 over unsteered 0.1, coherent 0.8, 12 answers",
        "output score +0.0200",
        "dose 0.30 shown 0.75 ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇ coherent 0.50",
        "2026-02-01T10:00 reads stale, steers fresh on retrained: F1 fell",
    ):
        assert line in lines
    [around] = [line for line in lines if line.startswith("4 w")]
    assert around.split()[1:] == [f"w{i}" for i in range(38, 60)], "of a long context, what is around its peak"
    similar = lines[lines.index("similar features") + 1 :]
    assert similar[:2] == ["5 money", "4 (no label)"]
    together = lines[lines.index("fire on the same tokens") + 1 :]
    assert together[:3] == ["4 0.25 (no label)", "cluster finance", "5 money"]
    versions = lines[lines.index("labels") + 1 :]
    assert versions[0].startswith("2 none: no words agree, by us with contrastive none, 20")
    assert versions[1].startswith("1 banking: loan (0.9), by us")


def test_what_was_never_steered_shows_what_is_expected(database: str) -> None:
    lines = show(database, "money", "--sae", "demo-l2")
    assert "expected 0.40, by its output score; it was never steered" in lines
    assert not any(line.startswith("steerability") for line in lines)


def test_what_is_not_known_is_not_shown(database: str) -> None:
    lines = show(database, f"sae:{'a' * 64}/4")
    assert lines[0] == "latent 4, without a label"
    assert not {
        "contexts",
        "writes",
        "steers",
        "similar features",
        "fire on the same tokens",
        "cluster",
        "labels",
        "drift",
    } & set(lines)
    with pytest.raises(FeatureNotFound, match="closest names are 'banking"):
        show(database, "bankign")


def test_columns_are_the_logarithms_of_counts() -> None:
    assert columns(Histogram(low=0.0, high=1.0, counts=(1, 0, 7, 63))) == "▂ ▄█"
    assert columns(Histogram(low=0.0, high=1.0, counts=(10**6, 1))) == "█▁", "a single token is seen"


def test_of_a_large_cluster_some_are_shown(tmp_path: Path) -> None:
    database = str(tmp_path / "features.db")
    rows = [FeatureRow(latent=latent, density=0.5, max_activation=1.0) for latent in range(20)]
    clusters = [Cluster(name="", latents=tuple(range(20)))]
    save_feature_set(FeatureSet(build_manifest(), tmp_path, rows, {}, {}, clusters=clusters), database)
    lines = show(database, f"sae:{'a' * 64}/4")
    members = lines[lines.index("cluster") + 1 :]
    assert members[:5] == [f"{latent} (no label)" for latent in (0, 1, 2, 3, 5)]
    assert (len(members), members[-1]) == (13, "… 7 more")
