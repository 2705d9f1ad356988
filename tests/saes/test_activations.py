"""What features do on documents: the matrix, its statistics, canaries that cover it, and the file that keeps it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from scipy.sparse import csr_matrix

from featurehub.dictionary import Dictionary
from featurehub.errors import CorruptArtifact
from saes.activations import FeatureActivations, encode_documents
from saes.canaries import CanaryConfig, choose_canaries
from saes.documents import Document
from saes.evaluate import Quality, evaluate
from saes.observed import Observations, observe
from saes.reader import FakeReader

SPECIAL = {0, 1}
QUALITY = Quality(
    explained_variance=1.0, l0=1.0, dead=0.0, tokens=1, mse=0.0, cosine_similarity=1.0, relative_reconstruction_bias=1.0
)
DOCUMENTS = [Document([0, *(2 + (3 * i + 5 * j) % 28 for j in range(3 + i % 5)), 1], 2 + i % 2) for i in range(20)]


@pytest.fixture(scope="module")
def activations(dictionary: Dictionary) -> FeatureActivations:
    return encode_documents(FakeReader(30, 16), dictionary, DOCUMENTS, SPECIAL, documents_per_read=7)


def test_every_row_is_the_encoding_of_its_token_and_special_ones_are_empty(
    activations: FeatureActivations, dictionary: Dictionary
) -> None:
    reader = FakeReader(30, 16)
    for i, document in enumerate(DOCUMENTS):
        [x] = reader.capture([document.token_ids])
        ordinary = np.array([token not in SPECIAL for token in document.token_ids])
        wanted = dictionary.encode(x).numpy() * ordinary[:, None]
        np.testing.assert_allclose(activations.rows(i).toarray(), wanted, rtol=1e-5, atol=1e-5)
        norms = activations.norms[activations.offsets[i] : activations.offsets[i + 1]]
        np.testing.assert_allclose(norms, x.norm(dim=-1).numpy() * ordinary, rtol=1e-5)


def test_the_statistics_are_those_of_the_ordinary_tokens(activations: FeatureActivations) -> None:
    dense = activations.matrix.toarray()
    ordinary = sum(token not in SPECIAL for document in DOCUMENTS for token in document.token_ids)
    assert activations.tokens == ordinary
    np.testing.assert_allclose(activations.density, (dense > 0).sum(axis=0) / ordinary)
    np.testing.assert_allclose(activations.max_activation, dense.max(axis=0))
    assert activations.median_norm == pytest.approx(np.median(activations.norms[activations.norms > 0]))
    for i, peaks in enumerate(activations.document_max()):
        np.testing.assert_allclose(peaks, activations.rows(i).toarray().max(axis=0))
    assert activations.density[5] == 0


def test_the_quality_is_that_of_the_ordinary_tokens(activations: FeatureActivations, dictionary: Dictionary) -> None:
    ordinary = [[token for token in document.token_ids if token not in SPECIAL] for document in DOCUMENTS]
    by_hand = evaluate(dictionary, FakeReader(30, 16).capture(ordinary))
    assert activations.quality.model_dump() == pytest.approx(by_hand.model_dump())


def test_progress_is_told_of_every_document(dictionary: Dictionary) -> None:
    told: list[int] = []
    encode_documents(FakeReader(30, 16), dictionary, DOCUMENTS, SPECIAL, progress=told.append)
    assert sum(told) == len(DOCUMENTS)


@given(seed=st.integers(0, 300), firings=st.integers(1, 5), documents=st.integers(1, 15))
def test_every_live_feature_fires_in_as_many_canaries_as_asked_or_in_all_it_has(
    seed: int, firings: int, documents: int
) -> None:
    random = np.random.default_rng(seed)
    dense = (random.random((documents * 3, 8)) < random.random(8) * 0.5).astype(np.float32)
    found = FeatureActivations(
        [Document([2, 3, 4], 1)] * documents,
        csr_matrix(dense),
        np.arange(0, 3 * documents + 1, 3),
        np.ones(3 * documents),
        QUALITY,
    )
    chosen = choose_canaries(found, CanaryConfig(firings=firings))
    assert len(set(chosen)) == len(chosen)
    fires = found.document_max() > 0
    np.testing.assert_array_equal(
        np.minimum(fires[chosen].sum(axis=0), firings), np.minimum(fires.sum(axis=0), firings)
    )


@given(budget=st.integers(1, 60))
def test_the_canaries_stay_within_their_budget_of_tokens(activations: FeatureActivations, budget: int) -> None:
    chosen = choose_canaries(activations, CanaryConfig(firings=50, max_tokens=budget))
    assert sum(len(DOCUMENTS[i].token_ids) for i in chosen) <= budget


@given(budget=st.integers(1, 200))
def test_what_the_cover_leaves_of_the_budget_is_filled(activations: FeatureActivations, budget: int) -> None:
    chosen = choose_canaries(activations, CanaryConfig(firings=1, max_tokens=budget))
    left = budget - sum(len(DOCUMENTS[i].token_ids) for i in chosen)
    others = [len(document.token_ids) for i, document in enumerate(DOCUMENTS) if i not in chosen]
    assert not others or left < max(others)


def test_observed_documents_come_back_from_disk_as_they_were(activations: FeatureActivations, tmp_path: Path) -> None:
    before = observe(activations)
    before.save(tmp_path / "o.safetensors")
    after = Observations.load(tmp_path / "o.safetensors")
    assert list(after.documents) == list(range(len(DOCUMENTS)))
    for i, document in enumerate(DOCUMENTS):
        assert after.document(i) == document.token_ids
        assert after.prompt(i) == document.token_ids[: document.prompt_len]
        assert after.answer(i) == document.token_ids[document.prompt_len :]
    assert (after.matrix != before.matrix).nnz == 0
    assert after.matrix.shape == before.matrix.shape
    np.testing.assert_array_equal(after.answer_max(), before.answer_max())


def test_peaks_are_taken_over_answers_alone_and_an_empty_answer_has_none(activations: FeatureActivations) -> None:
    peaks = observe(activations).answer_max()
    for i, document in enumerate(DOCUMENTS):
        wanted = activations.rows(i).toarray()[document.prompt_len :].max(axis=0)
        np.testing.assert_array_equal(peaks[i], wanted)
    observed = observe(activations)
    whole = Observations(observed.token_ids, observed.offsets, np.diff(observed.offsets), observed.matrix)
    assert not whole.answer_max().any()


def test_damaged_observations_are_corrupt_and_named(activations: FeatureActivations, tmp_path: Path) -> None:
    path = tmp_path / "canaries.safetensors"
    observe(activations).save(path)
    # Cloned: the file that they are mapped from is cut short below.
    whole, tensors = path.read_bytes(), {name: tensor.clone() for name, tensor in load_file(path).items()}
    for damage in (whole[:-4], whole[:20], b""):
        path.write_bytes(damage)
        with pytest.raises(CorruptArtifact, match=path.name):
            Observations.load(path)
    for missing in tensors:
        save_file({name: tensor for name, tensor in tensors.items() if name != missing}, path)
        with pytest.raises(CorruptArtifact, match=path.name):
            Observations.load(path)
    with pytest.raises(CorruptArtifact, match="nowhere"):
        Observations.load(tmp_path / "nowhere")
