"""What a build leaves when it is stopped in its last phase, and how calibration goes on: on a stand-in engine."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from featurehub.artifacts.artifact import Artifact, open_artifact, verify
from featurehub.demo.bundle import bundled_model, sibling
from featurehub.errors import FeatureNotFound, IncompatibleArtifact, InvalidInput
from featurehub.features import Feature
from featurehub.records import Calibration
from featurehub.runs import build as building
from featurehub.runs import engines
from featurehub.runs.basis import BASIS, CalibrationBasis
from featurehub.runs.build import BuildPlan, build
from featurehub.runs.calibrate import CalibratePlan, calibrate_artifact
from featurehub.runs.costs import training_bar
from featurehub.runs.progress import SILENT
from featurehub.runs.register import Description, candidates_of
from featurehub.store import open_store
from labeling import output_score
from labeling.calibration import CalibrationConfig
from labeling.judge import WordJudge
from labeling.output_score import OutputScores
from labeling.strength import Calibrator
from saes.budget import Budget
from saes.cost import Job
from saes.run import TrainConfig
from saes.stream import DocumentChunks
from tests.labels import labeled
from tests.runs.fakes import NAMES, FakeEngine, describe
from tests.runs.recording import Recording
from tests.runs.test_build import PROMPTS, TEXT, plan_of

FEW = CalibrationConfig(names_per_round=2, answers=2, confirm=3, unsteered=4)


class Counting(FakeEngine):
    started: int
    answered: int

    def __init__(self, *_: object) -> None:
        Counting.started += 1
        super().__init__()

    def generate(self, prompts: Any, *rest: object) -> Iterator[Any]:
        Counting.answered += len(prompts)
        return super().generate(prompts, *rest)


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    Counting.started = Counting.answered = 0
    monkeypatch.setattr(engines, "Engine", Counting)
    monkeypatch.setattr(building, "describe", describe)


def few(out: Path, **fields: Any) -> BuildPlan:
    return plan_of(out).model_copy(update={"calibration": FEW, **fields})


def make(plan: BuildPlan, heard: Recording | None = None) -> Artifact:
    return build(plan, TEXT, WordJudge(), PROMPTS, heard or Recording())


def features(plan: BuildPlan) -> dict[str, Feature]:
    with closing(open_store(plan.database)) as store, store.read() as reader:
        return {f.label.split(":")[0]: f for f in reader.features("sae") if f.label}


def calibration(plan: BuildPlan, name: str) -> Calibration:
    with closing(open_store(plan.database)) as store, store.read() as reader:
        found = reader.details(reader.resolve(name).id).calibration
    assert found is not None
    return found


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Stops the next calibration in its round with this number."""
    with monkeypatch.context() as patch:

        def stop_in(number: int) -> None:
            rounds: list[int] = []
            whole = Calibrator.round

            def round(calibrator: Calibrator, candidates: Any) -> dict[int, Calibration]:
                rounds.append(1)
                if len(rounds) == number:
                    raise KeyboardInterrupt
                return whole(calibrator, candidates)

            patch.setattr(Calibrator, "round", round)

        yield stop_in


def test_a_calibration_that_is_stopped_at_once_leaves_a_labelled_sae_that_steers_at_the_usual_dose(
    tmp_path: Path, stopped: Any
) -> None:
    plan = few(tmp_path / "sae")
    stopped(1)
    with pytest.raises(KeyboardInterrupt):
        make(plan)
    verify(open_artifact(plan.out))
    found = features(plan)
    assert found.keys() == set(NAMES)
    assert all(f.never_steered for f in found.values())
    assert {calibration(plan, name).method for name in NAMES} == {"dose"}
    assert {calibration(plan, name).dose for name in NAMES} == {0.375}
    with closing(open_store(plan.database)) as store, store.read() as reader:
        assert [f.label for f in reader.search("dog").features] == ["dog: word"]


