"""The layout of a map by UMAP, as a program: ``python -m labeling.layout``, from arrays (npz) to places (npy).

A process of its own, since UMAP brings numba and with it llvmlite, and vLLM starts no engine in a process that has
imported that: it looks through all that modules hold, and stumbles over llvmlite's wrappers.
"""

import io
import sys
import warnings

import numpy as np

SEED = 0


def main() -> None:
    with np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False) as sent:
        begin, neighbors, distances = sent["begin"], sent["neighbors"], sent["distances"]
    # It speaks of what it was not asked for: a network, and places for rows that come later.
    warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)
    warnings.filterwarnings("ignore", "precomputed_knn", UserWarning)
    from umap import UMAP

    layout = UMAP(
        n_neighbors=neighbors.shape[1],
        precomputed_knn=(neighbors, distances, None),
        force_approximation_algorithm=True,  # else the neighbours would be sought anew, by ``begin``
        init=begin,  # type: ignore[arg-type] (it takes places too)
        random_state=SEED,
        n_jobs=1,
    )
    np.save(sys.stdout.buffer, layout.fit_transform(begin), allow_pickle=False)


if __name__ == "__main__":
    main()
