"""Training with sae-lens: what it wrote and what we read encode alike; the same seed gives the same SAE, also when the
run was stopped on the way, or ran beside others.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from sae_lens import SAE
from sae_lens.saes.sae import TrainingSAE
from torch import Tensor

from featurehub.dictionary import Dictionary
from featurehub.errors import InvalidInput
from saes.architecture import Architecture
from saes.documents import Document
from saes.evaluate import evaluate
from saes.reader import FakeReader
from saes.recipes import Recipe
from saes.run import TrainConfig, resume_run
from saes.stream import DocumentChunks, Stream, StreamConfig
from saes.train import SaeRun, train
from saes.trainee import Trainee, TrainingProgress

D_MODEL, VOCABULARY = 12, 40
CONFIG = TrainConfig(tokens=38_400, batch_tokens=128, checkpoint_every=0)
RECIPES = {name: Recipe(architecture=name, d_sae=48, k=4, lr=5e-3, seed=3) for name in Architecture}


class Mixing(FakeReader):
    """A token's stream holds something of the token before: two features at a time, in many mixtures."""

    def capture(self, documents: Sequence[Sequence[int]]) -> list[Tensor]:
        return [x + 0.6 * x.roll(1, 0) for x in super().capture(documents)]


def batches(config: TrainConfig = CONFIG) -> Stream:
    documents = [
        Document([0, *(1 + (7 * i + (1 + i % 5) * j) % (VOCABULARY - 1) for j in range(12))], 2) for i in range(60)
    ]
    chunks = DocumentChunks(Mixing(VOCABULARY, D_MODEL), documents, {0}, 16)
    return Stream(chunks, StreamConfig(buffer_tokens=512, batch_tokens=config.batch_tokens))


def x_of(tokens: int = 300) -> Tensor:
    return torch.randn(tokens, D_MODEL, generator=torch.Generator().manual_seed(9)) * 2 + 0.3


def equal(a: Dictionary, b: Dictionary) -> bool:
    """``gain`` and ``offset``, the last two, belong to gated SAEs alone."""
    return all(torch.equal(x, y) for x, y in zip(a[:5], b[:5], strict=True))


class Both:
    """The SAEs that sae-lens loads from the folders that it wrote while we trained, and ours."""

    def __init__(self, folder: Path) -> None:
        def keep(sae: TrainingSAE[Any], path: str) -> object:
            original(sae, folder / sae.cfg.architecture())
            return original(sae, path)

        original = TrainingSAE.save_inference_model
        self.progress: list[TrainingProgress] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TrainingSAE, "save_inference_model", keep)
            trained = train(batches(), D_MODEL, list(RECIPES.values()), CONFIG, progress=self.progress.append)
        self.ours = {name: each.dictionary for name, each in zip(RECIPES, trained, strict=True)}
        self.trained = trained
        self.theirs = {name: SAE.load_from_disk(str(folder / name)) for name in RECIPES}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return Both(tmp_path_factory.mktemp("sae-lens"))


@pytest.mark.parametrize("name", [name for name in Architecture if name is not Architecture.TOPK])
def test_we_encode_exactly_as_sae_lens_does(both: Both, name: Architecture) -> None:
    ours, theirs = both.ours[name], both.theirs[name]
    for x in (x_of(), next(batches())):
        with torch.no_grad():
            wanted = theirs.encode(x)
            a = ours.encode(x)
            assert torch.equal(a > 0, wanted > 0)
            torch.testing.assert_close(a, wanted, rtol=1e-5, atol=1e-5)
            assert (a > 0).any()
            torch.testing.assert_close(ours.decode(a), theirs.decode(wanted), rtol=1e-5, atol=1e-4)


def test_a_topk_sae_keeps_k_latents_on_average_by_a_threshold(both: Both) -> None:
    """sae-lens keeps exactly k of each token; where both keep a latent, its value is the same."""
    x = torch.cat([next(batches()) for _ in range(4)])
    a = both.ours[Architecture.TOPK].encode(x)
    with torch.no_grad():
        wanted = both.theirs[Architecture.TOPK].encode(x)
    assert float((a > 0).sum(-1).float().mean()) == pytest.approx(4.0, rel=0.15)
    shared = (a > 0) & (wanted > 0)
    assert float(shared.sum()) > 0.8 * float((wanted > 0).sum())
    torch.testing.assert_close(a[shared], wanted[shared], rtol=1e-5, atol=1e-5)


def test_an_artifact_of_it_encodes_so_too(both: Both, tmp_path: Path) -> None:
    for ours in both.ours.values():
        ours.save(tmp_path / "sae.safetensors")
        assert torch.equal(Dictionary.load(tmp_path / "sae.safetensors").encode(x_of()), ours.encode(x_of()))


