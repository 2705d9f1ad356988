"""What MODEL means: a folder, a name of the hub, or a GGUF file, which is refused with the command that converts it."""

import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import typer
from huggingface_hub.errors import GatedRepoError, HTTPError, RepositoryNotFoundError, RevisionNotFoundError
from typer.testing import CliRunner

import featurehub.cli.registry.location
import featurehub.cli.serve
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint
from featurehub.artifacts.origin import repository_of
from featurehub.cli.main import app
from featurehub.demo.bundle import bundled_model
from featurehub.errors import InvalidInput, ModelNotFound
from featurehub.models.folder import model_folder
from featurehub.models.hub import HubModel

COMMIT = "a1" * 20


def snapshot(cache: Path, name: str = "owner/name", commit: str = COMMIT) -> Path:
    """Puts the bundled model into the hub's cache, as a download does."""
    repository = cache / f"models--{name.replace('/', '--')}"
    folder = repository / "snapshots" / commit
    shutil.copytree(bundled_model(), folder)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(commit)
    return folder


def test_a_folder_is_taken_as_it_is() -> None:
    assert model_folder(bundled_model()) == bundled_model()


def test_a_folder_comes_before_a_name_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(bundled_model(), tmp_path / "owner" / "name")
    assert model_folder("owner/name") == Path("owner/name")


@pytest.mark.parametrize(
    ("model", "repository", "revision"),
    [
        ("owner/name", "owner/name", ""),
        ("hf:owner/name", "owner/name", ""),
        ("Owner-1/Name_2.5@v1.0", "Owner-1/Name_2.5", "v1.0"),
        (f"owner/name@{COMMIT}", "owner/name", COMMIT),
    ],
)
def test_names_of_the_hub(model: str, repository: str, revision: str) -> None:
    assert HubModel.named(model) == (repository, revision)


@pytest.mark.parametrize("model", ["gpt2", "/nowhere/model", "./owner", "../owner/name", "a/b/c", "owner/name@", ""])
def test_other_names_are_none_of_the_hub(model: str) -> None:
    assert HubModel.named(model) is None


@pytest.mark.parametrize("model", ["gpt2", "/nowhere/model", "folder/missing.gguf"])
def test_what_is_neither_is_refused_with_both_forms(model: str) -> None:
    with pytest.raises(ModelNotFound, match=r"a folder in Hugging Face format, or OWNER/NAME"):
        model_folder(model)


