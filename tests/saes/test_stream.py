"""The trainer's batches: every document, no special token, bounded memory, and the same again after a stop."""

from collections.abc import Sequence
from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from featurehub.errors import InvalidInput
from saes.documents import Document
from saes.reader import FakeReader, read_tokens
from saes.stream import DocumentChunks, Stream, StreamConfig

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


def stream(count: int, per_chunk: int, buffer_tokens: int, batch_tokens: int, seed: int = 0) -> Stream:
    chunks = DocumentChunks(Marking(), documents(count), SPECIAL, per_chunk)
    return Stream(chunks, StreamConfig(buffer_tokens=buffer_tokens, batch_tokens=batch_tokens, seed=seed))


def test_the_mask_leaves_out_special_tokens_and_the_first_of_a_document() -> None:
    for document, x, mask in read_tokens(Marking(), documents(5), SPECIAL, 2):
        assert mask.tolist() == [token not in SPECIAL for token in document.token_ids]
        assert len(x) == len(document.token_ids)
    for document, _, mask in read_tokens(Marking(), documents(5), {1}, 2):
        assert mask.tolist() == [False, False, *[True] * (len(document.token_ids) - 2)]


def test_a_token_that_the_model_made_a_sink_is_masked_wherever_it_stands() -> None:
    class Sinking(Marking):
        def capture(self, documents: Sequence[Sequence[int]]) -> list[Tensor]:
            streams = super().capture(documents)
            streams[1][3] = 1e6
            return streams

    masks = [mask.tolist() for _, _, mask in read_tokens(Sinking(), documents(2), SPECIAL, 2)]
    assert masks == [[False, False, True, True, True, True], [False, False, True, False, True, True]]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 5))
def test_documents_come_in_order_and_are_read_in_groups_of_at_most_the_asked_size(lengths: list[int], per: int) -> None:
    reader, docs = Marking(), [Document([7] * n + [100 + i], 1) for i, n in enumerate(lengths)]
    read = list(read_tokens(reader, docs, (), per))
    assert [d for d, _, _ in read] == docs
    assert all(float(x[0, 0]) == d.token_ids[-1] for d, x, _ in read)
    assert max(reader.calls) <= per
    assert sum(reader.calls) == len(docs)


def test_an_epoch_holds_every_ordinary_token_of_every_document_once_and_no_special_one() -> None:
    batches = list(islice(stream(10, per_chunk=4, buffer_tokens=16, batch_tokens=8), 60))
    seen = [tuple(token) for batch in batches for token in batch.tolist()]
    assert all(position >= 2 for _, position in seen)
    counts = {token: seen.count(token) for token in set(seen)}
    assert set(counts) == {(100.0 + i, float(at)) for i in range(10) for at in range(2, 6)}
    # 480 tokens are twelve epochs of 40; what is still in the buffer is missing.
    assert max(counts.values()) <= 13
    assert min(counts.values()) >= 9


def test_batches_have_the_asked_size_and_mix_documents() -> None:
    for batch in islice(stream(64, per_chunk=8, buffer_tokens=128, batch_tokens=32), 20):
        assert batch.shape == (32, 2)
        assert len({document for document, _ in batch.tolist()}) >= 8


def test_epochs_differ_in_order_and_so_do_seeds() -> None:
    def order(seed: int) -> list[list[float]]:
        return torch.cat(list(islice(stream(16, 2, buffer_tokens=8, batch_tokens=8, seed=seed), 16))).tolist()

    one, other = order(0), order(1)
    assert one[:64] != one[64:]
    assert one != other
    assert one == order(0)


def test_progress_is_told_of_every_token_that_is_handed_out() -> None:
    told: list[int] = []
    made = stream(40, per_chunk=8, buffer_tokens=64, batch_tokens=16)
    made.progress = told.append
    batches = list(islice(made, 7))
    assert told == [len(batch) for batch in batches] == [16] * 7


@given(st.integers(0, 40), st.integers(1, 20), st.sampled_from([8, 20, 64]))
def test_from_a_state_the_same_batches_follow(before: int, after: int, buffer_tokens: int) -> None:
    whole = stream(10, per_chunk=3, buffer_tokens=buffer_tokens, batch_tokens=8)
    list(islice(whole, before))
    state = {name: tensor.clone() for name, tensor in whole.state().items()}
    again = stream(10, per_chunk=3, buffer_tokens=buffer_tokens, batch_tokens=8)
    again.load(state)
    assert torch.equal(torch.cat(list(islice(again, after))), torch.cat(list(islice(whole, after))))


@pytest.mark.parametrize("batches", [20, 200])
def test_memory_is_bounded_by_the_buffer_and_a_chunk_however_long_the_run(batches: int) -> None:
    made = stream(50, per_chunk=4, buffer_tokens=64, batch_tokens=16)
    largest = max(len(made.buffer) for _ in islice(made, batches))
    assert largest <= 64 + 4 * 4


def test_the_last_vectors_are_those_that_no_batch_has_had_and_nothing_is_read_for_them() -> None:
    made = stream(12, 2, buffer_tokens=16, batch_tokens=4)
    batches = [next(made).tolist() for _ in range(3)]
    reader = made.chunks.reader
    calls = len(reader.calls)
    last = made.last(5).tolist()
    assert len(last) == 5
    assert not [x for batch in batches for x in batch if x in last]
    assert len(reader.calls) == calls
    assert len(stream(12, 2, buffer_tokens=16, batch_tokens=4).last(5)) == 5


def test_what_cannot_be_streamed_is_refused() -> None:
    with pytest.raises(InvalidInput, match="does not hold a batch of 32"):
        stream(4, 2, buffer_tokens=16, batch_tokens=32)
    special_alone = DocumentChunks(Marking(), [Document([0, 1], 1)], SPECIAL)
    with pytest.raises(InvalidInput, match="no ordinary token"):
        next(Stream(special_alone, StreamConfig(buffer_tokens=16, batch_tokens=8)))


def test_a_fake_reader_gives_equal_tokens_equal_streams() -> None:
    [a, b] = FakeReader(10, 4).capture([[1, 2, 3], [3, 2]])
    assert torch.equal(a[1], b[1])
    assert torch.equal(a[2], b[0])
    assert not torch.equal(a[0], a[1])
