"""`featurehub train` and `featurehub label` on the real engine: two SAEs of one stream, one of them labelled."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pytest
import torch

from featurehub.artifacts.artifact import Artifact, verify
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.cli.making import table_of
from featurehub.demo.bundle import bundled_model, sibling
from featurehub.demo.corpus import conversations, messages
from featurehub.dictionary import Dictionary
from featurehub.errors import BudgetExceeded, IncompatibleArtifact, InvalidInput
from featurehub.runs.costs import negotiate_cost
from featurehub.runs.judges import RecognizerJudge
from featurehub.runs.label import LabelPlan, label_artifact
from featurehub.runs.material import MaterialConfig
from featurehub.runs.progress import SILENT
from featurehub.runs.recipes import RecipeOptions, hook_from, recipes_for, recipes_from
from featurehub.runs.train import train_artifacts
from featurehub.runs.training import SaeTraining, TrainPlan, job_of
from featurehub.store import open_store
from labeling.strength import CalibrationConfig
from saes.architecture import Architecture
from saes.budget import Budget
from saes.cost import Rates
from saes.defaults import default_recipe
from saes.documents import Document
from saes.recipes import Recipe
from saes.run import TrainConfig

pytestmark = pytest.mark.engine

ENTRIES = [messages(conversation) for conversation in islice(conversations(5), 240)]
RECIPES = (Recipe(d_sae=64, k=6), Recipe(architecture=Architecture.STANDARD, d_sae=48, k=6, seed=1))
MODEL, RATES = bundled_model(), Rates(read=1e4, train=1e4)


def plan_of(out: Path, model: Path = MODEL, **fields: object) -> TrainPlan:
    """fields: of its training"""
    small = {
        "recipes": RECIPES,
        "config": TrainConfig(tokens=120_000, batch_tokens=1024),
        "buffer_tokens": 4096,
        "budget": Budget(tokens=81_920),
    }
    training, material = SaeTraining.model_validate(small | fields), MaterialConfig(text="conversations")
    return TrainPlan(model=model, out=out, layer=2, material=material, training=training)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[Artifact]:
    return train_artifacts(plan_of(tmp_path_factory.mktemp("trained") / "saes"), ENTRIES)


def test_each_recipe_becomes_an_artifact(trained: Sequence[Artifact]) -> None:
    assert [artifact.folder.name for artifact in trained] == [str(recipe) for recipe in RECIPES]
    for artifact, recipe in zip(trained, RECIPES, strict=True):
        verify(artifact)
        manifest = artifact.manifest
        assert (manifest.architecture, manifest.d_sae, manifest.k) == (recipe.architecture, recipe.d_sae, recipe.k)
        assert manifest.model == identify(bundled_model(), HookPoint(layer=2))
        assert manifest.dataset.keys() == {"name", "documents", "tokens", "hash"}
        assert (manifest.dataset["name"], manifest.dataset["documents"]) == ("conversations", 180)
        assert Dictionary.load(artifact.weights).d_sae == recipe.d_sae
        assert 0.2 < manifest.metrics["explained_variance"] < 1
    assert table_of(trained).row_count == 2


def test_the_budget_is_kept_and_said(trained: Sequence[Artifact]) -> None:
    assert [artifact.manifest.training["tokens"] for artifact in trained] == [81_920] * 2


def test_its_report_lies_in_the_artifact(trained: Sequence[Artifact]) -> None:
    assert all("Plotly.newPlot" in (artifact.folder / "training.html").read_text() for artifact in trained)


def test_nothing_but_the_saes_stays(trained: Sequence[Artifact]) -> None:
    out = trained[0].folder.parent
    assert list(out.parent.iterdir()) == [out]


def test_one_begins_with_another_of_a_retrained_model_and_is_its_child(
    trained: Sequence[Artifact], tmp_path: Path
) -> None:
    parent, model = trained[0], sibling("benign")
    [recipe] = recipes_from(parent, model, RecipeOptions())
    assert (recipe.architecture, recipe.d_sae, recipe.k) == (Architecture.BATCHTOPK, 64, 6)
    config = TrainConfig(tokens=10_240, batch_tokens=1024)
    fields = {"recipes": [recipe], "parents": [parent.folder], "config": config, "budget": Budget()}
    [child] = train_artifacts(plan_of(tmp_path / "saes", model, **fields), ENTRIES)
    assert child.manifest.parent == parent.manifest.id
    assert child.manifest.model == identify(model, HookPoint(layer=2))
    ours, theirs = (Dictionary.load(each.weights).W_dec for each in (child, parent))
    assert float(torch.cosine_similarity(ours, theirs).min()) > 0.5
    assert not torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (RecipeOptions(latents=[32]), "leave out --architecture and --latents"),
        (RecipeOptions(architectures=[Architecture.TOPK]), "has its form, batchtopk of 64 latents"),
    ],
)
def test_a_child_has_its_parents_form(trained: Sequence[Artifact], options: RecipeOptions, named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        recipes_from(trained[0], bundled_model(), options)


def test_a_child_reads_where_its_parent_reads(trained: Sequence[Artifact]) -> None:
    assert hook_from(trained[0], None, None) == (2, Site.RESID_POST)
    for layer, site in ((1, None), (None, Site.MLP_OUT)):
        with pytest.raises(InvalidInput, match=r"reads at layers\.2\.resid_post"):
            hook_from(trained[0], layer, site)


def test_forms_that_are_not_trained_here_are_no_parents(trained: Sequence[Artifact]) -> None:
    gated = trained[0]._replace(manifest=trained[0].manifest.model_copy(update={"architecture": "gated"}))
    with pytest.raises(InvalidInput, match="is a gated SAE, which is not trained here; known are standard"):
        recipes_from(gated, bundled_model(), RecipeOptions())


def test_what_nobody_asked_for_follows_from_the_models_width() -> None:
    [recipe] = recipes_for(bundled_model(), RecipeOptions())
    assert recipe == default_recipe(192)
    several = recipes_for(
        bundled_model(), RecipeOptions(list(Architecture)[:2], [32, 64, 32], k=3, lr=1e-3, seeds=[0, 1])
    )
    assert len(several) == 8
    assert {(r.d_sae, r.k, r.lr, r.seed) for r in several} == {(d, 3, 1e-3, s) for d in (32, 64) for s in (0, 1)}


def label_plan(database: Path) -> LabelPlan:
    few = CalibrationConfig(doses=(0.5,), names=2, candidates_per_name=1, finalists=1, answers=2, confirm=2)
    return LabelPlan(model=bundled_model(), database=str(database), calibration=few)


def test_one_of_them_is_labelled_and_registered(trained: Sequence[Artifact], tmp_path: Path) -> None:
    artifact, database = trained[0], tmp_path / "features.db"
    plan = label_plan(database)
    label_artifact(plan, artifact, ENTRIES, RecognizerJudge(), ["tell me something ."])
    with open_store(database).read() as reader:
        assert Path(reader.artifact(artifact.manifest.name).path) == artifact.folder
        features = reader.features(artifact.manifest.id)
    assert sum(bool(feature.label) for feature in features) > 5
    assert all(feature.strength for feature in features if feature.label)


def test_an_sae_is_labelled_on_no_other_model(trained: Sequence[Artifact], tmp_path: Path) -> None:
    stranger = trained[0].manifest.model.model_copy(update={"reads": "0" * 64, "whole": "1" * 64})
    other = trained[0]._replace(manifest=trained[0].manifest.model_copy(update={"model": stranger}))
    with pytest.raises(IncompatibleArtifact, match=r"is not the model that .* differ in weights"):
        label_artifact(label_plan(tmp_path / "f.db"), other, ENTRIES, RecognizerJudge(), ["tell me ."])
    assert not (tmp_path / "f.db").exists()


def test_a_run_that_goes_on_keeps_the_tokens_that_were_decided(tmp_path: Path) -> None:
    """Whatever the budget is then: another number of tokens would be another run."""
    plan = plan_of(tmp_path / "saes")
    job = job_of(plan.training, 192, [Document([1] * 100, 1)] * 100, ())
    first = negotiate_cost(job, Budget(seconds=10), RATES, tmp_path / "partial", SILENT)
    assert first.train.tokens < job.train.tokens
    assert negotiate_cost(job, Budget(seconds=1000), RATES, tmp_path / "partial", SILENT) == first


def test_a_budget_that_is_too_small_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(BudgetExceeded, match="too small"):
        train_artifacts(plan_of(tmp_path / "saes", budget=Budget(tokens=2000)), ENTRIES)
    assert not list(tmp_path.iterdir())
