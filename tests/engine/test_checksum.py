"""The checksum of weights, beside the same sum in Python's own integers."""

import pytest
import torch
from torch import Tensor, nn

from featurehub.engine.checksum import BLOCK, PACKED, STEP, checksum, checksums, device_sums, numpy_sums, words_of


def naive(tensor: Tensor) -> str:
    """The formula, word by word."""
    raw = tensor.detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
    raw += bytes(-len(raw) % 4)
    total = 0
    for at in range(0, len(raw), 4):
        block, i = divmod(at // 4, BLOCK)
        word = int.from_bytes(raw[at : at + 4], "little", signed=True)
        total += word * multiplier(i + 1) * pow(STEP, block, 1 << 64)
    return f"{total % (1 << 64):016x}"


def multiplier(i: int) -> int:
    """The i-th output of splitmix64, made odd."""
    z = i * STEP % (1 << 64)
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % (1 << 64)
    z = (z ^ z >> 27) * 0x94D049BB133111EB % (1 << 64)
    return z ^ z >> 31 | 1


def drawn(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.mark.parametrize(
    "tensor",
    [
        drawn(3, 5),
        drawn(7, dtype=torch.bfloat16),
        drawn(6, 4).t(),
        drawn(9)[1:],
        drawn(11, dtype=torch.bfloat16)[1:],
        torch.tensor(2.5),
        torch.arange(13, dtype=torch.uint8),
        drawn(8).to(torch.float8_e4m3fn),
        drawn(2, BLOCK),
        drawn(2 * BLOCK + 3),
    ],
    ids=lambda tensor: f"{tensor.dtype} {tuple(tensor.shape)}",
)
def test_it_is_the_naive_sum(tensor: Tensor) -> None:
    assert checksum(tensor) == naive(tensor)


def test_a_gpu_sums_what_a_cpu_sums() -> None:
    """Integers wrap around exactly: the two ways of adding differ in their order alone."""
    for size in (0, 1, BLOCK - 1, BLOCK, 70 * BLOCK + 5):
        words = words_of(drawn(size))
        assert torch.equal(device_sums(words), numpy_sums(words))


def test_a_change_of_the_last_bit_shows() -> None:
    tensor = drawn(BLOCK + 10)
    before = checksum(tensor)
    for at in (0, BLOCK - 1, BLOCK, BLOCK + 9):
        changed = tensor.clone()
        changed.view(torch.int32)[at] ^= 1
        assert checksum(changed) != before


def test_two_signs_or_two_places_that_change_show() -> None:
    tensor = drawn(100)
    flipped = tensor.clone()
    flipped[[3, 50]] *= -1
    swapped = tensor.clone()
    swapped[[3, 50]] = tensor[[50, 3]]
    assert len({checksum(each) for each in (tensor, flipped, swapped)}) == 3


class Packing(nn.Module):
    """A layer whose weight a library has taken."""

    def __init__(self, packed: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(0))
        setattr(self, PACKED, packed)


def test_a_model_is_summed_by_name_and_says_what_it_cannot_read() -> None:
    model = nn.ModuleDict({"norm": nn.LayerNorm(4), "known": Packing("ab"), "unknown": Packing("")})
    found = checksums(model)
    assert found.by_name == {
        "norm.weight": checksum(torch.ones(4)), "norm.bias": checksum(torch.zeros(4)), "known.weight": "ab",
    }  # fmt: skip
    assert not found.whole
    del model["unknown"]
    assert checksums(model).whole


def test_names_are_those_without_adapters() -> None:
    model = nn.ModuleDict({"q": nn.ModuleDict({"base_layer": nn.Linear(2, 2)})})
    assert checksums(model).by_name.keys() == {"q.weight", "q.bias"}
