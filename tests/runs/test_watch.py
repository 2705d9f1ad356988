"""A watch decides about each new checkpoint once, moves an alias only where that is allowed, and says why."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from featurehub.artifacts.artifact import WEIGHTS, Artifact, seal
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint
from featurehub.decisions import Decision, Ruling
from featurehub.demo.bundle import bundled_model
from featurehub.dictionary import Dictionary
from featurehub.errors import ArtifactNotFound, BudgetExceeded, InvalidInput, ModelNotFound, StoreBusy
from featurehub.features import State
from featurehub.refreshes import Fate, RefreshedFeature, RefreshReport
from featurehub.runs.checkpoints import newest_checkpoint
from featurehub.runs.decision_log import open_log
from featurehub.runs.watch import CheckpointWatch, WatchPlan
from featurehub.store import open_store
from featurehub.verdicts import DriftReport

ALIAS = "production"
HOOK = HookPoint(layer=1)


def write_artifact(folder: Path, seed: int) -> Artifact:
    """A random SAE of the bundled model, sealed."""
    folder.mkdir()
    W = torch.randn(8, 192, generator=torch.Generator().manual_seed(seed))
    Dictionary(W.clone(), W, torch.zeros(8), torch.zeros(192), torch.zeros(8)).save(folder / WEIGHTS)
    fields = {
        "name": folder.name, "architecture": "batchtopk", "d_model": 192, "d_sae": 8, "k": 2.0, "hook": HOOK,
        "model": identify(bundled_model(), HOOK), "dataset": {}, "training": {}, "metrics": {}, "created": "2026-01-01",
    }  # fmt: skip
    return seal(folder, fields)


class World:
    """A registered SAE with an alias, a folder of checkpoints, and what a check and a refresh will say."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.models = folder, folder / "models"
        self.models.mkdir()
        self.database = str(folder / "features.db")
        self.log = folder / "log" / "decisions.jsonl"
        self.state, self.fates = State.FRESH, [Fate.KEPT] * 10
        self.scratch = ""
        self.checked: list[str] = []
        self.refreshed: list[str] = []
        self.first = self.register("sae-one", 1)
        with closing(open_store(self.database)) as store, store.write() as writer:
            writer.put_artifact_alias(self.first.manifest.id, ALIAS)

    def register(self, name: str, seed: int) -> Artifact:
        artifact = write_artifact(self.folder / name, seed)
        with closing(open_store(self.database)) as store, store.write() as writer:
            writer.put_artifact(artifact.manifest, artifact.folder)
        return artifact

    def checkpoint(self, name: str, *, shift: float = 0.0, written: float | None = None) -> Path:
        """A model whose last layers differ from the bundled one's by ``shift``."""
        folder = Path(shutil.copytree(bundled_model(), self.models / name))
        weights = load_file(folder / "model.safetensors")
        weights["model.norm.weight"] = weights["model.norm.weight"] + torch.tensor(shift, dtype=torch.float16)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        for path in folder.iterdir() if written is not None else ():
            os.utime(path, (written, written))  # type: ignore[arg-type]
        return folder

    def check(self, artifact: Artifact, model: Path) -> DriftReport:
        self.checked.append(model.name)
        report = DriftReport(
            id=f"dr_{len(self.checked)}", artifact=artifact.manifest.id, model=model.name,
            fingerprint=identify(model, artifact.manifest.hook).function, created="2026-01-02T00:00:00+00:00",
            state=self.state, reason=f"it is {self.state}", metrics={},
        )  # fmt: skip
        with closing(open_store(self.database)) as store, store.write() as writer:
            writer.put_report(report)
        return report

    def refresh(self, artifact: Artifact, model: Path) -> RefreshReport:
        self.refreshed.append(model.name)
        features = tuple(
            RefreshedFeature(latent=at, label=f"feature {at}", fate=fate, reason="")
            for at, fate in enumerate(self.fates)
        )
        new = "" if self.scratch else self.register(f"refreshed-{len(self.refreshed)}", 7).manifest.id
        return RefreshReport(
            parent=artifact.manifest.id, artifact=new, model=model.name, fingerprint="f", created="2026-01-02",
            reason=self.scratch, explained_variance_before=0.96, explained_variance_stale=0.9, features=features,
        )  # fmt: skip

    @contextmanager
    def watch(self, **options: object) -> Iterator[CheckpointWatch]:
        plan = WatchPlan.model_validate(
            {"models": str(self.models), "database": self.database, "aliases": (ALIAS,), **options}
        )
        with open_log(self.log) as log:
            yield CheckpointWatch(plan, log, self.check, self.refresh)

    def decide(self, **options: object) -> list[Decision]:
        with self.watch(**options) as watch:
            return list(watch.look(settled=True))

    @property
    def production(self) -> str:
        with closing(open_store(self.database)) as store, store.read() as reader:
            return reader.artifact(ALIAS).id


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_one_that_holds_leaves_the_alias_where_it_is_and_is_decided_about_once(world: World) -> None:
    folder = world.checkpoint("step-1")
    (decision,) = world.decide()
    assert (decision.outcome, decision.checkpoint) == (Ruling.HOLDS, str(folder))
    assert (decision.before, decision.after, decision.report) == (
        world.first.manifest.id,
        world.first.manifest.id,
        "dr_1",
    )
    assert world.decide() == []
    assert world.checked == ["step-1"]
    assert [json.loads(line)["outcome"] for line in world.log.read_text().splitlines()] == ["holds"]


