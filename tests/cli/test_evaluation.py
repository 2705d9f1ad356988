"""`featurehub saes eval` on the bundled model, with transformers in the engine's place, and what it refuses."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import torch
from typer.testing import CliRunner

from featurehub.artifacts.artifact import WEIGHTS, Artifact, seal
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint
from featurehub.cli.evaluation import table_of
from featurehub.cli.main import app
from featurehub.demo.bundle import bundled_model
from featurehub.dictionary import Dictionary
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import EngineOptions
from featurehub.errors import FeaturehubError, IncompatibleArtifact, InvalidInput
from featurehub.runs import engines
from featurehub.store import open_store
from saes.host import load_host
from tests.saes.hosted import HostReader

HOOK = HookPoint(layer=1)
WORDS = {"pirates": "the pirate sails the ship .", "loans": "the bank counts the loan ."}


class HostEngine(HostReader):
    """Captures as the engine does, in transformers."""

    def __init__(self, model: Path, config: EngineConfig, options: EngineOptions) -> None:
        assert config.truncated
        super().__init__(load_host(model, config.hooks[0].point))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None: ...


@pytest.fixture(autouse=True)
def no_vllm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """And one thread: tensors are tiny here."""
    monkeypatch.setattr(engines, "Engine", HostEngine)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def write_artifact(folder: Path, d_model: int = 192) -> Artifact:
    """It changes nothing: the positive and the negative part of the stream, in latents of their own."""
    folder.mkdir()
    both, zero = torch.cat([torch.eye(d_model), -torch.eye(d_model)]), torch.zeros(2 * d_model)
    Dictionary(both, both, zero, torch.zeros(d_model), zero).save(folder / WEIGHTS)
    fields = {
        "name": "same", "architecture": "standard", "d_model": d_model, "d_sae": 2 * d_model, "k": 2.0, "hook": HOOK,
        "model": identify(bundled_model(), HOOK), "dataset": {}, "training": {}, "metrics": {}, "created": "2026-01-01",
    }  # fmt: skip
    return seal(folder, fields)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(" ".join(WORDS.values()) for _ in range(5)))
    return path


def labelled(tmp_path: Path) -> Path:
    path = tmp_path / "labelled.jsonl"
    path.write_text(
        "".join(
            json.dumps({"text": WORDS[name] * (1 + i % 3), "label": name}) + "\n" for name in WORDS for i in range(12)
        )
    )
    return path


def call(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["saes", "eval", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_an_sae_that_changes_nothing_is_perfect_printed_and_stored(text: Path, tmp_path: Path) -> None:
    artifact, database = write_artifact(tmp_path / "sae"), tmp_path / "features.db"
    store = open_store(database)
    with store.write() as writer:
        writer.put_artifact(artifact.manifest, artifact.folder)
    options = ("--text", text, "--labeled", labelled(tmp_path), "--db", database, "--json", tmp_path / "out.json")
    call(artifact.folder, bundled_model(), *options)
    with store.read() as reader:
        [stored] = reader.evaluations(artifact.manifest.id)
    store.close()
    perfect = {"explained_variance": 1.0, "fvu": 0.0, "ce_score": 1.0, "kl_score": 1.0, "cosine_similarity": 1.0}
    assert {name: stored.metrics[name] for name in perfect} == pytest.approx(perfect, abs=1e-4)
    assert stored.metrics["probe_k1_accuracy"] == 1.0
    assert sum(v for name, v in stored.metrics.items() if name.startswith("density_")) == pytest.approx(
        1.0 - stored.metrics["dead"]
    )
    assert stored.fingerprint == artifact.manifest.model.whole
    assert stored.text == str(text)
    written = json.loads((tmp_path / "out.json").read_text())
    assert {**stored.model_dump(), "probes": written["probes"]} == written
    assert [each["label"] for each in written["probes"]] == ["pirates"]


def test_an_sae_that_is_not_registered_is_printed_and_not_stored(text: Path, tmp_path: Path) -> None:
    artifact = write_artifact(tmp_path / "sae")
    said = call(artifact.folder, bundled_model(), "--text", text, "--db", tmp_path / "other.db", "--documents", 2)
    assert "not stored" in said
    assert "Stored in" not in said


def test_the_table_has_a_row_for_every_metric_and_probe() -> None:
    metrics = {"ce_score": 0.5, "tokens": 1234.0, "density_1e-3": 0.25, "probe_k5_accuracy": 0.9, "probe_k5_f1": 0.8}
    table = table_of(metrics)
    cells = list(zip(*(list(column.cells) for column in table.columns), strict=True))
    assert [cell[:2] for cell in cells] == [
        ("ce_score", "0.5"),
        ("tokens", "1,234"),
        ("density_1e-3", "25.0% ██"),
        ("probe k5", "0.900, F1 0.800"),
    ]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [(("--max-tokens", 4000), InvalidInput), (("--labeled", "nowhere.jsonl"), InvalidInput)],
)
def test_what_cannot_be_done_is_refused(
    text: Path, tmp_path: Path, arguments: Any, error: type[FeaturehubError]
) -> None:
    artifact = write_artifact(tmp_path / "sae")
    with pytest.raises(error):
        call(artifact.folder, bundled_model(), "--text", text, "--db", tmp_path / "f.db", *arguments)


def test_an_sae_of_another_width_is_refused(text: Path, tmp_path: Path) -> None:
    narrow = write_artifact(tmp_path / "narrow", d_model=64)
    with pytest.raises(IncompatibleArtifact, match="width 64"):
        call(narrow.folder, bundled_model(), "--text", text, "--db", tmp_path / "f.db")


def test_the_command_stands_among_those_of_saes() -> None:
    assert "eval" in CliRunner().invoke(app, ["saes", "--help"]).output
