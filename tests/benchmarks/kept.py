"""Activations in a file, so that a benchmark need not read the same text twice."""

from collections.abc import Mapping

import numpy as np
from scipy.sparse import csr_matrix

from saes.activations import FeatureActivations
from saes.documents import Document
from saes.evaluate import Quality

__all__ = ["arrays_of", "from_arrays"]

PARTS = ("data", "indices", "indptr", "shape")


def arrays_of(seen: FeatureActivations, prefix: str) -> dict[str, np.ndarray]:
    """Activations as arrays for ``numpy.savez``, their names beginning with the prefix."""
    arrays = {
        "ids": np.concatenate([document.token_ids for document in seen.documents]),
        "prompts": np.array([document.prompt_len for document in seen.documents]),
        "offsets": seen.offsets,
        "norms": seen.norms,
        "quality": np.array(seen.quality.model_dump_json()),
    }
    for name, matrix in (("matrix", seen.matrix), ("around", seen.around)):
        if matrix is not None:
            parts = (matrix.data, matrix.indices, matrix.indptr, np.array(matrix.get_shape()))
            arrays |= {f"{name}.{part}": each for part, each in zip(PARTS, parts, strict=True)}
    return {f"{prefix}.{name}": array for name, array in arrays.items()}


def from_arrays(kept: Mapping[str, np.ndarray], prefix: str) -> FeatureActivations:
    """What ``arrays_of`` was given."""

    def matrix(name: str) -> csr_matrix:
        data, indices, indptr, shape = (kept[f"{prefix}.{name}.{part}"] for part in PARTS)
        return csr_matrix((data, indices, indptr), shape=tuple(shape.tolist()))

    offsets, prompts = kept[f"{prefix}.offsets"], kept[f"{prefix}.prompts"].tolist()
    ids = np.split(kept[f"{prefix}.ids"], offsets[1:-1])
    return FeatureActivations(
        documents=[Document(own.tolist(), prompt) for own, prompt in zip(ids, prompts, strict=True)],
        matrix=matrix("matrix"),
        offsets=offsets,
        norms=kept[f"{prefix}.norms"],
        quality=Quality.model_validate_json(kept[f"{prefix}.quality"].item()),
        around=matrix("around") if f"{prefix}.around.data" in kept else None,
    )