class TestHub:
    """With the library itself on a cache of this machine; what it asks the network for, with a stand-in."""

    def test_a_name_becomes_the_snapshot_of_its_commit_which_a_manifest_names(self, cache: Path) -> None:
        there = snapshot(cache)
        for name in ("owner/name", f"owner/name@{COMMIT}", "hf:owner/name"):
            folder = model_folder(name)
            assert folder == there
        identity = identify(folder, HookPoint(layer=1))
        assert (identity.name, identity.revision) == ("owner/name", COMMIT)
        assert repository_of(folder) == "owner/name"
        assert identity.same_function(identify(bundled_model(), HookPoint(layer=1)))

    def test_only_what_a_model_consists_of_is_asked_for(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[tuple[Any, Any]] = []
        folder = snapshot(cache)
        monkeypatch.setattr(
            huggingface_hub, "snapshot_download", lambda *a, **options: asked.append((a, options)) or str(folder)
        )
        assert model_folder("owner/name@v1") == folder
        [(arguments, options)] = asked
        assert arguments == ("owner/name",)
        assert options["revision"] == "v1"
        names = [
            "model-00001-of-00002.safetensors", "model.safetensors.index.json", "config.json", "tokenizer.json",
            "tokenizer.model", "merges.txt", "chat_template.jinja",
            "pytorch_model.bin", "model.gguf", "original/model.safetensors", "consolidated.safetensors",
            "adapter_model.safetensors", "README.md", "modeling_own.py",
        ]  # fmt: skip
        patterns = {key: options[key] for key in ("allow_patterns", "ignore_patterns")}
        assert list(huggingface_hub.utils.filter_repo_objects(names, **patterns)) == names[:7]

    def test_without_network_or_cache_the_error_says_what_to_do(self, cache: Path) -> None:
        with pytest.raises(ModelNotFound, match=r"owner/name.*HF_HUB_OFFLINE is set.*fetch the model elsewhere"):
            model_folder("owner/name")

    @pytest.mark.parametrize(
        ("raised", "says"),
        [
            (GatedRepoError, "hf auth login"),
            (RepositoryNotFoundError, "Check the name"),
            (RevisionNotFoundError, "no such revision"),
        ],
    )
    def test_what_the_hub_refuses_is_said(
        self, raised: Any, says: str, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: Any, **__: Any) -> str:
            raise raised.__new__(raised)  # its own constructor wants a response of the network

        monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
        with pytest.raises(ModelNotFound, match=says):
            model_folder("owner/name")

    def test_a_proxy_that_fails_is_no_traceback(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any, **__: Any) -> str:
            raise HTTPError("the proxy says no")

        monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
        with pytest.raises(ModelNotFound, match=r"the proxy says no\. Connect"):
            model_folder("owner/name")

    def test_a_model_without_safetensors_is_refused(self, cache: Path) -> None:
        (snapshot(cache) / "model.safetensors").unlink()
        with pytest.raises(ModelNotFound, match="pickled weights are never read"):
            model_folder("owner/name")


class TestGguf:
    def test_a_file_is_refused_with_the_command_that_converts_it(self, tmp_path: Path) -> None:
        file = tmp_path / "a model.Q4_1.gguf"
        file.write_bytes(b"GGUF")
        with pytest.raises(InvalidInput) as raised:
            model_folder(file)
        assert f"featurehub convert '{file}' '{tmp_path / 'a model.Q4_1'}'" in raised.value.message

    def test_so_is_a_folder_with_nothing_else(self, tmp_path: Path) -> None:
        (tmp_path / "model.gguf").write_bytes(b"GGUF")
        with pytest.raises(InvalidInput, match=f"featurehub convert {tmp_path / 'model.gguf'} {tmp_path / 'model'}"):
            model_folder(tmp_path)

    def test_beside_safetensors_it_does_not_matter(self, tmp_path: Path) -> None:
        folder = shutil.copytree(bundled_model(), tmp_path / "model")
        (folder / "model.gguf").write_bytes(b"GGUF")
        assert model_folder(folder) == folder


def commands(group: Any, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        words = f"{prefix}{name}"
        found |= commands(command, f"{words} ") if hasattr(command, "commands") else {words: command}
    return found


def test_every_command_that_takes_a_model_takes_names() -> None:
    """But those that look themselves: serve, where with --demo an option of vLLM may stand there, and the demo's."""
    root: Any = typer.main.get_command(app)
    takes = {name: p for name, command in commands(root).items() for p in command.params if p.name == "model"}
    assert {"build", "train", "label", "harvest", "drift check", "saes import", "transcoder train"} < set(takes)
    for name in (name for name in takes if name.split()[0] not in ("serve", "demo")):
        with pytest.raises(ModelNotFound, match="OWNER/NAME"):
            takes[name].callback(None, takes[name], Path("gpt2"))


def test_a_command_says_which_commit_a_name_stands_for(cache: Path, tmp_path: Path) -> None:
    snapshot(cache)
    outcome = CliRunner().invoke(app, ["saes", "list", "--model", "owner/name", "--db", str(tmp_path / "f.db")])
    assert outcome.exit_code == 0, outcome.output
    assert f"owner/name@{COMMIT}" in outcome.stderr


def test_serve_takes_names_too_and_serves_under_them(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[tuple[Any, ...]] = []
    monkeypatch.setattr(featurehub.cli.serve, "serve_model", lambda *given: served.append(given))
    command = ["serve", "owner/name", "--sae", str(tmp_path), "--db", str(tmp_path / "f.db")]
    refused = CliRunner().invoke(app, command)
    assert isinstance(refused.exception, ModelNotFound)
    there = snapshot(cache)
    monkeypatch.setattr(featurehub.cli.registry.location, "folder_of", lambda *_: tmp_path)
    outcome = CliRunner().invoke(app, command)
    assert outcome.exit_code == 0, outcome.output
    [(model, *_, options, _)] = served
    assert model == there
    assert options.served_model_name == "owner/name"