@pytest.mark.parametrize(
    ("state", "outcome", "code"),
    [
        (State.STALE, Ruling.STALE, 4),
        (State.UNCHECKED, Ruling.KEPT_BACK, 3),
    ],
)
def test_what_is_stale_or_was_not_checked_moves_nothing(world: World, state: State, outcome: Ruling, code: int) -> None:
    world.state = state
    world.checkpoint("step-1")
    (decision,) = world.decide()
    assert (decision.outcome, decision.reason, outcome.exit_code) == (outcome, f"it is {state}", code)
    assert (world.production, world.refreshed) == (world.first.manifest.id, [])
    with world.watch() as watch:
        assert [each.outcome for each in watch.standing()] == [outcome]


def test_a_suspect_one_is_refreshed_and_the_alias_follows(world: World) -> None:
    world.state, world.fates = State.SUSPECT, [Fate.KEPT] * 9 + [Fate.RETIRED]
    world.checkpoint("step-1")
    (decision,) = world.decide()
    assert decision.outcome is Ruling.REFRESHED
    assert "9 of 10 features kept" in decision.reason
    assert world.production == decision.after != decision.before
    assert world.decide() == []


def test_the_next_checkpoint_is_checked_with_the_refreshed_one(world: World) -> None:
    world.state = State.SUSPECT
    world.checkpoint("step-1", written=1_000)
    world.decide()
    world.state = State.FRESH
    world.checkpoint("step-2", shift=0.1, written=2_000)
    (decision,) = world.decide()
    assert decision.before == decision.after == world.production != world.first.manifest.id


@pytest.mark.parametrize("lost", [Fate.RETIRED, Fate.RELABELLED])
def test_where_too_many_names_are_lost_the_alias_stays_and_the_log_says_where_the_refreshed_one_is(
    world: World, lost: Fate
) -> None:
    world.state, world.fates = State.SUSPECT, [Fate.KEPT] * 7 + [lost] * 3
    world.checkpoint("step-1")
    (decision,) = world.decide()
    assert decision.outcome is Ruling.KEPT_BACK
    assert "70% of the names mean what they meant, but 80% are asked for" in decision.reason
    assert world.production == world.first.manifest.id
    world.fates = [Fate.KEPT] * 7 + [lost] * 3
    assert world.decide(names=0.7) == []  # It was decided about.


def test_where_scratch_is_better_it_says_so(world: World) -> None:
    world.state, world.scratch = State.SUSPECT, "it explains 0.2 of the variance"
    world.checkpoint("step-1")
    (decision,) = world.decide()
    assert (decision.outcome, decision.reason) == (Ruling.STALE, world.scratch)


