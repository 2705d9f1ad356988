"""SAEs of spans: what their vectors are, and what is measured for them once they are trained."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from featurehub.dictionary import Dictionary
from saes.activations import encode_documents
from saes.documents import Document
from saes.reader import FakeReader
from saes.recipes import Recipe
from saes.run import TrainConfig, resume_run
from saes.spans import SpanChunks, running_means, span_means, stride
from saes.steering_vectors import steering_vectors, token_thresholds
from saes.stream import DocumentChunks, Stream, StreamConfig
from saes.train import SaeRun, train

D_MODEL, SPAN = 12, 8
CONFIG = TrainConfig(tokens=19_200, batch_tokens=64, span=SPAN, checkpoint_every=0)
RECIPE = Recipe(d_sae=24, k=2, lr=1e-2)


class Subjects(FakeReader):
    """Each document has one of six subjects, which all of its tokens share beside what they are themselves."""

    def capture(self, documents: Sequence[Sequence[int]]) -> list[Tensor]:
        subjects = 6 * torch.eye(D_MODEL)
        return [x + subjects[d[-1] % 6] for d, x in zip(documents, super().capture(documents), strict=True)]


def chunks() -> DocumentChunks:
    draw = torch.Generator().manual_seed(1)
    texts = [torch.randint(1, 40, (30,), generator=draw).tolist() for _ in range(96)]
    return DocumentChunks(Subjects(40, D_MODEL), [Document([0, *text], 2) for text in texts], {0}, 16)


def stream() -> Stream:
    return Stream(SpanChunks(chunks(), SPAN), StreamConfig(buffer_tokens=512, batch_tokens=CONFIG.batch_tokens))


@pytest.fixture(scope="module")
def trained() -> Dictionary:
    return train(stream(), D_MODEL, [RECIPE], CONFIG)[0].dictionary


@pytest.fixture(scope="module")
def tokens() -> Tensor:
    source = chunks()
    exact = torch.cat([x for chunk in range(len(source)) for x in source.streams(chunk)])
    return exact + 0.01 * torch.randn(exact.shape, generator=torch.Generator().manual_seed(2))  # no two are equal


@pytest.fixture(scope="module")
def spans() -> Tensor:
    source = SpanChunks(chunks(), SPAN)
    return torch.cat([x for chunk in range(len(source)) for x in source.streams(chunk)])


@given(length=st.integers(0, 40), span=st.integers(1, 12))
def test_a_span_begins_every_few_tokens_and_none_is_cut_off(length: int, span: int) -> None:
    x = torch.randn(length, 3, generator=torch.Generator().manual_seed(length)) + 100
    starts = range(0, max(1, length - span + 1), stride(span)) if length else []
    wanted = [x[start : start + span].mean(dim=0) for start in starts]
    found = span_means(x, span)
    assert len(found) == len(wanted)
    if wanted:
        torch.testing.assert_close(found, torch.stack(wanted))


@given(length=st.integers(0, 40), span=st.integers(2, 12))
def test_around_a_token_is_the_mean_of_as_many_tokens_as_the_document_has_there(length: int, span: int) -> None:
    x = torch.randn(length, 3, generator=torch.Generator().manual_seed(length))
    means = running_means(x, span)
    assert means.shape == x.shape
    for at in range(length):
        own = x[max(0, at - span // 2) : at - span // 2 + span]
        torch.testing.assert_close(means[at], own.mean(dim=0))


def test_no_span_reaches_into_another_document() -> None:
    source = chunks()
    wanted = [span_means(x, SPAN) for x in source.streams(2)]
    assert all(torch.equal(a, b) for a, b in zip(SpanChunks(source, SPAN).streams(2), wanted, strict=True))
    assert len(wanted) == 16


def test_latents_are_subjects_and_not_tokens(trained: Dictionary, spans: Tensor) -> None:
    """The subject of a span is told by one latent alone, which a single token would have to be averaged for."""
    subject = (spans @ torch.eye(D_MODEL)[:, :6]).argmax(dim=1)
    a = trained.encode(spans)
    for each in range(6):
        own, other = a[subject == each].mean(dim=0), a[subject != each].mean(dim=0)
        assert float((own - other).max()) > 1.0


def test_steering_vectors_lie_halfway_between_decoder_row_and_mean_difference(
    trained: Dictionary, spans: Tensor
) -> None:
    found, a, mean = steering_vectors(trained, spans), trained.encode(spans), spans.mean(dim=0)
    for latent, row in enumerate(trained.W_dec):
        difference = sum(
            (float(w) * (x - mean) for w, x in zip(a[:, latent], spans, strict=True)), torch.zeros(D_MODEL)
        )
        wanted = row.norm() * normalize(normalize(row, dim=0) + normalize(difference, dim=0), dim=0)
        torch.testing.assert_close(found[latent], wanted, rtol=1e-3, atol=1e-3)


def test_a_latent_that_never_fires_is_steered_by_its_decoder_row(trained: Dictionary, spans: Tensor) -> None:
    dead = trained._replace(threshold=trained.threshold.index_fill(0, torch.tensor([3]), 1e6))
    torch.testing.assert_close(steering_vectors(dead, spans)[3], dead.W_dec[3])


def test_latents_fire_on_as_many_tokens_as_spans(trained: Dictionary, spans: Tensor, tokens: Tensor) -> None:
    dead = trained._replace(threshold=trained.threshold.index_fill(0, torch.tensor([3]), 1e6))
    cut = dead._replace(threshold=token_thresholds(dead, spans, tokens))
    on_spans, on_tokens = ((each.encode(x) > 0).float().mean(dim=0) for each, x in ((dead, spans), (cut, tokens)))
    torch.testing.assert_close(on_tokens, on_spans, rtol=0, atol=2e-3)
    assert float(on_tokens[3]) == 0


def test_a_run_ends_in_an_sae_for_tokens_with_steering_vectors(trained: Dictionary, tokens: Tensor) -> None:
    assert trained.W_steer is not None
    torch.testing.assert_close(trained.W_steer.norm(dim=-1), trained.W_dec.norm(dim=-1))
    assert float((trained.encode(tokens) > 0).sum(dim=-1).float().mean()) == pytest.approx(RECIPE.k, rel=0.4)


def test_labels_are_made_from_what_is_around_each_token(trained: Dictionary) -> None:
    reader, documents = FakeReader(30, trained.d_model), [Document([0, *range(2, 20)], 1), Document([0, 3, 1, 4], 1)]
    seen = encode_documents(reader, trained, documents, {0, 1}, span=4)
    assert seen.around is not None
    assert trained.span_threshold is not None
    for i, document in enumerate(documents):
        [x] = reader.capture([document.token_ids])
        ordinary = [at for at, token in enumerate(document.token_ids) if token not in {0, 1}]
        wanted = torch.zeros(len(x), trained.d_sae)
        wanted[ordinary] = trained.of_spans.encode(running_means(x[ordinary], 4))
        rows = seen.around[seen.offsets[i] : seen.offsets[i + 1]].toarray()
        np.testing.assert_allclose(rows, wanted.numpy(), rtol=1e-4, atol=1e-4)
    assert encode_documents(reader, trained, documents, {0, 1}).around is None


def test_a_run_that_was_stopped_ends_in_the_same_sae(trained: Dictionary, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"

    class Stopped(Exception):
        pass

    def stop(reports: object) -> None:
        if next(seen, None) is None:
            raise Stopped

    seen = islice(iter(int, 1), 1)
    with pytest.raises(Stopped):
        resume_run(SaeRun(stream(), D_MODEL, [RECIPE], CONFIG, {}), path, stop)
    [again] = train(stream(), D_MODEL, [RECIPE], CONFIG, path)
    assert all(torch.equal(a, b) for a, b in zip(again.dictionary, trained, strict=True) if isinstance(a, Tensor))
