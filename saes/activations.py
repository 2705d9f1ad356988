"""What an SAE's features do on documents, as one sparse matrix, and the statistics that follow from it."""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from featurehub.dictionary import Dictionary
from featurehub.scratch import check_room
from featurehub.sparse import MatrixWriter, entries_per_column
from saes.documents import Document, count_tokens
from saes.evaluate import Evaluator, Quality
from saes.reader import StreamReader, read_tokens
from saes.spans import running_means

__all__ = ["FeatureActivations", "encode_documents"]

ROOM = 7
"""What labelling has on disk at once, at most, in sizes of the activations (``tests/benchmarks/label_memory.py``)."""


class FeatureActivations(NamedTuple):
    """Activations of all latents on all tokens of some documents, on disk (``featurehub.sparse``).

    Attributes:
        documents: The documents.
        matrix: [tokens, d_sae] in float32; rows of special tokens are empty.
        offsets: [documents + 1]; the tokens of document i are rows offsets[i] to offsets[i + 1].
        norms: [tokens] ‖x‖ of ordinary tokens, 0 for special ones.
        quality: How well the SAE reconstructs the ordinary tokens.
        around: [tokens, d_sae] activations on the mean of the stream around each token, for an SAE of spans: single
            tokens say little of what its latents read. None for an SAE of single tokens.
    """

    documents: list[Document]
    matrix: csr_matrix
    offsets: np.ndarray
    norms: np.ndarray
    quality: Quality
    around: csr_matrix | None = None

    @property
    def tokens(self) -> int:
        """Number of ordinary tokens."""
        return int((self.norms > 0).sum())

    @property
    def density(self) -> np.ndarray:
        """[d_sae] share of ordinary tokens on which each latent is active, in [0, 1]."""
        return entries_per_column(self.matrix) / max(1, self.tokens)

    @property
    def max_activation(self) -> np.ndarray:
        """[d_sae] largest activation of each latent on any token; 0 for those that never fire."""
        return self.matrix.max(axis=0).toarray().ravel()

    @property
    def median_norm(self) -> float:
        """Median of ‖x‖ over ordinary tokens."""
        return float(np.median(self.norms[self.norms > 0]))

    def document_max(self) -> np.ndarray:
        """Returns the largest activation of every latent in every document, [documents, d_sae] in float32."""
        return np.stack([self.rows(i).max(axis=0).toarray().ravel() for i in range(len(self.documents))])

    def rows(self, document: int) -> csr_matrix:
        """Returns the rows of one document, [tokens, d_sae]."""
        return self.matrix[self.offsets[document] : self.offsets[document + 1]]


def encode_documents(
    reader: StreamReader,
    dictionary: Dictionary,
    documents: Sequence[Document],
    special: Collection[int],
    documents_per_read: int = 256,
    progress: Callable[[int], None] = lambda documents: None,
    span: int = 1,
) -> FeatureActivations:
    """Encodes every token of some documents, and measures the reconstruction on the way.

    Args:
        reader: Reads the stream.
        dictionary: The SAE.
        documents: The documents.
        special: Ids of special tokens, which count as inactive.
        documents_per_read: How many documents are read in one call; it bounds memory.
        progress: Called with 1 after each document.
        span: Tokens around each whose mean is encoded too (``FeatureActivations.around``); 1 for none.

    Raises:
        InvalidInput: If there is no ordinary token.
        BudgetExceeded: If the disk is too small, as far as the documents that were read tell.
    """
    norms, offsets, evaluation = [], [0], Evaluator(dictionary)
    singly, around = MatrixWriter(dictionary.d_sae), MatrixWriter(dictionary.d_sae)
    tokens = count_tokens(documents)
    for document, x, mask in read_tokens(reader, documents, special, documents_per_read):
        a = dictionary.encode(x) * mask[:, None]
        evaluation.add(x[mask], a[mask])
        add_rows(singly, a)
        if span > 1:
            a[mask] = dictionary.of_spans.encode(running_means(x[mask], span))
            add_rows(around, a)
        norms.append(torch.where(mask, x.norm(dim=-1), 0.0).numpy())
        offsets.append(offsets[-1] + len(document.token_ids))
        if len(norms) % documents_per_read == 0:
            written = singly.bytes + around.bytes
            check_room(ROOM * written * tokens / offsets[-1] - written, "the activations, and what is made of them,")
        progress(1)
    return FeatureActivations(
        documents=list(documents),
        matrix=singly.rows(),
        offsets=np.array(offsets),
        norms=np.concatenate(norms),
        quality=evaluation.quality(),
        around=around.rows() if span > 1 else None,
    )


def add_rows(written: MatrixWriter, a: Tensor) -> None:
    rows = csr_matrix(a.numpy())
    written.add(rows.data, rows.indices, np.diff(rows.indptr))
