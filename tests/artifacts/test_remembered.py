"""A checkpoint is read once; what changed is read again, whatever its size and times say; damage is never an error."""

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from featurehub.artifacts import remembered, tensors
from featurehub.artifacts.remembered import FileIdentity, recall, remember
from featurehub.artifacts.tensors import tensor_hashes
from featurehub.errors import InvalidInput


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where entries go; files count as settled at once."""
    monkeypatch.setenv("FEATUREHUB_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(remembered, "SETTLED_NS", -1)
    return tmp_path / "home" / "fingerprints"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    for part in range(3):
        sizes = {"big": 4000, "small": 3, "none": 0}
        weights = {f"{name}{part}": torch.randn(size, 2, generator=generator) for name, size in sizes.items()}
        save_file(weights, folder / f"model-{part}.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read, in order."""
    read: list[str] = []
    hash_file = tensors.hash_file

    def counted(path: Path, pool: ThreadPoolExecutor, form: str) -> dict[str, str]:
        read.append(path.name)
        return hash_file(path, pool, form)

    monkeypatch.setattr(tensors, "hash_file", counted)
    return read


def one_by_one(folder: Path) -> list[tuple[str, str]]:
    """The same hashes, without threads, mapping or memory."""
    found = []
    for path in folder.glob("*.safetensors"):
        data = path.read_bytes()
        start = 8 + int.from_bytes(data[:8], "little")
        for name, entry in json.loads(data[8:start]).items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                described = f"{entry['dtype']}{entry['shape']}".encode()
                found.append((name, hashlib.sha256(described + data[start + begin : start + end]).hexdigest()))
    return sorted(found)


def test_hashing_at_once_is_hashing_one_by_one(model: Path) -> None:
    assert tensor_hashes(model) == one_by_one(model)
    assert len(tensor_hashes(model)) == 9


def test_a_checkpoint_is_read_once(model: Path, reads: list[str]) -> None:
    first = tensor_hashes(model)
    assert (tensor_hashes(model), len(reads)) == (first, 3)
    (model / "again").symlink_to(model)
    assert (tensor_hashes(model / "again"), len(reads)) == (first, 3)


def flip(path: Path) -> None:
    """Changes the last byte in place, and sets the times back."""
    before, data = path.stat(), bytearray(path.read_bytes())
    data[-1] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path: Path) -> None:
    """Puts another file of the same size and time in its place."""
    fresh = path.with_suffix(".fresh")
    fresh.write_bytes(path.read_bytes())
    flip(fresh)
    os.utime(fresh, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    os.replace(fresh, path)


@pytest.mark.parametrize("change", [flip, replace])
def test_a_changed_file_is_hashed_again(model: Path, reads: list[str], change: Callable[[Path], None]) -> None:
    first = tensor_hashes(model)
    change(model / "model-1.safetensors")
    again = tensor_hashes(model)
    assert again != first
    assert again == one_by_one(model)
    assert reads[3:] == ["model-1.safetensors"]


def test_a_file_that_changed_a_moment_ago_is_not_remembered(
    model: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "SETTLED_NS", 3_600_000_000_000)
    assert tensor_hashes(model) == tensor_hashes(model)
    assert len(reads) == 6


def test_a_file_that_changes_while_it_is_hashed_is_not_remembered(model: Path) -> None:
    path = model / "model-0.safetensors"
    before = FileIdentity.of(path)
    flip(path)
    remember(before, {"x": "y"})
    assert recall(before) is None
    path.unlink()
    remember(before, {"x": "y"})
    assert recall(before) is None


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe\x00", b"{}", b"0" * 64 + b"\n{}", b"[" * 5000])
def test_a_damaged_entry_is_ignored_and_written_again(
    model: Path, reads: list[str], cache: Path, damage: bytes
) -> None:
    first = tensor_hashes(model)
    for entry in cache.iterdir():
        entry.write_bytes(damage)
    assert (tensor_hashes(model), len(reads)) == (first, 6)
    assert (tensor_hashes(model), len(reads)) == (first, 6)


def test_one_changed_digit_is_damage(model: Path, cache: Path) -> None:
    first = tensor_hashes(model)
    for entry in cache.iterdir():
        text = entry.read_text()
        entry.write_text(text[:-3] + ("0" if text[-3] != "0" else "1") + text[-2:])
    assert tensor_hashes(model) == first


def test_a_home_that_cannot_be_written_is_no_error(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FEATUREHUB_HOME", str(tmp_path / "file"))
    assert tensor_hashes(model) == one_by_one(model)


def test_the_oldest_entries_go(model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "ENTRIES", 4)
    path = model / "model-0.safetensors"
    for number in range(10):
        os.utime(path, ns=(number, number))
        remember(FileIdentity.of(path), {"number": str(number)})
    assert recall(FileIdentity.of(path)) == {"number": "9"}
    assert len(list(cache.iterdir())) == 4


def test_writers_do_not_disturb_each_other(model: Path, cache: Path) -> None:
    wanted = one_by_one(model)
    with ThreadPoolExecutor(8) as pool:
        assert all(found == wanted for found in pool.map(lambda _: tensor_hashes(model), range(24)))
    assert len(list(cache.iterdir())) == 3


def test_a_link_that_leads_nowhere_is_named(model: Path) -> None:
    (model / "model-9.safetensors").symlink_to(model / "blob")
    with pytest.raises(InvalidInput, match=r"model-9\.safetensors cannot be read"):
        tensor_hashes(model)


def test_what_is_remembered_in_one_precision_is_not_recalled_in_another(model: Path, reads: list[str]) -> None:
    before, wide = tensor_hashes(model), tensor_hashes(model, "float32")
    assert len(reads) == 2 * len(set(reads))
    assert (tensor_hashes(model), tensor_hashes(model, "float32")) == (before, wide)
    assert len(reads) == 2 * len(set(reads))
