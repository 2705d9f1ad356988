"""Training with sae-lens: what it wrote and what we read encode alike; the same seed gives the same SAE."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from sae_lens import SAE
from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE
from torch import Tensor

import saes.train
from featurehub.dictionary import Dictionary
from featurehub.errors import InvalidInput
from saes.documents import Document
from saes.evaluate import evaluate
from saes.stream import FakeReader, StreamConfig, read_batches
from saes.train import TrainConfig, train

D_MODEL, VOCABULARY = 12, 40
CONFIG = TrainConfig(d_sae=48, k=4.0, tokens=12_800, batch_tokens=128, lr=5e-3, seed=3)


def batches() -> Iterator[Tensor]:
    documents = [Document([0, *(1 + (7 * i + j) % (VOCABULARY - 1) for j in range(12))], 2) for i in range(60)]
    stream = StreamConfig(documents_per_read=16, buffer_tokens=512, batch_tokens=128, kept_tokens=300)
    return read_batches(FakeReader(VOCABULARY, D_MODEL), documents, {0}, stream)


def x_of(tokens: int = 300) -> Tensor:
    return torch.randn(tokens, D_MODEL, generator=torch.Generator().manual_seed(9)) * 2 + 0.3


class Both:
    """The SAE that sae-lens loads from the folder that it wrote while we trained, and ours."""

    def __init__(self, folder: Path) -> None:
        def keep(sae: BatchTopKTrainingSAE, path: str) -> object:
            original(sae, str(folder))
            return original(sae, path)

        original = BatchTopKTrainingSAE.save_inference_model
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(BatchTopKTrainingSAE, "save_inference_model", keep)
            self.ours = train(batches(), D_MODEL, CONFIG)
        self.folder = folder
        self.theirs = SAE.load_from_disk(str(folder))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return Both(tmp_path_factory.mktemp("sae-lens"))


def test_we_encode_exactly_as_sae_lens_does(both: Both) -> None:
    for x in (x_of(), next(batches())):
        with torch.no_grad():
            theirs = both.theirs.encode(x)
        ours = both.ours.encode(x)
        assert torch.equal(ours > 0, theirs > 0)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
        assert (ours > 0).any()
        with torch.no_grad():
            torch.testing.assert_close(both.ours.decode(ours), both.theirs.decode(theirs), rtol=1e-5, atol=1e-4)


def test_an_artifact_of_it_encodes_so_too(both: Both, tmp_path: Path) -> None:
    both.ours.save(tmp_path / "sae.safetensors")
    assert torch.equal(Dictionary.load(tmp_path / "sae.safetensors").encode(x_of()), both.ours.encode(x_of()))


def test_decoder_rows_have_length_one(both: Both) -> None:
    """Strengths are in units of the stream, so rows must not hide a scale."""
    torch.testing.assert_close(both.ours.W_dec.norm(dim=-1), torch.ones(CONFIG.d_sae), rtol=1e-4, atol=1e-4)


def test_training_learns(both: Both) -> None:
    quality = evaluate(both.ours, [next(batches()) for _ in range(2)])
    assert quality.explained_variance > 0.5
    assert 0 < quality.l0 < CONFIG.d_sae / 2


def test_the_same_seed_gives_the_same_sae(both: Both) -> None:
    torch.manual_seed(12345)
    again = train(batches(), D_MODEL, CONFIG)
    assert all(torch.equal(a, b) for a, b in zip(both.ours[:5], again[:5], strict=True))
    other = train(batches(), D_MODEL, CONFIG.model_copy(update={"seed": 4}))
    assert not torch.equal(both.ours.W_dec, other.W_dec)


@pytest.mark.parametrize("k", [8.0, 9.5])
def test_k_must_be_below_the_number_of_latents(k: float) -> None:
    with pytest.raises(InvalidInput, match="below d_sae = 8"):
        train(batches(), D_MODEL, TrainConfig(d_sae=8, k=k))


def test_as_many_tokens_are_trained_on_as_were_asked_for() -> None:
    handed_out: list[int] = []
    documents = [Document(list(range(20)), 2) for _ in range(30)]
    stream = StreamConfig(documents_per_read=8, buffer_tokens=256, batch_tokens=64)
    config = TrainConfig(d_sae=8, k=2.0, tokens=64 * 20, batch_tokens=64)
    train(read_batches(FakeReader(20, 8), documents, (), stream, handed_out.append), 8, config)
    estimating = saes.train.trainer_config(config).n_batches_for_norm_estimate
    assert sum(handed_out) <= 64 * (20 + estimating)
    assert sum(handed_out) >= 64 * 20
