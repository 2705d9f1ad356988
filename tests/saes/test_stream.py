"""The engine's activations as batches: every document, no special token, bounded memory."""

from collections.abc import Sequence
from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from saes.documents import Document
from saes.stream import FakeReader, Kept, StreamConfig, read_batches, read_tokens

SPECIAL = {0, 1}


class Marking:
    """Every token's stream says which document and position it comes from; counts what is read."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def capture(self, documents: Sequence[Sequence[int]]) -> list[Tensor]:
        self.calls.append(len(documents))
        return [torch.tensor([[float(d[-1]), float(at)] for at in range(len(d))]) for d in documents]


def documents(count: int, tokens: int = 6) -> list[Document]:
    """Document i ends in the token 100 + i and starts with two special ones."""
    return [Document([0, 1, *range(2, tokens - 1), 100 + i], 2) for i in range(count)]


def test_the_mask_leaves_out_special_tokens_alone() -> None:
    for document, x, mask in read_tokens(Marking(), documents(5), SPECIAL, 2):
        assert mask.tolist() == [token not in SPECIAL for token in document.token_ids]
        assert len(x) == len(document.token_ids)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 5))
def test_documents_come_in_order_and_are_read_in_groups_of_at_most_the_asked_size(lengths: list[int], per: int) -> None:
    reader, docs = Marking(), [Document([7] * n + [100 + i], 1) for i, n in enumerate(lengths)]
    read = list(read_tokens(reader, docs, (), per))
    assert [d for d, _, _ in read] == docs
    assert all(float(x[0, 0]) == d.token_ids[-1] for d, x, _ in read)
    assert max(reader.calls) <= per
    assert sum(reader.calls) == len(docs)


def test_an_epoch_holds_every_ordinary_token_of_every_document_once_and_no_special_one() -> None:
    config = StreamConfig(documents_per_read=4, buffer_tokens=16, batch_tokens=8, kept_tokens=0)
    batches = list(islice(read_batches(Marking(), documents(10), SPECIAL, config), 60))
    seen = [tuple(token) for batch in batches for token in batch.tolist()]
    assert all(position >= 2 for _, position in seen)
    counts = {token: seen.count(token) for token in set(seen)}
    assert set(counts) == {(100.0 + i, float(at)) for i in range(10) for at in range(2, 6)}
    # 480 tokens are twelve epochs of 40; what is still in the buffer is missing.
    assert max(counts.values()) <= 13
    assert min(counts.values()) >= 9


def test_batches_have_the_asked_size_and_mix_documents() -> None:
    config = StreamConfig(documents_per_read=8, buffer_tokens=128, batch_tokens=32, kept_tokens=0)
    for batch in islice(read_batches(Marking(), documents(64), SPECIAL, config), 20):
        assert batch.shape == (32, 2)
        assert len({document for document, _ in batch.tolist()}) >= 8


def test_progress_is_told_of_every_token_that_is_handed_out() -> None:
    told: list[int] = []
    config = StreamConfig(documents_per_read=8, buffer_tokens=64, batch_tokens=16)
    batches = list(islice(read_batches(Marking(), documents(40), SPECIAL, config, told.append), 7))
    assert told == [len(batch) for batch in batches] == [16] * 7


@pytest.mark.parametrize(("kept", "reads_again"), [(1_000_000, False), (0, True)])
def test_documents_that_are_kept_are_not_read_again(kept: int, reads_again: bool) -> None:
    reader = Marking()
    config = StreamConfig(documents_per_read=5, buffer_tokens=16, batch_tokens=8, kept_tokens=kept)
    list(islice(read_batches(reader, documents(10), SPECIAL, config), 40))
    assert (sum(reader.calls) > 10) is reads_again


@given(st.lists(st.integers(0, 50), max_size=20), st.integers(0, 200))
def test_no_more_tokens_are_kept_than_allowed(lengths: list[int], allowed: int) -> None:
    kept = Kept(allowed)
    for i, n in enumerate(lengths):
        kept.keep({i: torch.zeros(n, 2)})
    assert sum(len(x) for x in kept.streams.values()) <= allowed
    assert kept.left == allowed - sum(len(x) for x in kept.streams.values())


def test_keeping_changes_no_batch() -> None:
    runs = []
    for kept in (0, 30, 1_000_000):
        torch.manual_seed(0)
        config = StreamConfig(documents_per_read=5, buffer_tokens=32, batch_tokens=8, kept_tokens=kept, seed=2)
        runs.append(torch.cat(list(islice(read_batches(Marking(), documents(10), SPECIAL, config), 30))))
    assert torch.equal(runs[0], runs[1])
    assert torch.equal(runs[0], runs[2])


def test_a_fake_reader_gives_equal_tokens_equal_streams() -> None:
    [a, b] = FakeReader(10, 4).capture([[1, 2, 3], [3, 2]])
    assert torch.equal(a[1], b[1])
    assert torch.equal(a[2], b[0])
    assert not torch.equal(a[0], a[1])
