"""What `featurehub serve` hands to vLLM, without starting it."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from api.model import InputDriftOptions
from featurehub.cli import serve
from featurehub.cli.demo import planted, serving
from featurehub.cli.main import app
from featurehub.cli.registry import location
from featurehub.engine.server import ServeOptions
from featurehub.errors import InvalidInput


def given_to_vllm(command: Sequence[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    kept: list[ServeOptions] = []
    monkeypatch.setattr(planted, "ensure_planted", lambda: SimpleNamespace(folder=folder))
    monkeypatch.setenv("FEATUREHUB_EMBEDDER", "none")
    shipped = SimpleNamespace(folder=folder, manifest=SimpleNamespace(id="a" * 64))
    monkeypatch.setattr(serving, "ensure_smollm2", lambda: shipped)
    monkeypatch.setattr(serving, "demo_model", lambda model: folder)
    monkeypatch.setattr(serve, "serve_model", lambda *given: kept.append(given[5]))
    monkeypatch.setattr(location, "folder_of", lambda sae, db: folder)
    result = CliRunner().invoke(app, ["serve", *command], catch_exceptions=False)
    assert result.exit_code == 0
    [options] = kept
    return list(options.extra)


@pytest.mark.parametrize("demo", ["--demo", "--planted"])
def test_a_demo_leaves_room_on_a_gpu_for_a_second_one(
    demo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two that vLLM gives nearly all memory, the second does not start."""
    told = given_to_vllm([demo], tmp_path, monkeypatch)
    assert 2 * float(told[told.index("--gpu-memory-utilization") + 1]) < 0.8


def test_the_operator_has_the_last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = given_to_vllm(["--demo", "--gpu-memory-utilization", "0.5"], tmp_path, monkeypatch)
    shares = [told[i + 1] for i, each in enumerate(told) if each == "--gpu-memory-utilization"]
    assert shares[-1] == "0.5"


def test_an_sae_for_each_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Sequence[Path]] = []
    monkeypatch.setattr(serve, "serve_model", lambda *given: kept.append(given[1]))
    monkeypatch.setattr(location, "folder_of", lambda sae, db: tmp_path / sae)
    command = ["serve", str(tmp_path), "--sae", "one", "--max-model-len", "64", "--sae", "two"]
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    assert kept == [[tmp_path / "one", tmp_path / "two"]]


def test_other_models_get_what_vllm_gives_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = given_to_vllm([str(tmp_path), "--sae", str(tmp_path)], tmp_path, monkeypatch)
    assert "--gpu-memory-utilization" not in told


def test_a_budget_travels_to_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[str] = []
    monkeypatch.setattr(serve, "serve_model", lambda *given: kept.append(given[4]))
    monkeypatch.setattr(location, "folder_of", lambda sae, db: tmp_path)
    command = ["serve", str(tmp_path), "--sae", str(tmp_path), "--overhead-budget", "3%", "--max-model-len", "64"]
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    assert kept == ["3%"]


@pytest.mark.parametrize(
    ("given", "share", "requests"),
    [((), 0.01, 2048), (("--input-drift-budget", "0.5%", "--input-drift-requests", "64"), 0.005, 64)],
)
def test_the_traffic_is_watched_beside_the_database(
    given: tuple[str, ...], share: float, requests: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = watching(tmp_path, monkeypatch, "--db", str(tmp_path / "features.db"), *given)
    assert options == InputDriftOptions(share=share, folder=str(tmp_path / "features.input-drift"), requests=requests)


def test_where_the_traffic_s_state_is_kept_can_be_chosen_and_it_need_not_be_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, featurehub_home: Path
) -> None:
    chosen = watching(tmp_path, monkeypatch, "--input-drift-folder", str(tmp_path / "here"))
    assert chosen is not None
    assert chosen.folder == str(tmp_path / "here")
    of_server = watching(tmp_path, monkeypatch, "--db", "postgresql://host/features")
    assert of_server is not None
    assert of_server.folder == str((featurehub_home / "input-drift").resolve())
    for nothing in ("0", "0%", "0.0"):
        assert watching(tmp_path, monkeypatch, "--input-drift-budget", nothing) is None
    with pytest.raises(InvalidInput, match="an input drift budget of '200%'"):
        watching(tmp_path, monkeypatch, "--input-drift-budget", "200%")


def watching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *given: str) -> InputDriftOptions | None:
    kept: list[InputDriftOptions | None] = []
    monkeypatch.setattr(serve, "serve_model", lambda *options: kept.append(options[-1]))
    monkeypatch.setattr(location, "folder_of", lambda sae, db: tmp_path)
    CliRunner().invoke(app, ["serve", str(tmp_path), "--sae", str(tmp_path), *given], catch_exceptions=False)
    return kept[0]


def test_a_budget_that_is_none_is_refused_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(location, "folder_of", lambda sae, db: tmp_path)
    command = ["serve", str(tmp_path), "--sae", str(tmp_path), "--overhead-budget", "3"]
    with pytest.raises(InvalidInput, match=r"budget of '3'.*such as 3%"):
        CliRunner().invoke(app, command, catch_exceptions=False)
