"""`featurehub saes …` on a real database: what commands say and do, and that refusals are one line and code 2."""

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file

from featurehub.artifacts.artifact import MANIFEST, WEIGHTS, Artifact, seal
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint
from featurehub.cli import main as main_module
from featurehub.cli.progress import output
from featurehub.demo.bundle import bundled_model
from featurehub.dictionary import Dictionary
from featurehub.features import State
from featurehub.store import (
    KEPT,
    Calibration,
    Evaluation,
    FeatureRow,
    FeatureSet,
    Provenance,
    Store,
    open_store,
    save_feature_set,
)
from featurehub.verdicts import DriftReport
from saes.formats.saelens import read_saelens
from tests.labels import labeled

D_MODEL, D_SAE, HOOK = 192, 8, HookPoint(layer=1)


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Run = Callable[..., Said]


@pytest.fixture
def store(empty: Path, tmp_path: Path) -> Store:
    return open_store(shutil.copy(empty, tmp_path / "features.db"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, store: Store, tmp_path: Path) -> Run:
    """`featurehub saes …` in this process, on the database of this test."""

    def call(*arguments: object) -> Said:
        command = ["featurehub", "saes", *map(str, arguments), "--db", str(tmp_path / "features.db")]
        monkeypatch.setattr(sys, "argv", command)
        monkeypatch.setattr(output, "width", 200)
        with pytest.raises(SystemExit) as ended:
            main_module.main()
        said = capsys.readouterr()
        return Said(int(ended.value.code or 0), said.out, said.err)

    return call


def refused(said: Said, *named: str) -> None:
    assert said.code == 2, said
    [line] = [each for each in said.err.splitlines() if each]
    assert line.startswith("error (")
    for each in named:
        assert each in line


def sealed(folder: Path, seed: int = 0, **fields: Any) -> Artifact:
    """A random SAE of the bundled model's second layer."""
    folder.mkdir()
    W = torch.randn(D_SAE, D_MODEL, generator=torch.Generator().manual_seed(seed))
    Dictionary(W.clone(), W, torch.zeros(D_SAE), torch.zeros(D_MODEL), torch.ones(D_SAE)).save(folder / WEIGHTS)
    (folder / "canaries.safetensors").write_bytes(b"canaries")
    known = {
        "name": folder.name, "architecture": "batchtopk", "d_model": D_MODEL, "d_sae": D_SAE, "k": 2.0, "hook": HOOK,
        "model": identify(bundled_model(), HOOK), "dataset": {"name": "a corpus"}, "training": {"lr": 0.1},
        "metrics": {"explained_variance": 0.9567, "l0": 3.21}, "created": f"2026-01-0{seed + 1}",
    }  # fmt: skip
    return seal(folder, known | fields)


def register(store: Store, artifact: Artifact) -> str:
    with store.write() as writer:
        writer.put_artifact(artifact.manifest, artifact.folder)
        rows = [FeatureRow(latent=latent, density=0.1, max_activation=1.0) for latent in range(5)]
        ids = writer.put_features(artifact.manifest.id, rows)
        by_hand = Provenance(author="test", method="by hand")
        writer.put_labels({ids[0]: (labeled("banking"), by_hand), ids[1]: (labeled("sea"), by_hand)})
    return artifact.manifest.id


@pytest.fixture
def one(store: Store, tmp_path: Path) -> str:
    return register(store, sealed(tmp_path / "one"))


@pytest.fixture
def two(store: Store, tmp_path: Path, one: str) -> str:
    """Made from ``one``, later."""
    return register(store, sealed(tmp_path / "two", 1, parent=one))


def test_what_a_build_kept_is_registered(run: Run, store: Store, tmp_path: Path) -> None:
    """The folder may have been moved since."""
    artifact = sealed(tmp_path / "sae")
    by_hand = Provenance(author="test", method="by hand")
    rows = [FeatureRow(latent=latent, density=0.1, max_activation=1.0) for latent in range(5)]
    labels = {0: (labeled("banking"), by_hand)}
    found = FeatureSet(artifact.manifest, Path("/elsewhere"), rows, labels, {0: Calibration(strength=2.0, dose=0.3)})
    save_feature_set(found, artifact.folder / KEPT)
    said = run("register", artifact.folder)
    assert (said.code, said.lines) == (0, ["sae is registered with 5 features"])
    with store.read() as reader:
        assert reader.resolve("banking").strength == 2.0
        assert reader.artifact("sae").path == str(artifact.folder)
    assert not (artifact.folder / KEPT).exists()
    refused(run("register", artifact.folder), "features.db is not there", "featurehub label")


def drift(artifact: str, state: State, fingerprint: str, model: str = "retrained") -> DriftReport:
    return DriftReport(
        id=f"dr_{model}", artifact=artifact, model=model, fingerprint=fingerprint, created="2026-02-03T04:05:06+00:00",
        state=state, reason="measured", metrics={},
    )  # fmt: skip


def evaluation(artifact: str) -> Evaluation:
    return Evaluation(
        artifact=artifact, fingerprint="f" * 64, model="retrained", text="held out", text_hash="c" * 64,
        metrics={"ce_score": 0.875}, created="2026-02-04T00:00:00+00:00",
    )  # fmt: skip


def row_of(said: Said, name: str) -> list[str]:
    [line] = [each for each in said.lines if f" {name}" in each]
    return [cell.strip() for cell in line.strip("│").split("│")]


class TestList:
    def test_a_row_for_every_sae(self, run: Run, store: Store, one: str, two: str) -> None:
        with store.write() as writer:
            writer.put_artifact_alias(two, "production")
            writer.put_report(drift(two, State.STALE, "f" * 64))
        said = run("list")
        assert said.code == 0
        wanted = [one[:12], "base", "layers.1.resid_post", "batchtopk", "8", "0.957", "3.2", "5", "unchecked"]
        assert row_of(said, "one") == ["*", "one", *wanted]
        assert row_of(said, "two")[:3] == ["", "two, production", two[:12]]
        assert row_of(said, "two")[-1] == "stale on retrained"

    def test_states_are_those_on_a_given_model(self, run: Run, store: Store, one: str, tmp_path: Path) -> None:
        other = retrained(tmp_path / "retrained")
        assert row_of(run("list", "--model", bundled_model()), "one")[-1] == "fresh"
        assert row_of(run("list", "--model", other), "one")[-1] == "unchecked"
        with store.write() as writer:
            writer.put_report(drift(one, State.SUSPECT, identify(other, HOOK).function))
        assert row_of(run("list", "--model", other), "one")[-1] == "suspect"

    def test_a_model_with_another_configuration_is_not_fresh(self, run: Run, one: str, tmp_path: Path) -> None:
        other = reconfigured(tmp_path / "other", rms_norm_eps=0.01)
        assert row_of(run("list", "--model", other), "one")[-1] == "unchecked"

    def test_saes_of_models_of_another_shape_are_left_out(self, run: Run, one: str, tmp_path: Path) -> None:
        other = shutil.copytree(bundled_model(), tmp_path / "wide")
        config = json.loads((other / "config.json").read_text())
        (other / "config.json").write_text(json.dumps({**config, "hidden_size": 999}))
        assert "no SAE is registered" in run("list", "--model", other).out

    def test_nothing_is_registered(self, run: Run) -> None:
        assert "featurehub build" in run("list").out

    def test_there_is_no_such_model(self, run: Run, tmp_path: Path) -> None:
        refused(run("list", "--model", tmp_path / "gone"), "gone", "no model in")


def retrained(folder: Path) -> Path:
    """The bundled model with another last layer."""
    shutil.copytree(bundled_model(), folder)
    path = next(folder.glob("*.safetensors"))
    weights = load_file(path)
    last = max(name for name in weights if ".layers." in name)
    weights[last] = weights[last] + 1
    save_file(weights, path)
    return folder


def reconfigured(folder: Path, **settings: Any) -> Path:
    """The bundled model with another configuration."""
    shutil.copytree(bundled_model(), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **settings}))
    return folder


