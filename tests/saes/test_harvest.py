"""Harvests on disk: whole shards alone, resumed where they were stopped, refused where they are something else."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from featurehub.artifacts.files import replace_file, sha256
from featurehub.artifacts.manifest import HookPoint, ModelIdentity, Site
from featurehub.errors import BudgetExceeded, CorruptArtifact, InvalidInput
from saes.documents import Document
from saes.harvest import Harvest, HarvestConfig, harvest_documents, open_harvest
from saes.reader import FakeReader
from saes.stream import DocumentChunks

SPECIAL = {0, 1}
DOCUMENTS = [Document([0, *(2 + (5 * i + j) % 28 for j in range(3 + i % 7)), 1], 2) for i in range(23)]
MODEL = ModelIdentity(
    name="tiny", architecture="LlamaForCausalLM", d_model=6, layers=2, dtype="float32", reads="r" * 64, whole="w" * 64,
    tokenizer="t", chat_template="",
)  # fmt: skip
CONFIG = HarvestConfig(documents_per_shard=5)
THREE = [HookPoint(layer=0), HookPoint(layer=1, site=Site.RESID_MID), HookPoint(layer=1, site=Site.MLP_OUT)]


class Failing(FakeReader):
    """Ends after some calls, as a killed run does."""

    def __init__(self, calls: int) -> None:
        super().__init__(30, 6)
        self.left = calls
        self.read: list[int] = []

    def capture(self, documents: Sequence[Sequence[int]], *points: HookPoint) -> list[Tensor]:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        self.read.append(len(documents))
        return super().capture(documents, *points)


def run(folder: Path, reader: FakeReader | None = None, **changes: Any) -> Harvest:
    asked = {"documents": DOCUMENTS, "model": MODEL, "hooks": [HookPoint(layer=1)], "config": CONFIG} | changes
    return harvest_documents(reader or FakeReader(30, 6), special=SPECIAL, folder=folder, **asked)


def hashes(made: Harvest) -> list[str]:
    return [sha256(made.path(shard)) for shard in range(len(made))]


def test_shards_hold_every_ordinary_token_with_its_id_and_document(tmp_path: Path) -> None:
    made, embedding = run(tmp_path), FakeReader(30, 6).embedding
    shards = [made.load(shard) for shard in range(len(made))]
    wanted = [(i, token) for i, d in enumerate(DOCUMENTS) for token in d.token_ids if token not in SPECIAL]
    found = [pair for s in shards for pair in zip(s.document.tolist(), s.token_ids.tolist(), strict=True)]
    assert found == wanted
    assert all(torch.equal(s.x, embedding[s.token_ids]) for s in shards)


def test_a_harvest_is_what_the_engine_reads_again(tmp_path: Path) -> None:
    made, again = run(tmp_path), DocumentChunks(FakeReader(30, 6), DOCUMENTS, SPECIAL, documents_per_chunk=5)
    assert len(made) == len(again) == 5
    assert all(
        torch.equal(a, b)
        for chunk in range(len(made))
        for a, b in zip(made.streams(chunk), again.streams(chunk), strict=True)
    )


class Uneven(FakeReader):
    """Reads twice as many numbers at the second hook point."""

    def capture(self, documents: Sequence[Sequence[int]], *points: HookPoint) -> list[Tensor]:
        return [torch.cat([x, x + 1, x + 2], dim=1) for x in super().capture(documents, points[0])]


def test_hook_points_may_be_of_different_widths(tmp_path: Path) -> None:
    hooks, embedding = [HookPoint(layer=1), HookPoint(layer=2, site=Site.Z)], FakeReader(30, 6).embedding
    made = run(tmp_path, Uneven(30, 6), hooks=hooks, widths=(6, 12))
    assert (made.record.columns, open_harvest(tmp_path).record) == ((6, 12), made.record)
    for shard in range(len(made)):
        x, token_ids, _ = made.load(shard)
        own = load_file(made.path(shard))
        assert torch.equal(own["layers.1.resid_post"], embedding[token_ids])
        assert torch.equal(own["layers.2.z"], x[:, 6:])
        assert torch.equal(x[:, 12:], embedding[token_ids] + 2)
    with pytest.raises(InvalidInput, match="another widths"):
        run(tmp_path, Uneven(30, 6), hooks=hooks, widths=(9, 9))


def test_several_hook_points_lie_side_by_side_each_as_it_was_read_in_the_same_pass(tmp_path: Path) -> None:
    reader, embedding, config = Failing(99), FakeReader(30, 6).embedding, HarvestConfig(documents_per_shard=15)
    made, one = run(tmp_path / "three", reader, hooks=THREE, config=config), run(tmp_path)
    assert reader.read == [5, 5, 5, 5, 3]
    for shard in range(len(made)):
        x, token_ids, _ = made.load(shard)
        assert all(torch.equal(x[:, 6 * i : 6 * i + 6], embedding[token_ids].roll(i, 1)) for i in range(3))
        assert torch.equal(x[:, :6], one.load(shard).x)
        assert load_file(made.path(shard)).keys() == {*map(str, THREE), "token_ids", "document"}
    assert open_harvest(tmp_path / "three").record.hooks == tuple(THREE)
    with pytest.raises(InvalidInput, match="another hooks"):
        run(tmp_path / "three", hooks=THREE[1:], config=config)


def test_one_hook_point_takes_no_more_room_than_its_numbers(tmp_path: Path) -> None:
    made = run(tmp_path)
    tokens = sum(len(made.load(shard).token_ids) for shard in range(len(made)))
    assert made.bytes - tokens * (6 * 4 + 16) < 400 * len(made)


def test_what_another_process_is_writing_stays(tmp_path: Path) -> None:
    """Two trainings may share a harvest's folder."""
    made = run(tmp_path / "shared")
    with replace_file(made.path(4)) as writing:
        writing.write_bytes(b"half-written")
        run(tmp_path / "shared")
        assert writing.read_bytes() == b"half-written"
        writing.write_bytes(made.path(4).read_bytes())