@pytest.mark.parametrize("name", Architecture)
def test_decoder_rows_have_length_one(both: Both, name: Architecture) -> None:
    """Strengths are in units of the stream, so rows must not hide a scale."""
    torch.testing.assert_close(both.ours[name].W_dec.norm(dim=-1), torch.ones(48), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", Architecture)
def test_training_learns_with_about_k_latents(both: Both, name: Architecture) -> None:
    stream = batches()
    quality = evaluate(both.ours[name], [next(stream) for _ in range(4)])
    assert quality.explained_variance > 0.4
    # JumpReLU's thresholds are still on their way after so few steps.
    assert quality.l0 == pytest.approx(4.0, rel=0.6)


def test_progress_names_every_recipe_with_what_it_came_to(both: Both) -> None:
    steps = range(1, CONFIG.steps + 1, 50)
    assert [(p.step, p.recipe) for p in both.progress] == [(i, str(r)) for i in steps for r in RECIPES.values()]
    first, last = ({p.recipe: p for p in both.progress if p.step == step} for step in (steps[0], steps[-1]))
    assert all(last[name].explained_variance > first[name].explained_variance for name in first)
    assert all(0 <= p.dead <= 1 and 0 < p.l0 <= 48 for p in both.progress)
    for each in both.trained:
        assert each.history == [p for p in both.progress if p.recipe == str(each.recipe)]


@pytest.mark.parametrize("name", Architecture)
def test_the_same_seed_gives_the_same_sae_alone_or_beside_others(both: Both, name: Architecture) -> None:
    torch.manual_seed(12345)
    [again] = train(batches(), D_MODEL, [RECIPES[name]], CONFIG)
    assert equal(both.ours[name], again.dictionary)


def test_another_seed_gives_another_sae() -> None:
    short = CONFIG.model_copy(update={"tokens": 1280})
    recipes = [Recipe(d_sae=48, k=4, seed=seed) for seed in (3, 3, 4)]
    one, same, other = train(batches(), D_MODEL, recipes, short)
    assert equal(one.dictionary, same.dictionary)
    assert not equal(one.dictionary, other.dictionary)


@pytest.mark.parametrize("name", [Architecture.BATCHTOPK, Architecture.MATRYOSHKA_BATCHTOPK])
@pytest.mark.parametrize("steps", [20, 60])
def test_a_threshold_fits_k_after_a_few_steps_too(name: Architecture, steps: int) -> None:
    config = CONFIG.model_copy(update={"tokens": 128 * steps})
    [made] = train(batches(), D_MODEL, [RECIPES[name]], config)
    assert evaluate(made.dictionary, islice(batches(), 4)).l0 == pytest.approx(4.0, rel=0.3)


@pytest.mark.parametrize("name", Architecture)
def test_with_a_parent_it_begins_where_the_parent_ended(both: Both, name: Architecture) -> None:
    parent = both.ours[name]
    recipe = RECIPES[name].model_copy(update={"parent": "p" * 64})
    first: list[TrainingProgress] = []
    with pytest.raises(Stopped):
        train(batches(), D_MODEL, [recipe], CONFIG, None, lambda p: stop_at_first(first, p), parents={"p" * 64: parent})
    found = evaluate(parent, islice(batches(), 4))
    assert first[0].explained_variance == pytest.approx(found.explained_variance, abs=0.1)
    assert str(recipe).endswith("-from-pppppppp")


def stop_at_first(told: list[TrainingProgress], progress: TrainingProgress) -> None:
    told.append(progress)
    raise Stopped


@pytest.mark.parametrize("name", [Architecture.JUMPRELU, Architecture.BATCHTOPK])
def test_a_parent_of_a_stream_stays_what_it_was_if_it_learns_nothing(both: Both, name: Architecture) -> None:
    still = RECIPES[name].model_copy(update={"parent": "p", "lr": 1e-12})
    [made] = train(
        batches(), D_MODEL, [still], CONFIG.model_copy(update={"tokens": 640}), parents={"p": both.ours[name]}
    )
    for ours, theirs in zip(made.dictionary[:4], both.ours[name][:4], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(made.dictionary.threshold, both.ours[name].threshold, rtol=0.05, atol=1e-4)


class Stopped(Exception): ...


def test_a_run_that_was_stopped_ends_in_the_same_saes(both: Both, tmp_path: Path) -> None:
    """Stopped at reports, which come every 50 steps; the state of the step before is on disk."""
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    for stop in (0, 1, 5):
        with pytest.raises(Stopped):
            train(batches(), D_MODEL, list(RECIPES.values()), CONFIG, checkpoint, stopping(50 * stop + 1))
        assert checkpoint.is_file() is (stop > 0)
    again = train(batches(), D_MODEL, list(RECIPES.values()), CONFIG, checkpoint)
    for name, trained in zip(RECIPES, again, strict=True):
        assert equal(both.ours[name], trained.dictionary)


def stopping(step: int) -> Any:
    def progress(each: TrainingProgress) -> None:
        if each.step == step:
            raise Stopped

    return progress


def test_the_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    path, short = tmp_path / "checkpoint.safetensors", CONFIG.model_copy(update={"tokens": 1280})
    train(batches(), D_MODEL, [Recipe(d_sae=48, k=4)], short, path)
    with pytest.raises(InvalidInput, match="another recipes"):
        train(batches(), D_MODEL, [Recipe(d_sae=48, k=5)], short, path)
    with pytest.raises(InvalidInput, match="another config"):
        train(batches(), D_MODEL, [Recipe(d_sae=48, k=4)], CONFIG, path)


def test_a_run_whose_time_is_over_ends_in_saes_all_the_same(both: Both, tmp_path: Path) -> None:
    """And one that is started again, with all the time there is, ends in the same ones."""
    checkpoint, told = tmp_path / "checkpoint.safetensors", list[tuple[int, int]]()
    recipes, config = list(RECIPES.values()), CONFIG
    made = train(batches(), D_MODEL, recipes, config, checkpoint, until=0.0, planned=lambda *each: told.append(each))
    assert told == [(0, 300), (0, 20)]
    assert {each.config.tokens for each in made} == {20 * 128}
    again = train(batches(), D_MODEL, recipes, config, checkpoint)
    assert all(equal(ours.dictionary, theirs.dictionary) for ours, theirs in zip(made, again, strict=True))


@pytest.mark.parametrize("name", Architecture)
def test_a_shortened_run_reaches_the_end_of_every_schedule(name: Architecture) -> None:
    whole, short = (SaeRun(batches(), D_MODEL, [RECIPES[name]], CONFIG, {}) for _ in range(2))
    resume_run(whole)
    resume_run(short, until=0.0)
    assert (short.done, short.place) == (20, whole.place)
    [ours], [theirs] = short.trainees, whole.trainees
    assert rate_of(ours) == pytest.approx(rate_of(theirs), rel=1e-6)
    assert rate_of(ours) == pytest.approx(RECIPES[name].lr / 10, rel=1e-3)
    for each, other in zip(*(t.trainer.coefficient_schedulers.values() for t in (ours, theirs)), strict=True):
        assert each.current_step == other.current_step
        assert each.value == pytest.approx(each.final_value, rel=0.1)


def rate_of(trainee: Trainee) -> float:
    return trainee.trainer.optimizer.param_groups[0]["lr"]


def test_products_in_bfloat16_train_about_the_same_sae(both: Both) -> None:
    """Mixed precision: weights stay float32, and what comes out is another SAE of the same quality."""
    recipe, stream = RECIPES[Architecture.BATCHTOPK], batches()
    [mixed] = train(batches(), D_MODEL, [recipe], CONFIG.model_copy(update={"autocast": True}))
    held_out = [next(stream) for _ in range(4)]
    ours, theirs = (evaluate(d, held_out) for d in (mixed.dictionary, both.ours[recipe.architecture]))
    assert not equal(mixed.dictionary, both.ours[recipe.architecture])
    assert ours.explained_variance == pytest.approx(theirs.explained_variance, abs=0.05)
    assert ours.l0 == pytest.approx(theirs.l0, rel=0.15)


@pytest.mark.parametrize(
    ("recipe", "named"),
    [
        (Recipe(d_sae=8, k=8), "below d_sae = 8"),
        (Recipe(d_sae=8, k=9.5), "below d_sae = 8"),
        (Recipe(architecture=Architecture.TOPK, d_sae=8, k=2.5), "whole number"),
    ],
)
def test_a_recipe_that_cannot_be_made_is_refused(recipe: Recipe, named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        train(batches(), D_MODEL, [recipe], CONFIG)


def test_as_many_tokens_are_trained_on_as_were_asked_for() -> None:
    handed_out: list[int] = []
    config = TrainConfig(tokens=64 * 20, batch_tokens=64)
    stream = batches(config)
    stream.progress = handed_out.append
    train(stream, D_MODEL, [Recipe(d_sae=8, k=2)], config)
    # Twenty to measure the scale, as many to train on; thresholds are measured on what is left in the buffer.
    assert sum(handed_out) == 64 * (20 + 20)
