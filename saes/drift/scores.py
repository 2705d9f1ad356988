"""The statistics of a drift check, old against new.

F1 equals scikit-learn's, as a test checks; a call there takes a thousand times as long, and each feature needs several.
"""

import numpy as np
from scipy.sparse import csr_matrix

__all__ = ["best_threshold", "correlation", "f1", "f1_pull"]


def f1(truth: np.ndarray, fires: np.ndarray) -> float:
    """Returns 2 TP / (2 TP + FP + FN); 0 where neither array ever holds.

    Args:
        truth: Boolean array.
        fires: Boolean array of the same shape, the prediction.
    """
    hits = int((truth & fires).sum())
    total = int(truth.sum()) + int(fires.sum())
    return 2 * hits / total if total else 0.0


def f1_pull(truth: np.ndarray, fires: np.ndarray) -> np.ndarray:
    """Returns how far each text pulls the F1, as a share of it; the pulls sum to 0.

    F1 is a ratio of two sums, Σ m / Σ n with m = 2 · (truth ∧ fires) and n = truth + fires of each text. Had other
    texts been drawn, it would differ by Σ (m − F1 · n) / Σ n, to the first order (delta method), so that the root of
    the sum of these squares is its standard error. That of the difference of two F1 on the same texts is the root of
    the sum of the squared differences.

    Args:
        truth: Boolean array, one element per text.
        fires: Boolean array of the same shape, the prediction.

    Returns:
        [texts]; 0 where neither array ever holds.
    """
    m, n = 2 * (truth & fires), truth.astype(int) + fires
    return (m - f1(truth, fires) * n) / max(1, n.sum())


def best_threshold(truth: np.ndarray, peaks: np.ndarray) -> float:
    """Returns the level t ≥ 0, halfway between two peaks, for which ``peaks > t`` has the highest F1.

    Args:
        truth: [documents] of bool, what is predicted.
        peaks: [documents] activations.
    """
    order = np.argsort(-peaks, kind="stable")
    hits = np.cumsum(truth[order])
    scores = 2 * hits / (np.arange(1, len(order) + 1) + max(1, truth.sum()))
    sorted_peaks = np.append(np.maximum(peaks[order], 0.0), 0.0)
    # A level cannot separate equal peaks.
    scores[sorted_peaks[:-1] <= sorted_peaks[1:]] = -1.0
    best = int(scores.argmax())
    return float((sorted_peaks[best] + sorted_peaks[best + 1]) / 2)


def correlation(old: csr_matrix, new: csr_matrix) -> np.ndarray:
    """Returns Pearson's r of each column of two matrices of equal shape, [columns]; nan where one is constant."""
    n = max(1, len(old.indptr) - 1)
    mean_old, mean_new = (np.asarray(m.mean(axis=0)).ravel() for m in (old, new))
    covariance = np.asarray(old.multiply(new).sum(axis=0)).ravel() / n - mean_old * mean_new
    spread = [
        np.asarray(m.multiply(m).sum(axis=0)).ravel() / n - mean**2 for m, mean in ((old, mean_old), (new, mean_new))
    ]
    with np.errstate(invalid="ignore", divide="ignore"):
        return covariance / np.sqrt(spread[0] * spread[1])
