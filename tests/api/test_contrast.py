"""``/v1/features/contrast``: the numbers against a naive twin, and what is asked of the engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from api.analysis.contrast import MeanActivations, effects_of
from api.engine import FakeEngine
from featurehub.activations import ActivationTotals
from featurehub.edits import Steering
from tests.api.conftest import SAE
from tests.api.reports import reading

Matrix = Any


@dataclass
class Reading(FakeEngine):
    """An engine in which latent 2 fires on the word "loan", and latent 1 on every word."""

    async def run(self, token_ids: Sequence[int], steering: Steering, **asked: Any) -> Mapping[int, float]:
        loans, [read] = [*token_ids[1:]].count(sum(b"loan")), steering.reads
        report = reading(*((token, {1: 1.0}) for token in token_ids))
        report["activations"]["totals"] = [totals(len(token_ids) - 1, {1: len(token_ids) - 1.0, 2: 3.0 * loans})]
        assert read.totals == ((1, len(token_ids)),)
        self.reports[steering.report] = report
        return await super().run(token_ids, steering, **asked)


def totals(tokens: int, sums: dict[int, float]) -> dict[str, Any]:
    own = {latent: value for latent, value in sums.items() if value}
    latents, values = np.array([*own], "<i4"), np.array([*own.values()], "<f4")
    ints = {"latents": latents.tobytes(), "counts": np.ones_like(latents).tobytes()}
    return ActivationTotals(sae=SAE, tokens=tokens, **ints, sums=values.tobytes(), maxima=values.tobytes()).model_dump()


@pytest.fixture
def engine() -> FakeEngine:
    return Reading()


def chats(*texts: str) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": text}] for text in texts]


def ask(client: TestClient, status: int = 200, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/features/contrast", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


LOANS = chats("x a loan please", "x the loan", "x my loan and loan", "x loan")
OTHERS = chats("x the weather", "x snowfall", "x a cake and tea", "x song")


def test_the_feature_of_one_set_comes_first_and_what_both_have_is_none(client: TestClient) -> None:
    found = ask(client, dataset_1=LOANS, dataset_2=OTHERS)
    [first] = found["dataset_1"]
    assert (first["label"], first["accuracy"], first["mean_2"]) == ("banking: loan, deposit", 1.0, 0.0)
    assert first["effect"] > 0
    assert found["dataset_2"] == []
    assert [each["state"] for each in found["saes"]] == ["fresh"]


def test_the_sets_changed_over_the_effects_change_their_sign(client: TestClient) -> None:
    first = ask(client, dataset_1=LOANS, dataset_2=OTHERS)["dataset_1"]
    [other] = ask(client, dataset_1=OTHERS, dataset_2=LOANS)["dataset_2"]
    assert (other["effect"], other["mean_2"]) == (-first[0]["effect"], first[0]["mean_1"])


def test_single_chats_have_an_effect_and_no_accuracy(client: TestClient) -> None:
    [first] = ask(client, dataset_1=LOANS[:1], dataset_2=OTHERS[:1])["dataset_1"]
    assert (first["accuracy"], first["effect"]) == (None, pytest.approx(first["mean_1"] ** 0.5))


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"dataset_1": LOANS}, 400, "dataset_2"),
        ({"dataset_1": LOANS, "dataset_2": []}, 400, "dataset_2"),
        ({"dataset_1": LOANS, "dataset_2": OTHERS, "limit": 0}, 400, "limit"),
        ({"dataset_1": LOANS, "dataset_2": OTHERS, "sae": "missing"}, 404, "sae"),
    ],
)
def test_bad_bodies(client: TestClient, body: dict[str, Any], status: int, param: str) -> None:
    assert ask(client, status, **body)["error"]["param"] == param


def test_an_engine_that_dies_meanwhile_is_one_error(client: TestClient, engine: FakeEngine) -> None:
    engine.running = False
    assert ask(client, 503, dataset_1=LOANS, dataset_2=OTHERS)["error"]["code"]


def naive(x: Matrix, count: int, latent: int) -> tuple[float, float, float, float | None]:
    """One latent at a time, from the definition."""
    sets = [x[:count, latent].tolist(), x[count:, latent].tolist()]
    chosen, tested = [each[::2] for each in sets], [each[1::2] for each in sets]
    m1, m2 = (float(np.mean(each)) for each in chosen)
    active = [i for i in range(x.shape[1]) if any(v > 0 for part in (x[:count:2, i], x[count::2, i]) for v in part)]
    r = np.sqrt(x)
    spread = {i: np.sqrt((np.var(r[:count:2, i]) + np.var(r[count::2, i])) / 2) for i in active}
    d = (np.mean(r[:count:2, latent]) - np.mean(r[count::2, latent])) / (
        spread[latent] + (np.median([*spread.values()]) or 1.0)
    )
    if not all(tested):
        return d, m1, m2, None
    cut = (m1 + m2) / 2

    def share(values: list[float], above: bool) -> float:
        return float(np.mean([0.5 if v == cut else float((v > cut) == above) for v in values]))

    if m1 == m2:
        return d, m1, m2, 0.5
    return d, m1, m2, (share(tested[0], m1 > m2) + share(tested[1], m1 < m2)) / 2


VALUES = st.sampled_from((0.0, 0.0, 0.5, 1.0, 2.0, 3.5))


@given(
    x=st.tuples(st.integers(2, 9), st.integers(1, 5)).flatmap(lambda shape: arrays(np.float64, shape, elements=VALUES)),
    share=st.floats(0, 1),
    together=st.sampled_from((1, 2, 4096)),
)
def test_effects_are_those_of_the_definition(x: Matrix, share: float, together: int) -> None:
    count = 1 + int(share * (len(x) - 2))
    chats = [MeanActivations(np.flatnonzero(own), own[own > 0]) for own in x]
    with patch("api.analysis.contrast.COLUMNS", together):
        found = effects_of(SAE, chats, count)
    active = {i for i in range(x.shape[1]) if x[:count:2, i].any() or x[count::2, i].any()}
    assert {each.latent for each in found} == active
    for each in found:
        d, m1, m2, accuracy = naive(x, count, each.latent)
        assert (each.effect, each.mean_1, each.mean_2) == pytest.approx((d, m1, m2))
        assert each.accuracy == (None if accuracy is None else pytest.approx(accuracy))