def test_a_build_that_is_started_again_goes_on_with_the_calibration_and_repeats_nothing(
    tmp_path: Path, stopped: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = few(tmp_path / "sae")
    stopped(2)
    with pytest.raises(KeyboardInterrupt):
        make(plan)
    assert [f.never_steered for f in features(plan).values()] == [False, False, True, True, True, True]
    first = {name: calibration(plan, name) for name in NAMES[:2]}
    monkeypatch.undo()
    monkeypatch.setattr(engines, "Engine", Counting)
    monkeypatch.setattr(building, "describe", describe)
    Counting.started = Counting.answered = 0
    heard = Recording()
    make(plan, heard)
    assert Counting.started == 1
    assert "training" not in heard.phases
    assert "answering unsteered" not in heard.phases
    # Four names of one candidate each: four doses, two of them again, and confirmed.
    assert Counting.answered == 4 * (4 * 2 + 2 * 2 + 3)
    assert {name: calibration(plan, name) for name in NAMES[:2]} == first
    assert not any(f.never_steered for f in features(plan).values())
    make(plan, heard)
    assert Counting.started == 1
    assert heard.messages[-1].endswith("is built, registered and calibrated already; remove it to build it anew")


def test_another_text_or_recipe_is_another_build(tmp_path: Path) -> None:
    plan = few(tmp_path / "sae")
    make(plan)
    heard = Recording()
    build(plan, TEXT[:-1], WordJudge(), PROMPTS, heard)
    assert "training" in heard.phases
    assert plan.digest(TEXT) == few(tmp_path / "other", calibration=CalibrationConfig()).digest(TEXT)
    assert plan.digest(TEXT) != plan.model_copy(update={"layer": 1}).digest(TEXT)


def test_when_the_time_is_over_what_is_left_is_said_and_another_run_goes_on(tmp_path: Path) -> None:
    plan = few(tmp_path / "sae", calibration=FEW.model_copy(update={"names": 2}))
    artifact, heard = make(plan), Recording()
    assert sum(not f.never_steered for f in features(plan).values()) == 2
    basis = CalibrationBasis.open(artifact)
    over = CalibratePlan(model=bundled_model(), database=plan.database, budget=Budget(seconds=1e-6))
    assert calibrate_artifact(over, artifact, basis, heard).left == 4
    assert "4 promising names are left, `featurehub calibrate" in heard.messages[-1]
    rest = calibrate_artifact(over.model_copy(update={"budget": Budget()}), artifact, basis)
    assert ([f.label.split(":")[0] for f, _ in rest.features], rest.left) == (["sea", "sun", "law", "war"], 0)
    assert all(each.method == "steered" and each.answers == 3 for _, each in rest.features)


def test_output_scores_say_whom_to_steer_first_and_what_to_expect_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are computed once, and are kept where a calibration was stopped."""
    # The worse its label, the more a feature writes it: the order is that of neither alone.
    found = {latent: latent**2 / 10 for latent in range(len(NAMES))}
    monkeypatch.setattr(OutputScores, "of", lambda _, features: {f.latent: found[f.latent] for f in features})
    monkeypatch.setattr(output_score, "FEWEST_STEERED", 2)
    plan = few(tmp_path / "sae", calibration=FEW.model_copy(update={"names": 2}))
    make(plan)
    scored = {name: calibration(plan, name) for name in NAMES}
    assert [each.output_score for each in scored.values()] == list(found.values())
    promise = {name: (0.9 - i / 10) * (i + 1) / len(NAMES) for i, name in enumerate(NAMES)}
    first = sorted(NAMES, key=lambda name: -promise[name])[:2]
    assert [name for name in NAMES if scored[name].method == "steered"] == sorted(first, key=NAMES.index)
    expected = [each.expected_steerability is not None for each in scored.values()]
    assert expected == [each.method == "dose" for each in scored.values()]
    monkeypatch.setattr(OutputScores, "of", lambda *_: pytest.fail("they are known"))
    own = CalibratePlan(model=bundled_model(), database=plan.database)
    done = calibrate_artifact(own, open_artifact(plan.out), CalibrationBasis.open(open_artifact(plan.out)))
    assert [f.label.split(":")[0] for f, _ in done.features] == sorted(
        set(NAMES) - set(first), key=lambda name: -promise[name]
    )
    assert all(calibration(plan, name).output_score is not None for name in NAMES)


def test_a_feature_that_is_named_is_calibrated_now_with_more_answers_and_these_stay(tmp_path: Path) -> None:
    plan = few(tmp_path / "sae")
    artifact = make(plan)
    basis, own = CalibrationBasis.open(artifact), CalibratePlan(model=bundled_model(), database=plan.database)
    done = calibrate_artifact(own.model_copy(update={"names": ("sun",)}), artifact, basis)
    [(feature, found)] = done.features
    assert (feature.label, found.answers) == ("sun: word", 9)
    assert calibration(plan, "sun") == found
    with closing(open_store(plan.database)) as store, store.write() as writer:
        assert writer.improve_calibrations({feature.id: found.model_copy(update={"answers": 3})}) == []
        assert writer.improve_calibrations({feature.id: found}) == [feature.id]


def test_unsteered_answers_are_kept_and_only_those_that_are_lacking_are_given(tmp_path: Path) -> None:
    """A short budget may have had room for a few only."""
    plan = few(tmp_path / "sae", calibration=FEW.model_copy(update={"names": 2}))
    artifact = make(plan)
    more = FEW.model_copy(update={"names": 2, "unsteered": 7})
    basis = CalibrationBasis.open(artifact).model_copy(update={"calibration": more})
    own = CalibratePlan(model=bundled_model(), database=plan.database, names=("sun",))
    Counting.answered = 0
    heard = Recording()
    calibrate_artifact(own, artifact, basis, heard)
    assert heard.works["answering unsteered"].total == 2 * 3 * more.sampling.max_tokens
    assert Counting.answered == 2 * 3 + 4 * 6 + 2 * 6 + 9
    calibrate_artifact(own, artifact, basis, again := Recording())
    assert "answering unsteered" not in again.works


def test_what_cannot_be_calibrated_is_refused_before_an_engine_starts(tmp_path: Path) -> None:
    plan = few(tmp_path / "sae")
    artifact = make(plan)
    basis, own = CalibrationBasis.open(artifact), CalibratePlan(model=bundled_model(), database=plan.database)
    Counting.started = 0
    with pytest.raises(FeatureNotFound):
        calibrate_artifact(own.model_copy(update={"names": ("moon",)}), artifact, basis)
    with pytest.raises(InvalidInput, match="has no label"):
        calibrate_artifact(own.model_copy(update={"names": ("latent-9",)}), artifact, basis)
    with pytest.raises(IncompatibleArtifact):
        calibrate_artifact(own.model_copy(update={"model": sibling("changed")}), artifact, basis)
    (artifact.folder / BASIS).unlink()
    with pytest.raises(InvalidInput, match="give --text"):
        CalibrationBasis.open(artifact)
    assert Counting.started == 0


def test_the_judge_comes_back_with_its_words(tmp_path: Path) -> None:
    judge = WordJudge(vocabulary=frozenset({"loan", "dog"}))
    CalibrationBasis.of(judge, PROMPTS, made_from="x").keep(tmp_path, SILENT)
    found = CalibrationBasis.find(tmp_path)
    assert found is not None
    again = found.open_judge()
    assert isinstance(again, WordJudge)
    assert again.vocabulary == judge.vocabulary
    assert found.prompts == tuple(PROMPTS)


def test_where_the_folder_cannot_be_written_it_is_said_that_calibration_will_need_the_text(tmp_path: Path) -> None:
    heard = Recording()
    (tmp_path / "sae").write_text("no folder")
    CalibrationBasis.of(WordJudge(), PROMPTS, made_from="x").keep(tmp_path / "sae", heard)
    assert "will need --text" in heard.warnings[0]


def test_of_features_that_share_a_name_the_one_that_steers_best_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the name that it had before finds it still."""

    def rivals(*arguments: Any) -> Description:
        found = describe(*arguments)
        named = [("loan: bank", 0.9), ("loan (money): debt", 0.8)]
        given = [found.labels[i]._replace(outcome=labeled(label, score=s)) for i, (label, s) in enumerate(named)]
        labels = [*given, *found.labels[6:]]
        return found._replace(labels=labels, candidates=candidates_of(arguments[2].dictionary, labels))

    def round(calibrator: Calibrator, candidates: Any) -> dict[int, Calibration]:
        shares = {0: 0.1, 1: 0.9}
        return {
            c.latent: Calibration(strength=1.0, dose=0.6, steerability=shares[c.latent], answers=9, method="steered")
            for c in candidates
        }

    monkeypatch.setattr(building, "describe", rivals)
    monkeypatch.setattr(Calibrator, "round", round)
    plan = few(tmp_path / "sae")
    make(plan)
    with closing(open_store(plan.database)) as store, store.read() as reader:
        assert [reader.resolve(name).latent for name in ("loan", "loan (money)")] == [1, 1]
        assert reader.resolve("loan (bank)").latent == 0


def test_a_training_that_was_shortened_says_so_and_reading_is_seen_too() -> None:
    heard, chunks = Recording(), DocumentChunks(FakeEngine(), [], ())
    job = Job(
        train=TrainConfig(tokens=1000, batch_tokens=10), buffer_tokens=80, weights=1, latents=1, width=1,
        text_tokens=9000, chunk_tokens=10, token_bytes=1,
    )  # fmt: skip
    with training_bar(job, chunks, heard) as bar:
        work = heard.works["reading and training"]
        assert work.total == 1000 + job.wanted
        bar.plan(0, 100)
        chunks.progress(300)
        assert work.done == 300
        bar.plan(10, 70)
    assert heard.messages == ["trained on 700 of 1,000 tokens: the time ran short"]
    assert (bar.job.train.tokens, work.total) == (700, 700 + bar.job.wanted)
    assert work.done == 100 + bar.job.wanted - 600
