"""What a build starts and says, on a stand-in for the engine; real builds are in tests/end_to_end."""

import re
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from featurehub.artifacts.artifact import verify
from featurehub.artifacts.manifest import HookPoint
from featurehub.demo.bundle import bundled_model
from featurehub.engine.config import EngineConfig
from featurehub.errors import BudgetExceeded
from featurehub.runs import build as building
from featurehub.runs import engines
from featurehub.runs import register as registering
from featurehub.runs.build import BuildPlan, build
from featurehub.runs.material import MaterialConfig
from featurehub.runs.training import SaeTraining
from featurehub.store import open_store
from labeling.judge import WordJudge
from labeling.label import LabelConfig, label_latents
from saes.budget import Budget
from saes.recipes import Recipe
from saes.run import TrainConfig
from tests.runs.fakes import WIDTH, FakeEngine, describe
from tests.runs.recording import Recording

TEXT = [f"the loan is good . number {i} is {'bad' if i % 3 else 'fine'} ." for i in range(80)]
PROMPTS = ["the loan is", "number", "the"]
HEARD = [
    "identifying the model",
    "starting the engine with the SAE",
    "tokenizing the text",
    "measuring how fast the model reads and answers",
    "starting the engine",
    "measuring what it will cost",
    "harvesting",
    "training",
    "reading held-out documents",
    "starting the engine with the SAE",
    "choosing canaries and answering their prompts",
    "writing the database",
    "answering unsteered",
    "computing output scores",
    "calibrating",
]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[EngineConfig]:
    """What the engines that a run starts are told."""
    configs: list[EngineConfig] = []

    def start(model: Path, config: EngineConfig, options: object) -> FakeEngine:
        configs.append(config)
        return FakeEngine()

    monkeypatch.setattr(engines, "Engine", start)
    # Labelling needs a model that says something; it has its own tests.
    monkeypatch.setattr(building, "describe", describe)
    return configs


def plan_of(out: Path) -> BuildPlan:
    training = SaeTraining(
        recipes=(Recipe(d_sae=24, k=4),), config=TrainConfig(tokens=256, batch_tokens=16), buffer_tokens=64
    )
    return BuildPlan(
        model=bundled_model(),
        out=out,
        database=str(out.with_name("features.db")),
        name="sae",
        layer=2,
        material=MaterialConfig(text="loans"),
        training=training,
    )


def test_one_engine_reads_all_text_and_one_holds_the_sae_and_does_the_rest(
    tmp_path: Path, started: list[EngineConfig]
) -> None:
    artifact = build(plan_of(tmp_path / "sae"), TEXT, WordJudge(), PROMPTS)
    verify(artifact)
    trying, reading, steering = started
    assert trying.hooks[0].point == steering.hooks[0].point
    assert reading == EngineConfig.capturing(HookPoint(layer=2), truncated=True)
    assert not steering.truncated
    [sae] = steering.saes.values()
    assert (sae.id, sae.d_sae) == (artifact.manifest.id, 24)
    assert steering.hooks[0].point == artifact.manifest.hook
    assert (artifact.manifest.d_model, artifact.manifest.dataset["name"]) == (WIDTH, "loans")
    assert not list(tmp_path.glob("*.partial-*"))


def test_who_starts_a_build_hears_its_phases_and_how_far_it_is(tmp_path: Path, started: list[EngineConfig]) -> None:
    heard = Recording()
    build(plan_of(tmp_path / "sae"), TEXT, WordJudge(), PROMPTS, heard)
    assert heard.phases == HEARD
    training, reading = heard.works["training"], heard.works["reading held-out documents"]
    assert (training.total, training.unit) == (256, "tokens")
    assert training.words.startswith("EV ")
    assert (reading.done, reading.total, reading.unit) == (20, 20, "documents")
    table = [message.split()[0] for message in heard.messages[:7]]
    assert table == ["read", "start", "evaluate", "keep", "label", "calibrate", "in"]
    assert re.search(r"read and train +256 tokens +about \d", heard.messages[0])
    assert re.search(r"evaluate +\d+ tokens +about \d", heard.messages[2])
    assert heard.messages[-1] == "6 features are calibrated"
    assert not heard.warnings


def test_a_budget_of_time_ends_in_an_sae_even_where_few_latents_can_be_labelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def choosy(corpus: Any, config: LabelConfig | None, **others: Any) -> Any:
        often = (config or LabelConfig()).model_copy(update={"min_passages": 10**6})
        return label_latents(corpus, often, **others)

    monkeypatch.setattr(engines, "Engine", FakeEngine)
    monkeypatch.setattr(registering, "label_latents", choosy)
    plan, heard = plan_of(tmp_path / "sae"), Recording()
    with pytest.raises(BudgetExceeded, match="stay without a label"):
        build(plan, TEXT, WordJudge(), PROMPTS)
    assert not plan.out.exists()
    timed = plan.training.model_copy(update={"budget": Budget(seconds=3600)})
    verify(build(plan.model_copy(update={"training": timed}), TEXT, WordJudge(), PROMPTS, heard))
    [warning] = heard.warnings
    assert "live latents have no label: in the 20 documents that were read" in warning
    with closing(open_store(plan.database)) as store, store.read() as reader:
        assert reader.features("sae")
