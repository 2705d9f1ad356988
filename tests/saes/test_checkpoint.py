"""Checkpoints: whatever goes in comes out, and a damaged file is named."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from featurehub.errors import CorruptArtifact
from saes.checkpoint import load_state, save_state

LEAVES = st.one_of(
    st.integers(-(2**60), 2**60),
    st.floats(allow_nan=False),
    st.booleans(),
    st.text(max_size=5),
    st.lists(st.integers(0, 255), max_size=4).map(lambda values: torch.tensor(values, dtype=torch.uint8)),
    st.floats(-9, 9).map(lambda value: torch.tensor(value, dtype=torch.float64)),
)
STATES = st.dictionaries(
    st.text("abc/0", min_size=1, max_size=4),
    st.recursive(LEAVES, lambda each: st.one_of(st.lists(each, max_size=3), st.dictionaries(st.text("xy"), each))),
    max_size=4,
)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype is b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@given(state=STATES)
def test_a_state_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, state: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("state") / "run.safetensors"
    save_state(path, state)
    assert same(load_state(path), state)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_damaged_checkpoint_is_named_with_the_next_step(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    save_state(path, {"x": torch.zeros(9)})
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(CorruptArtifact, match=r"run\.safetensors cannot be read.*begin anew"):
        load_state(path)


def test_only_memory_that_something_else_is_part_of_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shuffle buffer is a gigabyte; a view of it, or the same tensor again, must come back alone."""
    copied: list[int] = []
    clone = torch.Tensor.clone
    monkeypatch.setattr(torch.Tensor, "clone", lambda x: copied.append(x.numel()) or clone(x))
    buffer = torch.arange(1000.0)
    state = {"buffer": buffer, "view": buffer[10:13], "again": buffer, "other": torch.ones(5)}
    save_state(tmp_path / "state", state)
    assert copied == [3, 1000]
    assert same(load_state(tmp_path / "state"), state)


def test_what_a_killed_run_left_half_written_goes(tmp_path: Path) -> None:
    left = tmp_path / f".state.{'0' * 16}"
    left.mkdir()
    (left / "new").write_bytes(b"half-written")
    save_state(tmp_path / "state", {"x": 1})
    assert [each.name for each in tmp_path.iterdir()] == ["state"]