class TestShow:
    def test_everything_is_said(self, run: Run, store: Store, one: str, two: str, tmp_path: Path) -> None:
        three = register(store, sealed(tmp_path / "three", 2, parent=two))
        with store.write() as writer:
            writer.put_artifact_alias(two, "production")
            writer.put_evaluation(evaluation(two))
            for model, state in (("first", State.FRESH), ("second", State.STALE)):
                writer.put_report(drift(two, state, "f" * 64, model))
        said = run("show", "production")
        model = identify(bundled_model(), HOOK)
        assert said.code == 0
        for wanted in (
            two, "two, production", str(tmp_path / "two"), model.reads, model.whole, model.tokenizer, "not known",
            model.chat_template, "layers.1.resid_post", "a corpus", "lr 0.1", "0.9567", "5, 2 of them labelled",
            "held out", f"one ({one[:12]})", f"three ({three[:12]})",
        ):  # fmt: skip
            assert wanted in said.out, wanted
        assert ["ce_score", "0.875"] in [line.split() for line in said.lines]
        assert said.out.index("stale on second") < said.out.index("fresh on first")
        assert "does not hold it" not in said.out

    def test_the_chain_of_parents_ends_at_the_first_that_is_unknown(
        self, run: Run, store: Store, two: str, one: str, tmp_path: Path
    ) -> None:
        register(store, sealed(tmp_path / "three", 2, parent=two))
        with store.write() as writer:
            writer.remove_artifact(one)
        made_from = [line.split()[2] for line in run("show", "three").lines if "made from" in line]
        assert made_from == ["two", one]

    def test_parents_in_a_circle_end(self, run: Run, store: Store, tmp_path: Path) -> None:
        artifact = sealed(tmp_path / "one")
        register(
            store, artifact._replace(manifest=artifact.manifest.model_copy(update={"parent": artifact.manifest.id}))
        )
        assert run("show", "one").code == 0

    @pytest.mark.parametrize("how", ["gone", "replaced", "damaged"])
    def test_a_folder_that_holds_it_no_more_is_said(self, run: Run, one: str, tmp_path: Path, how: str) -> None:
        shutil.rmtree(tmp_path / "one")
        if how != "gone":
            sealed(tmp_path / "one", 3)
        if how == "damaged":
            (tmp_path / "one" / MANIFEST).write_text("{")
        assert "does not hold it" in run("show", "one").out

    def test_a_folder_that_is_not_registered_is_shown_too(self, run: Run, tmp_path: Path) -> None:
        sealed(tmp_path / "new")
        said = run("show", tmp_path / "new")
        assert said.code == 0
        assert "not in this database" in said.out

    def test_brackets_are_shown_as_they_are(self, run: Run, store: Store, tmp_path: Path) -> None:
        register(store, sealed(tmp_path / "one", dataset={"name": "[/red] [bold]"}, name="x[/y]"))
        assert "[/red] [bold]" in run("show", "x[/y]").out
        assert "x[/y]" in run("list").out


