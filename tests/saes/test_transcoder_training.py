"""Training of transcoders: planted ones are found again, dead latents revive, and a stopped run ends in the same."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from featurehub.errors import InvalidInput
from saes.run import TrainConfig, resume_run
from saes.stream import Stream, StreamConfig
from saes.transcoders.pairs import Pairs, pairs
from saes.transcoders.quality import evaluate_transcoder
from saes.transcoders.trainable import Scale, Trainable, TranscoderRecipe, fold, least_kept, lengths
from saes.transcoders.training import TranscoderProgress, TranscoderRun, rate, train_transcoder
from saes.transcoders.transcoder import Transcoder

D_MODEL, PLANTED, LAYERS = 32, 24, 2
CONFIG = TrainConfig(tokens=256 * 220, batch_tokens=256, checkpoint_every=0)
RECIPE = TranscoderRecipe(d_sae=32, k=2.0, lr=1.5e-2)


class Planted:
    """Each layer's stream is a few of its directions; those of the first layer are written at both.

    As a trainer's chunks, all but the last fifth of the tokens, which is held out.
    """

    def __init__(self, tokens: int = 5120) -> None:
        generator = torch.Generator().manual_seed(1)

        def directions(*shape: int) -> Tensor:
            return normalize(torch.randn(*shape, PLANTED, D_MODEL, generator=generator), dim=-1)

        read, self.first, second = directions(LAYERS), directions(LAYERS), directions()
        shape = (tokens, LAYERS, PLANTED)
        active = torch.rand(shape, generator=generator) < 2 / PLANTED
        a = active * (1 + torch.rand(shape, generator=generator))
        x = torch.einsum("tls,lsd->tld", a, read)
        y = torch.stack([a[:, 0] @ self.first[0], a[:, 0] @ self.first[1] + a[:, 1] @ second], dim=1)
        # Offsets and sizes of their own, as a model's layers have them.
        columns = torch.stack([3 * x + 1, 0.2 * y - 2], dim=2).flatten(1)
        *self.parts, held_out = columns.chunk(5)
        self.held_out = pairs(held_out, LAYERS)

    def __len__(self) -> int:
        return len(self.parts)

    def streams(self, chunk: int) -> list[Tensor]:
        return [self.parts[chunk]]


@pytest.fixture(scope="module")
def planted() -> Planted:
    return Planted()


def stream(planted: Planted) -> Stream:
    return Stream(planted, StreamConfig(buffer_tokens=1024, batch_tokens=256))


@pytest.fixture(scope="module")
def trained(planted: Planted) -> Transcoder:
    return train_transcoder(stream(planted), LAYERS, D_MODEL, RECIPE, CONFIG)


def test_a_planted_transcoder_is_found(planted: Planted, trained: Transcoder) -> None:
    quality = evaluate_transcoder(trained, [planted.held_out])
    assert min(quality.explained_variance) > 0.95
    assert sum(quality.l0) / LAYERS == pytest.approx(RECIPE.k, rel=0.15)
    shuffled = Pairs(planted.held_out.x.flip(0), planted.held_out.y)
    assert max(evaluate_transcoder(trained, [shuffled]).explained_variance) < 0


def test_its_latents_are_the_planted_ones_and_write_where_these_do(planted: Planted, trained: Transcoder) -> None:
    """Of the first layer, whose latents write at both."""
    both = torch.cat([trained.W_dec[0][0], trained.W_dec[1][0]], dim=-1)
    wanted = normalize(torch.cat([planted.first[0], planted.first[1]], dim=-1), dim=-1)
    assert float((wanted @ both.T).amax(dim=1).median()) > 0.95


def test_rows_have_length_one_over_all_layers_that_they_write(trained: Transcoder) -> None:
    torch.testing.assert_close(lengths(trained.W_dec), torch.ones(LAYERS, RECIPE.d_sae))


def test_folding_changes_nothing_but_the_units(planted: Planted) -> None:
    trainable = Trainable(LAYERS, D_MODEL, RECIPE)
    torch.nn.init.normal_(trainable.b_enc, generator=torch.Generator().manual_seed(2))
    x, y = planted.held_out
    of_x, of_y = Scale.of([x]), Scale.of([y])
    least = least_kept(trainable.writes(trainable.preactivations(of_x(x))), RECIPE.k)
    folded, step = fold(trainable, of_x, of_y, least - 1e-5), trainable(Pairs(of_x(x), of_y(y)), torch.zeros(2, 32) > 0)
    a = folded.encode(x)
    assert torch.equal(a > 0, step.a > 0)
    torch.testing.assert_close(of_y(folded.decode(a)), of_y(y) - step.error, rtol=1e-4, atol=1e-3)


def test_scaled_values_have_mean_zero_and_the_size_of_their_width(planted: Planted) -> None:
    for values in planted.held_out:
        scaled = Scale.of(list(values.split(100)))(values)
        torch.testing.assert_close(scaled.mean(dim=0), torch.zeros(LAYERS, D_MODEL), rtol=0, atol=1e-4)
        torch.testing.assert_close(scaled.square().sum(dim=-1).mean(dim=0), torch.full((LAYERS,), float(D_MODEL)))


def test_a_batch_keeps_its_strongest_writers_wherever_they_are() -> None:
    writes = torch.rand(10, 3, 8, generator=torch.Generator().manual_seed(0))
    kept = (writes >= least_kept(writes, 1.5)).sum()
    assert int(kept) == 45
    assert float(least_kept(writes, 1.5)) == sorted(writes.flatten().tolist())[-45]


def test_dead_latents_alone_are_revived() -> None:
    recipe = TranscoderRecipe(d_sae=32, k=1.0)
    trainable, x = Trainable(LAYERS, D_MODEL, recipe), torch.randn(64, LAYERS, D_MODEL)
    dead = torch.zeros(LAYERS, 32, dtype=torch.bool)
    dead[1, 5:9] = True
    trainable.revived(trainable.preactivations(x), dead).square().mean().backward()
    assert trainable.W_enc.grad is not None
    assert torch.equal(trainable.W_enc.grad.abs().sum(dim=-1) > 0, dead)
    assert not trainable(Pairs(x, x), ~dead & dead).loss.isnan()


def test_latents_that_would_never_fire_come_back_by_the_second_part_of_the_loss(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter has nothing to find."""
    assert dead_at_the_end(planted) < 0.3
    monkeypatch.setattr("saes.transcoders.trainable.REVIVAL", 0.0)
    assert dead_at_the_end(planted) > 0.4