def test_without_refresh_what_is_suspect_is_only_reported(world: World) -> None:
    world.state = State.SUSPECT
    world.checkpoint("step-1")
    (decision,) = world.decide(refresh=False)
    assert (decision.outcome, world.refreshed) == (Ruling.KEPT_BACK, [])


def test_a_refresh_that_cannot_be_done_is_a_decision_with_its_reason(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(artifact: Artifact, model: Path) -> RefreshReport:
        raise BudgetExceeded("the budget is too small for any training")

    world.state = State.SUSPECT
    world.checkpoint("step-1")
    monkeypatch.setattr(world, "refresh", refused)
    (decision,) = world.decide()
    assert (decision.outcome, decision.reason) == (
        Ruling.KEPT_BACK,
        "it is suspect; not refreshed: the budget is too small for any training",
    )


def test_a_report_on_the_same_function_is_not_made_again(world: World) -> None:
    world.checkpoint("step-1", written=1_000)
    world.decide()
    world.checkpoint("copy", written=2_000)
    (decision,) = world.decide()
    assert (decision.report, world.checked) == ("dr_1", ["step-1"])


def test_one_that_was_stopped_decides_again_and_a_torn_line_is_no_decision(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(artifact: Artifact, model: Path) -> DriftReport:
        raise StoreBusy("killed")

    world.checkpoint("step-1")
    with monkeypatch.context() as patch:
        patch.setattr(world, "check", killed)
        with pytest.raises(StoreBusy):
            world.decide()
    world.log.write_text('{"at": "2026-01-0')
    (decision,) = world.decide()
    assert decision.outcome is Ruling.HOLDS
    assert world.decide() == []


def test_only_the_newest_is_decided_about_numbers_by_their_value(world: World) -> None:
    for name in ("step-1000", "step-900"):
        world.checkpoint(name, written=1_000)
    assert [Path(each.checkpoint).name for each in world.decide()] == ["step-1000"]
    world.checkpoint("late", written=3_000)
    assert [Path(each.checkpoint).name for each in world.decide()] == ["late"]


def test_one_that_is_being_written_waits_until_two_looks_find_the_same(world: World) -> None:
    folder = world.checkpoint("step-1")
    with world.watch() as watch:
        assert list(watch.look()) == []
        (folder / "more.txt").write_text("still writing")
        assert list(watch.look()) == []
        assert len(list(watch.look())) == 1


def test_files_that_change_later_are_decided_about_anew(world: World) -> None:
    folder = world.checkpoint("step-1")
    world.decide()
    shutil.rmtree(folder)
    world.checkpoint("step-1", shift=0.5)
    world.state = State.STALE
    assert [each.outcome for each in world.decide()] == [Ruling.STALE]


def test_an_alias_that_a_person_moved_is_decided_about_anew(world: World) -> None:
    world.state = State.STALE
    world.checkpoint("step-1")
    world.decide()
    trained_anew = world.register("anew", 5)
    with closing(open_store(world.database)) as store, store.write() as writer:
        writer.put_artifact_alias(trained_anew.manifest.id, ALIAS)
    world.state = State.FRESH
    assert [each.outcome for each in world.decide()] == [Ruling.HOLDS]


def test_a_checkpoint_that_cannot_be_read_is_said_and_not_tried_again(world: World) -> None:
    folder = world.checkpoint("step-1")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    (decision,) = world.decide()
    assert (decision.outcome, decision.outcome.exit_code) == (Ruling.UNREADABLE, 4)
    assert "model.safetensors" in decision.reason
    assert (world.decide(), world.checked) == ([], [])


def test_what_cannot_be_watched_is_refused(world: World) -> None:
    assert newest_checkpoint(str(world.models)) is None
    assert world.decide() == []
    world.checkpoint("step-1")
    with pytest.raises(InvalidInput, match="'sae-one' is no alias but the name of an SAE, which cannot move"):
        world.decide(aliases=("sae-one",))
    with pytest.raises(ArtifactNotFound, match="there is no artifact 'staging'"):
        world.decide(aliases=("staging",))
    with pytest.raises(ModelNotFound, match="no folder nowhere"):
        world.decide(models="nowhere")
    with world.watch(), pytest.raises(InvalidInput, match="another watch writes"):
        world.decide()