class TestNames:
    def test_an_sae_is_named_in_four_ways(self, run: Run, store: Store, two: str, tmp_path: Path) -> None:
        with store.write() as writer:
            writer.put_artifact_alias(two, "production")
            writer.put_artifact_alias(two, "team/best")
        for key in ("two", "production", "team/best", two[:12], tmp_path / "two"):
            assert two in run("show", key).out

    def test_a_registered_name_goes_before_a_folder_and_a_folder_before_a_beginning(
        self, run: Run, one: str, two: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here = tmp_path / "here"
        here.mkdir()
        monkeypatch.chdir(here)
        other = sealed(here / "one", 4).manifest.id
        beginning = sealed(here / "tw", 5).manifest.id
        assert one in run("show", "one").out
        assert other in run("show", "./one").out
        assert beginning in run("show", "tw").out

    def test_nothing_of_that_name(self, run: Run, one: str, tmp_path: Path) -> None:
        for command in (("show",), ("promote",), ("remove", "--yes"), ("export", "x/y"), ("verify",), ("alias", "z")):
            name, *further = command
            refused(run(name, "nowhere", *further), "no artifact 'nowhere'", "'one'")
            refused(run(name, tmp_path / "nowhere", *further), "manifest.json is missing")

    def test_two_of_that_beginning(self, run: Run, store: Store, one: str, two: str) -> None:
        with store.write() as writer:
            for owner, name in ((one, "best-ce"), (two, "best-ev")):
                writer.put_artifact_alias(owner, name)
        refused(run("show", "best"), "the beginning of several", "'one', 'two'")

    def test_what_is_not_registered_is_not_promoted(self, run: Run, tmp_path: Path) -> None:
        sealed(tmp_path / "new")
        refused(run("promote", tmp_path / "new"), "not in this database", "--db")

    def test_a_damaged_manifest_is_named(self, run: Run, tmp_path: Path) -> None:
        (sealed(tmp_path / "new").folder / MANIFEST).write_text("{")
        refused(run("show", tmp_path / "new"), MANIFEST, "not a manifest")


class TestPromote:
    def test_it_says_what_it_replaces(self, run: Run, store: Store, one: str, two: str) -> None:
        assert "two is the default of base, in place of one" in run("promote", "two").out
        assert run("promote", "two").out.strip() == "two is the default of base"
        with store.read() as reader:
            assert [each.id for each in reader.artifacts() if each.is_default] == [two]


class TestAlias:
    def test_it_is_given_moved_and_taken_away(self, run: Run, store: Store, one: str, two: str) -> None:
        assert "one is also called production" in run("alias", "one", "production").out
        assert "one was before" in run("alias", "two", "production").out
        refused(run("alias", "one", "production", "--remove"), "has no alias 'production'")
        assert run("alias", "production", "production", "--remove").code == 0
        with store.read() as reader:
            assert [each.aliases for each in reader.artifacts()] == [(), ()]

    def test_what_is_no_name_is_refused(self, run: Run, one: str, two: str) -> None:
        refused(run("alias", "one", " "), "visible characters")
        refused(run("alias", "one", "two"), "own name")


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """What somebody types at a terminal."""

    def type_in(text: str) -> None:
        typed = io.StringIO(text)
        monkeypatch.setattr(typed, "isatty", lambda: True)
        monkeypatch.setattr(sys, "stdin", typed)

    return type_in


class TestRemove:
    def test_it_says_what_goes_and_leaves_the_folder(
        self, run: Run, store: Store, two: str, one: str, tmp_path: Path
    ) -> None:
        with store.write() as writer:
            writer.put_artifact_alias(one, "production")
            writer.put_report(drift(one, State.FRESH, "f" * 64))
            writer.put_evaluation(evaluation(one))
        said = run("remove", "one", "--yes")
        assert said.code == 0
        for wanted in (
            "5 features, 2 of them labelled", "1 drift reports and 1 evaluations", "its aliases production",
            f"not its folder {tmp_path / 'one'}", f"two ({two[:12]}), the latest, becomes the default of base",
            f"two ({two[:12]}) was made from it",
        ):  # fmt: skip
            assert wanted in said.out, wanted
        assert (tmp_path / "one" / WEIGHTS).is_file()
        with store.read() as reader:
            assert [(each.name, each.is_default) for each in reader.artifacts()] == [("two", True)]

    @pytest.mark.parametrize(("typed", "left"), [("y\n", 0), ("n\n", 1), ("\n", 1)])
    def test_it_asks_at_a_terminal(
        self, run: Run, store: Store, one: str, answer: Callable[[str], None], typed: str, left: int
    ) -> None:
        answer(typed)
        said = run("remove", "one")
        assert "Remove one?" in said.out
        assert said.code == left
        with store.read() as reader:
            assert len(reader.artifacts()) == left

    def test_it_needs_to_be_told_where_nobody_can_be_asked(self, run: Run, store: Store, one: str) -> None:
        refused(run("remove", "one"), "--yes")
        with store.read() as reader:
            assert len(reader.artifacts()) == 1

    def test_the_folder_goes_too(self, run: Run, one: str, tmp_path: Path) -> None:
        assert f"its folder {tmp_path / 'one'}" in run("remove", "one", "--yes", "--files").out
        assert not (tmp_path / "one").exists()

    def test_a_folder_with_more_in_it_is_left_alone(self, run: Run, store: Store, one: str, tmp_path: Path) -> None:
        (tmp_path / "one" / "thesis.tex").write_text("years of work")
        refused(run("remove", "one", "--yes", "--files"), "thesis.tex")
        with store.read() as reader:
            assert len(reader.artifacts()) == 1
        assert (tmp_path / "one" / "thesis.tex").is_file()

    def test_a_folder_with_another_sae_is_left_alone(self, run: Run, one: str, tmp_path: Path) -> None:
        shutil.rmtree(tmp_path / "one")
        other = sealed(tmp_path / "one", 3)
        refused(run("remove", "one", "--yes", "--files"), "holds another SAE", other.manifest.id[:12])
        assert other.weights.is_file()


class TestExport:
    def test_it_writes_what_sae_lens_reads(self, run: Run, one: str, tmp_path: Path) -> None:
        said = run("export", "one", tmp_path / "out")
        assert "one as jumprelu in" in said.out
        ours = Dictionary.load(tmp_path / "one" / WEIGHTS)
        assert torch.equal(read_saelens(tmp_path / "out").W_enc, ours.W_enc)
        refused(run("export", "one", tmp_path / "out"), "is there already")

    def test_it_needs_no_database(self, run: Run, tmp_path: Path) -> None:
        sealed(tmp_path / "new")
        assert run("export", tmp_path / "new", tmp_path / "out").code == 0


class TestVerify:
    def test_every_check_is_printed(self, run: Run, two: str) -> None:
        said = run("verify", "two", "--model", bundled_model())
        assert said.code == 0, said
        assert all(line.startswith("✓") for line in said.lines)
        for wanted in (WEIGHTS, "canaries.safetensors", "tensors", "parent", "weights up to layers.1.resid_post",
                       "all weights", "precision", "configuration", "tokenizer", "chat template"):  # fmt: skip
            assert wanted in said.out, wanted

    def test_what_changed_is_named(self, run: Run, one: str, tmp_path: Path) -> None:
        (tmp_path / "one" / "canaries.safetensors").write_bytes(b"other")
        weights = tmp_path / "one" / WEIGHTS
        weights.write_bytes(weights.read_bytes()[:-9])
        said = run("verify", "one")
        refused(said, "file canaries.safetensors", f"file {WEIGHTS}", "tensors")
        assert sum(line.startswith("✗") for line in said.lines) == 3

    def test_tensors_of_another_size_than_the_manifest_says(self, run: Run, tmp_path: Path) -> None:
        sealed(tmp_path / "new", d_sae=9)
        refused(run("verify", tmp_path / "new"), "tensors")

    def test_a_parent_that_is_gone(self, run: Run, store: Store, one: str, two: str) -> None:
        with store.write() as writer:
            writer.remove_artifact(one)
        refused(run("verify", "two"), f"parent {one[:12]}")

    def test_a_model_whose_later_layers_changed(self, run: Run, one: str, tmp_path: Path) -> None:
        said = run("verify", "one", "--model", retrained(tmp_path / "retrained"))
        refused(said, "all weights of retrained")
        assert "✓ weights up to layers.1.resid_post of retrained" in said.out
        assert sum(line.startswith("✗") for line in said.lines) == 1

    def test_a_model_with_another_tokenizer(self, run: Run, one: str, tmp_path: Path) -> None:
        other = shutil.copytree(bundled_model(), tmp_path / "other")
        (other / "tokenizer.json").write_text("{}")
        refused(run("verify", "one", "--model", other), "tokenizer of other")

    @pytest.mark.parametrize(
        ("settings", "named", "differing"),
        [
            ({"rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0}}, "configuration", 1),
            # In another precision the weights are others too, as they are loaded.
            ({"dtype": "bfloat16"}, "precision", 3),
        ],
    )
    def test_a_model_with_another_configuration(
        self, run: Run, one: str, tmp_path: Path, settings: dict[str, Any], named: str, differing: int
    ) -> None:
        said = run("verify", "one", "--model", reconfigured(tmp_path / "other", **settings))
        refused(said, f"{named} of other")
        assert sum(line.startswith("✗") for line in said.lines) == differing

    def test_an_adapter_beside_the_weights_is_no_difference(self, run: Run, one: str, tmp_path: Path) -> None:
        other = shutil.copytree(bundled_model(), tmp_path / "other")
        save_file({"base_model.lora_A.weight": torch.zeros(2, 2)}, other / "adapter_model.safetensors")
        assert run("verify", "one", "--model", other).code == 0

    def test_what_an_old_artifact_does_not_record_is_no_match(self, run: Run, tmp_path: Path) -> None:
        old = identify(bundled_model(), HOOK).model_dump(exclude={"config", "tokenization"})
        sealed(tmp_path / "old", model=old)
        refused(run("verify", tmp_path / "old", "--model", bundled_model()), "configuration of base", "tokenizer of")

    def test_a_revision_alone_is_no_difference(self, run: Run, one: str, tmp_path: Path) -> None:
        snapshot = tmp_path / "models--org--demo" / "snapshots" / ("5" * 40)
        shutil.copytree(bundled_model(), snapshot)
        said = run("verify", "one", "--model", snapshot)
        assert said.code == 0
        assert "all weights of org/demo" in said.out

    def test_a_model_that_is_not_there(self, run: Run, one: str, tmp_path: Path) -> None:
        refused(run("verify", "one", "--model", tmp_path / "gone"), "no model in")


def test_every_command_has_help(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for command in ("list", "show", "promote", "alias", "remove", "export", "verify"):
        monkeypatch.setattr(sys, "argv", ["featurehub", "saes", command, "--help"])
        with pytest.raises(SystemExit, match="0"):
            main_module.main()
        assert "--db" in capsys.readouterr().out