def test_products_in_bfloat16_train_about_as_good_a_transcoder(planted: Planted) -> None:
    config = CONFIG.model_copy(update={"autocast": True})
    mixed, plain = (train_transcoder(stream(planted), LAYERS, D_MODEL, RECIPE, each) for each in (config, CONFIG))
    ours, theirs = (evaluate_transcoder(each, [planted.held_out]).explained_variance for each in (mixed, plain))
    assert not torch.equal(mixed.W_enc, plain.W_enc)
    assert ours == pytest.approx(theirs, abs=0.05)


def test_one_whose_time_is_over_ends_in_a_transcoder_all_the_same(planted: Planted, tmp_path: Path) -> None:
    asked, told = (LAYERS, D_MODEL, RECIPE, CONFIG, tmp_path / "checkpoint.safetensors"), list[tuple[int, int]]()
    made = train_transcoder(stream(planted), *asked, until=0.0, planned=lambda *each: told.append(each))
    assert told == [(0, 220), (0, 20)]
    again = train_transcoder(stream(planted), *asked)
    assert torch.equal(again.W_enc, made.W_enc)


def test_the_rate_of_one_that_is_shortened_comes_down(planted: Planted) -> None:
    run = TranscoderRun(stream(planted), LAYERS, D_MODEL, RECIPE, CONFIG)
    resume_run(run, until=0.0)
    assert (run.done, run.place) == (20, CONFIG.steps)
    assert run.trainee.optimizer.param_groups[0]["lr"] == pytest.approx(RECIPE.lr / 10, rel=0.01)


def dead_at_the_end(planted: Planted) -> float:
    """Of a run in which half of the latents begin far below what is kept."""
    run = TranscoderRun(stream(planted), LAYERS, D_MODEL, RECIPE, CONFIG.model_copy(update={"tokens": 256 * 151}))
    with torch.no_grad():
        run.trainee.trainable.b_enc[:, 16:] = -4.0
    reports: list[TranscoderProgress] = []
    resume_run(run, progress=reports.append)
    return reports[-1].dead


class Stopped(Exception): ...


def stopping(at: int) -> Callable[[TranscoderProgress], None]:
    def progress(each: TranscoderProgress) -> None:
        if each.step == at:
            raise Stopped

    return progress


def test_a_run_that_was_stopped_ends_in_the_same_transcoder(planted: Planted, tmp_path: Path) -> None:
    """Stopped at reports, which come every 50 steps; the state of the step before is on disk."""
    checkpoint, short = tmp_path / "run.safetensors", CONFIG.model_copy(update={"tokens": 256 * 110})
    whole = train_transcoder(stream(planted), LAYERS, D_MODEL, RECIPE, short)
    for stop in (51, 101):
        with pytest.raises(Stopped):
            train_transcoder(stream(planted), LAYERS, D_MODEL, RECIPE, short, checkpoint, stopping(stop))
    again = train_transcoder(stream(planted), LAYERS, D_MODEL, RECIPE, short, checkpoint)
    assert all(torch.equal(a, b) for a, b in zip(again.W_dec, whole.W_dec, strict=True))
    assert all(torch.equal(getattr(again, n), getattr(whole, n)) for n in ("W_enc", "b_enc", "threshold", "b_dec"))


def test_what_cannot_be_trained_is_refused(planted: Planted, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="below d_sae = 4"):
        Trainable(1, D_MODEL, TranscoderRecipe(d_sae=4, k=4))
    short = TrainConfig(tokens=512, batch_tokens=256)
    train_transcoder(stream(planted), LAYERS, D_MODEL, RECIPE, short, tmp_path / "c")
    other = RECIPE.model_copy(update={"k": 3.0})
    with pytest.raises(InvalidInput, match="another recipe"):
        train_transcoder(stream(planted), LAYERS, D_MODEL, other, short, tmp_path / "c")


def test_the_rate_warms_up_and_decays_to_a_tenth() -> None:
    rates = [rate(step, 1000) for step in range(1000)]
    assert rates[0] < 0.03
    assert max(rates) > 0.97
    assert rates[-1] == pytest.approx(0.1, abs=0.01)
    assert sorted(rates[50:], reverse=True) == rates[50:]