@pytest.mark.parametrize("calls", [0, 1, 4])
def test_a_run_that_was_stopped_reads_only_what_is_missing(tmp_path: Path, calls: int) -> None:
    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", Failing(calls))
    left = tmp_path / "stopped" / f".shard-00004.safetensors.{'0' * 16}"
    left.mkdir()
    (left / "new").write_bytes(b"half-written")
    assert open_harvest(tmp_path / "stopped").missing == list(range(calls, 5))
    rest = Failing(99)
    again = run(tmp_path / "stopped", rest)
    assert hashes(again) == hashes(whole)
    assert len(rest.read) == 5 - calls
    assert sorted(p.name for p in again.folder.iterdir()) == sorted(p.name for p in whole.folder.iterdir())


def test_progress_counts_every_token_once(tmp_path: Path) -> None:
    told: list[int] = []
    run(tmp_path, progress=lambda tokens, harvest: told.append(tokens))
    assert sum(told) == sum(len(document.token_ids) for document in DOCUMENTS)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"documents": DOCUMENTS[:-1]}, "text, documents, tokens"),
        ({"model": MODEL.model_copy(update={"reads": "x" * 64})}, "reads"),
        ({"model": MODEL.model_copy(update={"config": "x" * 64})}, "reads"),
        ({"model": MODEL.model_copy(update={"dtype": "bfloat16"})}, "reads"),
        ({"hooks": [HookPoint(layer=0)]}, "hooks"),
        ({"config": HarvestConfig(documents_per_shard=5, dtype="float16")}, "config"),
    ],
)
def test_a_folder_with_another_harvest_is_left_alone(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    before = hashes(run(tmp_path))
    with pytest.raises(InvalidInput, match=f"another {named}; give another folder"):
        run(tmp_path, **changes)
    assert hashes(open_harvest(tmp_path)) == before


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_streams_are_kept_in_the_asked_dtype_and_read_in_float32(tmp_path: Path, dtype: str) -> None:
    small = run(tmp_path / "small", config=CONFIG.model_copy(update={"dtype": dtype}))
    large = run(tmp_path / "large")
    assert small.bytes < large.bytes
    assert small.load(2).x.dtype is torch.float32
    assert torch.equal(small.load(2).x, large.load(2).x.to(getattr(torch, dtype)).float())


@pytest.mark.parametrize("left", [b"", bytes(2000), None])
def test_a_shard_that_the_disk_lost_is_read_again(tmp_path: Path, left: bytes | None) -> None:
    """After a power cut a file may be empty, full of zeros, or shorter than it was."""
    made = run(tmp_path)
    before = hashes(made)
    made.path(2).write_bytes(made.path(2).read_bytes()[:-7] if left is None else left)
    assert made.missing == [2]
    reader = Failing(1)
    assert hashes(run(tmp_path, reader)) == before


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    made = run(tmp_path)
    made.path(3).write_bytes(made.path(3).read_bytes()[:100])
    with pytest.raises(CorruptArtifact, match="shard-00003"):
        made.load(3)


def test_no_harvest_in_a_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="featurehub harvest"):
        open_harvest(tmp_path)
    (tmp_path / "harvest.json").write_text('{"format": 1}')
    with pytest.raises(CorruptArtifact, match=r"no record of a harvest of format 3 \(format.*into another folder"):
        open_harvest(tmp_path)


def test_too_small_a_disk_is_refused_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr("saes.harvest.shutil.disk_usage", lambda folder: free)
    reader = Failing(99)
    with pytest.raises(BudgetExceeded, match="--dtype bfloat16"):
        run(tmp_path, reader)
    assert not reader.read


def test_the_disk_must_hold_every_hook_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = sum(len(document.token_ids) for document in DOCUMENTS)
    free = shutil.disk_usage(tmp_path)._replace(free=tokens * (6 * 4 + 16))
    monkeypatch.setattr("saes.harvest.shutil.disk_usage", lambda folder: free)
    run(tmp_path / "one")
    with pytest.raises(BudgetExceeded):
        run(tmp_path / "three", hooks=THREE)
