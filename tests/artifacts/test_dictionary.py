"""The inference-side SAE on disk: what is saved is loaded, what is damaged is refused by name."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError
from safetensors.torch import load_file, save_file
from torch import Tensor

from featurehub.dictionary import Dictionary
from featurehub.errors import CorruptArtifact

D_MODEL, D_SAE = 6, 10


def random_dictionary() -> Dictionary:
    g = torch.Generator().manual_seed(0)
    return Dictionary(
        W_enc=torch.randn(D_SAE, D_MODEL, generator=g),
        W_dec=torch.randn(D_SAE, D_MODEL, generator=g),
        b_enc=torch.randn(D_SAE, generator=g),
        b_dec=torch.randn(D_MODEL, generator=g),
        threshold=torch.rand(D_SAE, generator=g),
        gain=torch.rand(D_SAE, generator=g) + 0.5,
        offset=torch.randn(D_SAE, generator=g),
        W_steer=torch.randn(D_SAE, D_MODEL, generator=g),
        span_threshold=torch.rand(D_SAE, generator=g),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    random_dictionary().save(tmp_path / "sae.safetensors")
    return tmp_path / "sae.safetensors"


def test_what_is_saved_is_loaded_bit_by_bit(path: Path) -> None:
    saved, loaded = random_dictionary(), Dictionary.load(path)
    for name in Dictionary._fields:
        assert torch.equal(getattr(saved, name), getattr(loaded, name)), name
        assert getattr(loaded, name).is_contiguous()
    assert (loaded.d_sae, loaded.d_model) == (D_SAE, D_MODEL)


def test_the_file_keeps_the_orientation_of_sae_lens(path: Path) -> None:
    assert load_file(path)["W_enc"].shape == (D_MODEL, D_SAE)
    assert load_file(path)["W_dec"].shape == (D_SAE, D_MODEL)


def test_lower_precision_on_disk_is_float32_in_memory(path: Path) -> None:
    save_file({name: tensor.bfloat16() for name, tensor in load_file(path).items()}, path)
    assert all(tensor.dtype is torch.float32 for tensor in Dictionary.load(path))


def test_encoding_keeps_what_exceeds_the_threshold_and_decoding_is_linear() -> None:
    sae, x = random_dictionary(), torch.randn(50, D_MODEL, generator=torch.Generator().manual_seed(1))
    a = sae.encode(x)
    for token in range(50):
        for latent in range(D_SAE):
            z = float((x[token] - sae.b_dec) @ sae.W_enc[latent] + sae.b_enc[latent])
            assert sae.gain is not None
            assert sae.offset is not None
            magnitude = max(0.0, float(sae.gain[latent]) * z + float(sae.offset[latent]))
            wanted = magnitude if z > float(sae.threshold[latent]) else 0.0
            assert float(a[token, latent]) == pytest.approx(wanted, abs=1e-5)
    torch.testing.assert_close(sae.decode(a), a @ sae.W_dec + sae.b_dec)
    assert sae.encode(x.bfloat16()).dtype is torch.float32


def test_shapes_are_checked_in_this_process() -> None:
    with pytest.raises(TypeCheckError):
        random_dictionary().encode(torch.zeros(D_MODEL))


def damaged(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    change(tensors)
    save_file(tensors, path)


def test_gain_and_offset_are_1_and_0_where_the_file_has_none(path: Path) -> None:
    damaged(path, lambda tensors: [tensors.pop(name) for name in ("gain", "offset")])
    plain, x = Dictionary.load(path), torch.randn(50, D_MODEL, generator=torch.Generator().manual_seed(1))
    same = plain._replace(gain=torch.ones(D_SAE), offset=torch.zeros(D_SAE))
    assert torch.equal(plain.encode(x), same.encode(x))
    plain.save(path)
    assert load_file(path).keys() == set(Dictionary._fields) - {"gain", "offset"}


@pytest.mark.parametrize("name", Dictionary._fields[:5])
def test_a_missing_tensor_is_named(path: Path, name: str) -> None:
    damaged(path, lambda tensors: tensors.pop(name))
    with pytest.raises(CorruptArtifact, match=name):
        Dictionary.load(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", Dictionary._fields)
def test_nan_and_infinity_are_named(path: Path, name: str, value: float) -> None:
    damaged(path, lambda tensors: tensors[name].view(-1)[-1:].fill_(value))
    with pytest.raises(CorruptArtifact, match=f"{name} holds NaN"):
        Dictionary.load(path)


@pytest.mark.parametrize("shape", [(D_SAE + 1,), (D_MODEL, D_SAE + 1), (), (1, 2, 3)])
@pytest.mark.parametrize("name", Dictionary._fields)
def test_a_tensor_of_the_wrong_shape_is_refused(path: Path, name: str, shape: tuple[int, ...]) -> None:
    damaged(path, lambda tensors: tensors.update({name: torch.zeros(shape)}))
    with pytest.raises(CorruptArtifact, match="shape"):
        Dictionary.load(path)


def test_weights_that_are_no_numbers_with_a_point_are_refused(path: Path) -> None:
    damaged(path, lambda tensors: tensors.update({"W_dec": tensors["W_dec"].long()}))
    with pytest.raises(CorruptArtifact, match="W_dec"):
        Dictionary.load(path)


@pytest.mark.parametrize("left", [0, 1, 7, 8, 100, -1])
def test_a_truncated_file_is_corrupt_and_named(path: Path, left: int) -> None:
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(CorruptArtifact, match=path.name):
        Dictionary.load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorruptArtifact, match="nowhere"):
        Dictionary.load(tmp_path / "nowhere.safetensors")
