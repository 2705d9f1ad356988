"""Groups of latents that write alike against average linkage over all pairs, and their names."""

from itertools import combinations

import numpy as np
import pytest

from featurehub.records import Labeled
from labeling.cluster_names import CHANCE, cluster_latents, names_of, shared_words
from labeling.communities import Edges, communities, edges_of
from labeling.statistics import nearest
from tests.labels import labeled

LATENTS = 40


def random_edges(seed: int, coarse: bool) -> Edges:
    """A sparse graph; with coarse weights, many of which are equal."""
    random = np.random.default_rng(seed)
    pairs = [pair for pair in combinations(range(LATENTS), 2) if random.random() < 0.12]
    weights = random.integers(1, 5, len(pairs)) / 4 if coarse else random.random(len(pairs))
    return dict(zip(pairs, weights.tolist(), strict=True))


def naive(edges: Edges, least: float, largest: int) -> list[tuple[int, ...]]:
    """Looks at all pairs of groups anew for each merge."""
    groups = [[latent] for latent in sorted({latent for pair in edges for latent in pair})]
    while True:
        found: list[tuple[float, int, int]] = []
        for a, b in combinations(range(len(groups)), 2):
            pairs = [(min(i, j), max(i, j)) for i in groups[a] for j in groups[b]]
            alike = sum(edges.get(pair, 0.0) for pair in pairs) / len(pairs)
            if alike >= least and len(groups[a]) + len(groups[b]) <= largest:
                found.append((-round(alike, 12), a, b))
        if not found:
            return [tuple(sorted(each)) for each in groups if len(each) > 1]
        _, a, b = min(found)
        groups[a] += groups.pop(b)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("least", "largest"), [(0.05, 50), (0.2, 50), (0.05, 5), (0.9, 50)])
def test_they_are_those_of_average_linkage(seed: int, least: float, largest: int) -> None:
    edges = random_edges(seed, coarse=False)
    found = communities(edges, least, largest)
    assert found == naive(edges, least, largest)
    assert all(len(each) <= largest for each in found)


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_the_edges_changes_nothing(seed: int) -> None:
    edges = random_edges(seed, coarse=True)
    backwards = dict(reversed(list(edges.items())))
    assert communities(edges) == communities(backwards)


def test_a_chain_does_not_become_one_group() -> None:
    chain = {(at, at + 1): 0.9 for at in range(20)}
    assert max(map(len, communities(chain, least=0.4))) < 4


def test_edges_are_the_cosines_of_neighbours() -> None:
    W_dec = np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32)
    W_dec[7] = 0.0
    neighbors = dict(enumerate(nearest(W_dec, np.arange(30), 4)))
    del neighbors[9]
    unit = W_dec / np.maximum(np.linalg.norm(W_dec, axis=1, keepdims=True), 1e-12)
    wanted = {
        (i, j): float(unit[i] @ unit[j])
        for i, j in combinations(range(30), 2)
        if 9 not in (i, j) and (j in neighbors[i] or i in neighbors[j]) and unit[i] @ unit[j] > 0
    }
    assert edges_of(W_dec, neighbors) == pytest.approx(wanted, rel=1e-5)


def labels(*texts: str) -> dict[int, Labeled]:
    return {at: labeled(text, score=0.5 + at / 1000) for at, text in enumerate(texts)}


OTHERS = [f"thing{n}: the, stuff{n}" for n in range(60)]


def test_a_cluster_is_called_by_the_words_that_its_labels_share() -> None:
    known = labels("loan: bank, the", "credit: bank, the", "cash: bank, the", "river: the, water", *OTHERS)
    assert names_of([(0, 1, 2), (3, 4, 5)], known) == {0: "bank", 1: "thing1, thing0"}
    assert names_of([(0,), (99, 98)], known) == {0: "loan"}


def test_two_clusters_have_two_names() -> None:
    pairs = [f"{head}: bank" for head in ("loan", "credit", "cash", "cheque", "money", "debt", "interest")]
    known = labels(*pairs, *OTHERS)
    assert names_of([(0, 1, 2), (3, 4, 5, 6)], known) == {0: "bank (cash)", 1: "bank"}


def test_what_is_shared_by_chance_is_no_name() -> None:
    random = np.random.default_rng(0)
    often = {f"w{n}": 200 for n in range(5)}
    luck = 0
    for _ in range(500):
        cluster = [frozenset(f"w{n}" for n in range(5) if random.random() < 0.2) for _ in range(6)]
        luck += bool(shared_words(cluster, often, 1000))
    assert luck <= 3 * 500 * CHANCE
    assert shared_words([frozenset(("w1", "x"))] * 6, {"w1": 200, "x": 6}, 1000) == ["x", "w1"]


def test_clusters_of_an_sae() -> None:
    random = np.random.default_rng(0)
    centers = random.normal(size=(3, 64))
    W_dec = np.concatenate([center + 0.3 * random.normal(size=(4, 64)) for center in centers]).astype(np.float32)
    neighbors = dict(enumerate(nearest(W_dec, np.arange(12), 3)))
    known = labels(*(f"{head}{n}: {head}s" for head in ("bank", "ship", "tree") for n in range(4)), *OTHERS)
    found = cluster_latents(W_dec, neighbors, known)
    assert [each.latents for each in found] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11)]
    assert [each.name for each in found] == ["banks", "ships", "trees"]
    assert [each.name for each in cluster_latents(W_dec, neighbors, {})] == ["", "", ""]
