"""What a request costs the database: statements, of which none grows with the features or with the request."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.engine import FakeEngine
from api.fake import create_fake_app
from api.model import ServedModel
from api.plan import Plan, make_plan
from api.request import SteeringRequest
from featurehub.errors import AmbiguousFeature, FeatureNotFound, StaleFeature
from featurehub.features import State
from featurehub.settings import Limits
from featurehub.store import Calibration, FeatureRow, Provenance, Reader, Scope, Store, open_store
from featurehub.verdicts import DriftReport, FeatureVerdict
from tests.api.conftest import CHECKED, SAE, manifest
from tests.api.models import HOME, model
from tests.api.reports import report
from tests.labels import labeled
from tests.store.counting import counted

FEATURES = 16_384
STALE = 9_000
TWIN = FEATURES - 2
"""The last two features share a label."""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store of one SAE, all of whose features have a verdict on the model ``CHECKED``."""
    store = open_store(tmp_path_factory.mktemp("large") / "features.db")
    by_hand = Provenance(author="test", method="by hand")
    verdicts = tuple(
        FeatureVerdict(latent=n, label="x", reads=state, steers=state, reason="measured")
        for n in range(FEATURES)
        for state in [State.STALE if n == STALE else State.SUSPECT]
    )
    with store.write() as writer:
        writer.put_artifact(manifest(SAE, "large").model_copy(update={"d_sae": FEATURES}), "/nowhere")
        rows = [FeatureRow(latent=n, density=0.01, max_activation=3.0) for n in range(FEATURES)]
        ids = writer.put_features(SAE, rows)
        labels = [f"topic number {n}: words of {n % 7}" for n in range(TWIN)] + ["twin: same", "twin: same"]
        writer.put_labels({id: (labeled(label, score=0.9), by_hand) for id, label in zip(ids, labels, strict=True)})
        writer.put_calibrations({id: Calibration(strength=2.0, dose=0.3, steerability=0.8) for id in ids[:200]})
        writer.put_report(
            DriftReport(
                id="drift", artifact=SAE, model="sibling", fingerprint=model(CHECKED).function,
                created="2026-01-02T00:00:00+00:00",
                state=State.SUSPECT, reason="", metrics={}, features=verdicts,
            )
        )  # fmt: skip
    yield store
    store.close()


def body(count: int = 32, **more: Any) -> dict[str, Any]:
    """Edits under every form of a name, half of them with a condition, and aborts."""
    forms = ("topic number {}", "Topic Number {}: words of {seventh}", "topic-number-{}", "sae:large/{}")
    names = [forms[n % 4].format(n, seventh=n % 7) for n in range(count)]
    when = [{"feature": f"topic number {n + 100}", "value": 0.5} for n in range(count)]
    edits = {
        name: {"weight": 0.5} | ({"when": condition} if n % 2 else {})
        for n, (name, condition) in enumerate(zip(names, when, strict=True))
    }
    aborts = [{"all": when[:4]} for _ in range(2)]
    aborting = [{"when": each, "event": f"abort {n}"} for n, each in enumerate(aborts)]
    return {"features": edits | more, "abort_when": aborting, "return_activations": {"top_k": 2}}


def plan(store: Store, keys: dict[str, Any], whole: str) -> Plan:
    asked = SteeringRequest.take(keys, Limits())
    with store.read() as reader:
        return make_plan(asked, reader, ServedModel(store="", saes=(SAE,), model=model(whole)), Limits())


@pytest.mark.parametrize(("whole", "state"), [(HOME, State.FRESH), (CHECKED, State.SUSPECT)])
def test_a_plan_of_32_edits_takes_three_statements(large: Store, whole: str, state: State) -> None:
    with counted(large) as statements:
        made = plan(large, body(), whole)
    assert [each.latent for each in made.applied] == list(range(32))
    assert {each.state for each in made.applied} == {state}
    assert len(statements) <= 3, statements


def suggesting(name: str) -> int:
    """Most statements that look for names like this one: two for each word, and three for the features."""
    return 2 * len(name.split()) + 3


@pytest.mark.parametrize("whole", [HOME, CHECKED])
@pytest.mark.parametrize(
    ("name", "error", "more"),
    [("twin", AmbiguousFeature, 0), ("nothing like it", FeatureNotFound, suggesting("nothing like it"))],
)
def test_so_does_one_that_is_refused_for_a_name_but_for_what_suggests_others(
    large: Store, whole: str, name: str, error: type[FeatureNotFound | AmbiguousFeature], more: int
) -> None:
    with counted(large) as statements, pytest.raises(error) as caught:
        plan(large, body(31, **{name: 0.5}), whole)
    assert caught.value.param == f"features.{name}"
    assert len(statements) <= 3 + more, statements


def test_a_stale_feature_costs_a_search_for_another(large: Store) -> None:
    with counted(large) as statements, pytest.raises(StaleFeature):
        plan(large, body(31, **{f"topic number {STALE}": 0.1}), CHECKED)
    assert len(statements) <= 3 + 4, statements


@pytest.fixture(params=[HOME, CHECKED])
def client(request: pytest.FixtureRequest, large: Store) -> Iterator[TestClient]:
    served = ServedModel(store="", saes=(SAE,), model=model(request.param))
    with TestClient(create_fake_app(large, served, FakeEngine(default=report(7)))) as client:
        yield client


@pytest.mark.parametrize("query", ["", "number 777", "topic", "topc nmber", "!?"])
def test_a_page_of_results_takes_seven(large: Store, client: TestClient, query: str) -> None:
    with counted(large) as statements:
        found = client.get("/v1/features", params={"q": query, "limit": 100}).json()["data"]
    assert bool(found) == (query != "!?")
    assert len(statements) <= 7 + (suggesting(query) if query == "topc nmber" else 0), statements


@contextmanager
def worked(reader: Reader) -> Iterator[list[int]]:
    """An entry for each thousand instructions of SQLite's machine: few for some rows, thousands for all of a table."""
    thousands: list[int] = []
    raw = reader._session.connection().connection.driver_connection
    assert raw is not None
    raw.set_progress_handler(lambda: thousands.append(1), 1000)
    yield thousands
    raw.set_progress_handler(None, 0)


def test_a_page_reads_the_verdicts_of_its_own_features(large: Store) -> None:
    with large.read() as reader:
        page = reader.search("topic", limit=20)
        with worked(reader) as thousands:
            assert len(reader.states_of(page.features, model(CHECKED).function)) == 20
    assert len(thousands) < 10


@pytest.mark.parametrize("saes", [(SAE,), None])
def test_names_are_looked_up_and_not_searched_for(large: Store, saes: tuple[str, ...] | None) -> None:
    names = [name for n in range(32) for name in (f"topic number {n}", f"topic-number-{n + 40}", f"sae:large/{n + 80}")]
    with large.read() as reader, worked(reader) as thousands:
        assert len(reader.resolve_many(names, Scope(saes=saes))) == 96
    assert len(thousands) < 60


def test_health_reads_no_verdicts(large: Store, client: TestClient) -> None:
    with counted(large) as statements:
        health = client.get("/healthz").json()
    assert (health["status"], [each["id"] for each in health["saes"]]) == ("ok", [SAE])
    assert len(statements) <= 2
    assert not any("drift_verdicts" in each for each in statements)


def test_the_list_of_saes_reads_none_either(large: Store, client: TestClient) -> None:
    with counted(large) as statements:
        assert [each["name"] for each in client.get("/v1/saes").json()["data"]] == ["large"]
    assert len(statements) <= 2
    assert not any("drift_verdicts" in each for each in statements)
