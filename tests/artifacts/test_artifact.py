"""Artifact folders: sealed, opened, verified, and never half-written."""

import json
from pathlib import Path
from typing import Any

import pytest

from featurehub.artifacts.artifact import MANIFEST, WEIGHTS, open_artifact, seal, verify
from featurehub.artifacts.files import sha256
from featurehub.artifacts.manifest import HookPoint, ModelIdentity
from featurehub.errors import ArtifactNotFound, CorruptArtifact


def fields() -> dict[str, Any]:
    model = ModelIdentity(
        name="m", architecture="LlamaForCausalLM", d_model=4, layers=2, dtype="float32",
        reads="r", whole="w", tokenizer="t", chat_template="",
    )  # fmt: skip
    return {
        "name": "sae", "architecture": "batchtopk", "d_model": 4, "d_sae": 8, "k": 2.0, "hook": HookPoint(layer=1),
        "model": model, "dataset": {"documents": 3}, "training": {"lr": 0.1, "seed": 0, "note": None},
        "metrics": {"explained_variance": 0.9}, "created": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / WEIGHTS).write_bytes(b"weights")
    (folder / WEIGHTS).chmod(0o600)  # as safetensors makes them
    (folder / "canaries.safetensors").write_bytes(b"canaries")
    seal(folder, fields())
    return folder


def test_what_is_sealed_opens_as_it_was_and_verifies(folder: Path) -> None:
    artifact = open_artifact(folder)
    assert artifact.manifest.id == sha256(folder / WEIGHTS)
    assert artifact.manifest.files == {"canaries.safetensors": sha256(folder / "canaries.safetensors")}
    for name, value in fields().items():
        assert getattr(artifact.manifest, name) == value
    assert artifact.weights == folder / WEIGHTS
    verify(artifact)


def test_whoever_may_read_the_manifest_may_read_the_weights(folder: Path) -> None:
    """A server in a container runs as another user than whoever built the SAE into its image."""
    modes = {file.stat().st_mode & 0o777 for file in folder.iterdir()}
    assert modes == {(folder / "manifest.json").stat().st_mode & 0o777}


def test_sealing_again_gives_the_same_manifest(folder: Path) -> None:
    before = (folder / MANIFEST).read_text()
    seal(folder, fields())
    assert (folder / MANIFEST).read_text() == before


@pytest.mark.parametrize("name", [WEIGHTS, "canaries.safetensors"])
def test_a_changed_shortened_or_missing_file_is_found_and_named(folder: Path, name: str) -> None:
    artifact, content = open_artifact(folder), (folder / name).read_bytes()
    for damaged in (content[:-1], content[:-1] + b"!", b""):
        (folder / name).write_bytes(damaged)
        with pytest.raises(CorruptArtifact, match=name):
            verify(artifact)
    (folder / name).unlink()
    with pytest.raises(CorruptArtifact, match=f"{name} is missing"):
        verify(artifact)
    (folder / name).write_bytes(content)
    verify(artifact)


def test_a_folder_without_a_manifest_says_how_to_make_one(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ArtifactNotFound, match="featurehub build"):
            open_artifact(folder)


def test_a_folder_of_artifacts_says_which_there_are(folder: Path) -> None:
    with pytest.raises(ArtifactNotFound, match=f"name {folder}\\."):
        open_artifact(folder.parent)


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"surprise": 1}', "\x00"])
def test_a_manifest_that_is_none_is_corrupt(folder: Path, damage: str) -> None:
    (folder / MANIFEST).write_text(damage)
    with pytest.raises(CorruptArtifact, match=r"manifest\.json is not a manifest"):
        open_artifact(folder)


def test_a_manifest_that_is_not_text_is_corrupt(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b"\xff\xfe\xff")
    with pytest.raises(CorruptArtifact, match=r"manifest\.json"):
        open_artifact(folder)


def test_a_manifest_of_another_format_is_refused(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "format": 2}))
    with pytest.raises(CorruptArtifact, match="format 1"):
        open_artifact(folder)


def test_unknown_keys_and_nan_are_refused(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    for extra in ({"surprise": 1}, {"k": float("nan")}):
        (folder / MANIFEST).write_text(json.dumps({**manifest, **extra}))
        with pytest.raises(CorruptArtifact):
            open_artifact(folder)
