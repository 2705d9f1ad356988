"""A model that nobody here made: harvested, trained, labelled, and steered by names that search finds."""

import os
from pathlib import Path

import pytest

from featurehub.artifacts.artifact import Artifact
from featurehub.edits import LatentEdit, Steering
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions, Sampling
from featurehub.features import Mode
from featurehub.runs.baseline import BaselineConfig
from featurehub.runs.build import BuildPlan, build
from featurehub.runs.judges import judge_of
from featurehub.runs.training import SaeTraining
from featurehub.store import open_store
from labeling.judge import WordJudge
from labeling.strength import CalibrationConfig
from saes.recipes import Recipe
from saes.run import TrainConfig
from saes.texts import read_texts

pytestmark = [pytest.mark.engine, pytest.mark.shared]

SHARED = Path(os.environ.get("FEATUREHUB_SHARED", Path(__file__).parents[3] / "shared")) / "data"
MODEL, TEXT = SHARED / "stories260k", SHARED / "tinystories_1000.json"
START = "Once upon a time, there was a"


@pytest.fixture(scope="module")
def story_sae(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, str]:
    if not MODEL.is_dir():
        pytest.skip(f"the shared folder with stories260k is not at {SHARED}")
    folder = tmp_path_factory.mktemp("stories")
    plan = BuildPlan(
        model=MODEL,
        out=folder / "sae",
        database=str(folder / "stories.db"),
        name="stories",
        training=SaeTraining(recipes=(Recipe(d_sae=512),), config=TrainConfig(tokens=200_000)),
        baseline=BaselineConfig(documents=150),
        calibration=CalibrationConfig(
            doses=(0.5, 0.9),
            names=15,
            candidates_per_name=1,
            answers=6,
            confirm=6,
            screen_tokens=96,
            sampling=Sampling(temperature=0.7, max_tokens=96, seed=101),
        ),
    )
    texts = read_texts(TEXT)[:600]
    return build(plan, texts, judge_of(texts), [START]), plan.database


def test_a_feature_found_by_name_turns_stories_to_its_subject(story_sae: tuple[Artifact, str]) -> None:
    artifact, database = story_sae
    with open_store(database).read() as reader:
        tested = [f for f in reader.features(artifact.manifest.id) if f.steerability is not None]
    best = max(tested, key=lambda f: f.steerability or 0.0)
    assert best.steerability is not None
    assert best.steerability > 0.3
    with open_store(database).read() as reader:
        label = reader.labels(artifact.manifest.id)[best.latent]
        assert best in reader.search(label.head, limit=5).features
    with Engine(MODEL, EngineConfig.holding(artifact), EngineOptions(max_model_len=256)) as engine:
        prompts = [engine.tokenizer(START)["input_ids"]] * 32
        edit = LatentEdit(latent=best.latent, mode=Mode.NUDGE, value=best.strength or 0.0)
        sampling = Sampling(temperature=0.7, max_tokens=80, seed=4321)
        steered = [a.text for a in engine.generate(prompts, [Steering(edits=(edit,))] * 32, sampling)]
        plain = [a.text for a in engine.generate(prompts, [None] * 32, sampling)]
    shown, unsteered = (WordJudge().shows(label, texts).mean() for texts in (steered, plain))
    assert shown > unsteered + 0.2
