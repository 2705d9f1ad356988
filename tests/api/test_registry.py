"""The registry's routes: features, SAEs, health."""

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import unquote

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient

from api import features, saes
from api.app import create_app
from api.engine import FakeEngine
from api.model import HookCheck
from api.routes import check_routes
from featurehub.errors import EngineError
from featurehub.features import State
from featurehub.store import Store
from featurehub.verdicts import state_of

SAE, OTHER_SAE, CHECKED, UNCHECKED = "a" * 64, "b" * 64, "n" * 64, "o" * 64


class TestSearch:
    def test_best_first_in_openais_list_shape(self, client: TestClient) -> None:
        page = client.get("/v1/features", params={"q": "pirate"}).json()
        assert (page["object"], page["next"], page["has_more"]) == ("list", None, False)
        assert page["data"][0]["label"] == "pirate speech: matey, ship"
        assert page["data"][0]["state"] == "fresh"
        assert 0.0 < page["data"][0]["relevance"] <= 1.0

    def test_pages_follow_each_other(self, client: TestClient) -> None:
        latents: list[int] = []
        after, pages = None, 0
        while pages == 0 or after:
            page = client.get("/v1/features", params={"limit": 3, **({"after": after} if after else {})}).json()
            latents += [each["latent"] for each in page["data"]]
            after, pages = page["next"], pages + 1
        assert (sorted(latents), pages) == ([0, 1, 2, 3, 4, 5, 6, 7], 3)

    def test_states_are_those_of_the_loaded_model(self, serve: Callable[..., TestClient]) -> None:
        data = serve(CHECKED).get("/v1/features").json()["data"]
        states = {each["latent"]: each["state"] for each in data}
        assert states == {0: "stale", 1: "fresh", 2: "suspect", 3: "unchecked", 4: "unchecked", 5: "unchecked",
                          6: "unchecked", 7: "stale"}  # fmt: skip

    def test_another_sae(self, client: TestClient) -> None:
        data = client.get("/v1/features", params={"artifact": "other"}).json()["data"]
        assert {each["artifact"] for each in data} == {OTHER_SAE}

    @pytest.mark.parametrize(
        ("query", "status", "param"),
        [
            ({"limit": 0}, 400, "limit"),
            ({"limit": 101}, 400, "limit"),
            ({"limit": "many"}, 400, "limit"),
            ({"q": "x" * 201}, 400, "q"),
            ({"after": "nowhere"}, 400, "after"),
            ({"artifact": "missing"}, 404, "artifact"),
        ],
    )
    def test_bad_queries(self, client: TestClient, query: dict[str, str], status: int, param: str) -> None:
        answer = client.get("/v1/features", params=query)
        assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


class TestRoutesBelow:
    """Names may have slashes, and still more may be said of a feature than its card."""

    @pytest.mark.parametrize("router", [features.router, saes.router])
    def test_a_route_for_them_stands_before_the_one_that_takes_all_names(self, router: APIRouter) -> None:
        below = APIRouter(prefix=router.prefix)

        @below.get("/{name:path}/neighbors")
        def neighbors(name: str) -> str:
            return name

        app = FastAPI()
        for each in (below, router):
            app.include_router(each)
        check_routes(app, (below, router))
        for name in ("f-1", "sae:demo-l2/2", "and/or", "sae%3Ademo%2F2"):
            found = TestClient(app).get(f"{router.prefix}/{name}/neighbors")
            assert (found.status_code, found.json()) == (200, unquote(name))
        late = FastAPI()
        for each in (router, below):
            late.include_router(each)
        with pytest.raises(EngineError, match="neighbors"):
            check_routes(late, (below, router))


class TestFeature:
    @pytest.mark.parametrize("name", ["banking", "banking: loan, deposit", "sae:demo-l2/2", f"sae:{SAE}/2"])
    def test_everything_that_is_known(self, client: TestClient, name: str) -> None:
        card = client.get(f"/v1/features/{name}").json()
        assert (card["object"], card["latent"], card["state"]) == ("feature", 2, "fresh")
        assert card["calibration"]["strength"] == card["strength"] == 3.0
        assert card["labels"][0]["outcome"]["label"] == "banking: loan, deposit"
        assert client.get(f"/v1/features/{card['id']}").json() == card

    def test_unknown_and_ambiguous_names(self, client: TestClient) -> None:
        unknown = client.get("/v1/features/bankin")
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "feature_not_found")
        assert unknown.json()["error"]["suggestions"]
        twin = client.get("/v1/features/twin")
        assert (twin.status_code, len(twin.json()["error"]["candidates"])) == (409, 2)


class TestSaes:
    def test_list(self, client: TestClient) -> None:
        data = client.get("/v1/saes").json()["data"]
        assert [(each["name"], each["loaded"], each["state"]) for each in data] == [
            ("demo-l2", True, "fresh"),
            ("other", False, "fresh"),
        ]
        assert data[0]["metrics"] == {"explained_variance": 0.96}

    def test_those_that_are_loaded_say_what_the_check_at_boot_found(self, client: TestClient) -> None:
        here, check = client.app.state.featurehub, {"error": 2e-7, "bound": 1e-3}  # type: ignore[attr-defined]
        checked = here.served.model_copy(update={"checks": {"layers.2.resid_post": HookCheck(**check)}})
        client.app.state.featurehub = replace(here, served=checked)  # type: ignore[attr-defined]
        assert [each["check"] for each in client.get("/v1/saes").json()["data"]] == [check, None]

    def test_one_with_its_manifest_and_report(self, serve: Callable[..., TestClient]) -> None:
        card = serve(CHECKED).get("/v1/saes/demo-l2").json()
        assert (card["state"], card["manifest"]["id"], card["report"]["id"]) == ("suspect", SAE, "drift-1")
        assert "path" not in card
        assert serve(UNCHECKED).get(f"/v1/saes/{SAE}").json()["report"] is None

    def test_an_unknown_one(self, client: TestClient) -> None:
        answer = client.get("/v1/saes/missing")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "artifact_not_found")

    def test_one_by_an_alias(self, client: TestClient, store: Store) -> None:
        with store.write() as writer:
            writer.put_artifact_alias(SAE, "team/production")
        card = client.get("/v1/saes/team/production").json()
        assert (card["id"], card["aliases"], card["revision"]) == (SAE, ["team/production"], "")


class TestDrift:
    def test_the_reports_of_an_sae_and_which_decides(self, serve: Callable[..., TestClient], store: Store) -> None:
        with store.write() as writer:
            first = writer.reader.report("drift-1")
            elsewhere = first.model_copy(update={"id": "drift-2", "fingerprint": "z" * 64, "features": ()})
            writer.put_report(elsewhere)
        found = serve(CHECKED).get("/v1/saes/demo-l2/drift").json()
        assert [each["id"] for each in found["data"]] == ["drift-2", "drift-1"]
        assert found["decides"] == "drift-1"
        late, early = found["data"]
        assert late["verdicts"] == {}
        assert early["verdicts"] == {"stale": 2, "fresh": 1, "suspect": 1}
        assert early["metrics"] == {"explained_variance": 0.94}
        assert (early["state"], early["model"], early["reason"]) == ("suspect", "sibling", "two features are stale")
        assert serve(UNCHECKED).get(f"/v1/saes/{SAE}/drift?limit=1").json() == {
            "object": "list", "data": [late], "decides": None,
        }  # fmt: skip
        assert serve(CHECKED).get("/v1/saes/other/drift").json()["data"] == []

    def test_one_report_is_the_card_s(self, serve: Callable[..., TestClient]) -> None:
        client = serve(CHECKED, on_stale="warn")
        card = client.get("/v1/saes/demo-l2").json()
        assert client.get("/v1/drift/drift-1").json() == card["report"]
        by_halves = [state_of(State(each["reads"]), State(each["steers"])) for each in card["report"]["features"]]
        assert [each["state"] for each in card["report"]["features"]] == by_halves
        assert State.STALE in by_halves
        assert (card["served_model"], card["on_stale"], card["evaluations"]) == ("demo", "warn", [])

    def test_unknown_ones(self, client: TestClient) -> None:
        for path, code in (("drift/missing", "not_found"), ("saes/missing/drift", "artifact_not_found")):
            answer = client.get(f"/v1/{path}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, code)


class TestHealth:
    def test_all_is_well(self, client: TestClient) -> None:
        assert client.get("/healthz").json() == {
            "status": "ok", "engine": "ok", "store": "ok", "state": "fresh",
            "saes": [{"id": SAE, "name": "demo-l2", "hook": "layers.2.resid_post", "state": "fresh"}],
        }  # fmt: skip

    def test_a_dead_engine(self, client: TestClient, engine: FakeEngine) -> None:
        engine.running = False
        answer = client.get("/healthz")
        assert (answer.status_code, answer.json()["engine"]) == (503, "dead")

    def test_a_store_without_the_sae(self, client: TestClient, store: Store) -> None:
        with store.write() as writer:
            writer.remove_artifact(SAE)
        answer = client.get("/healthz")
        assert (answer.status_code, answer.json()["store"]) == (503, "failing")


class TestWithoutAnEngine:
    @pytest.fixture
    def registry(self, store: Store) -> TestClient:
        return TestClient(create_app(store), raise_server_exceptions=False)

    def test_it_searches_all_saes(self, registry: TestClient) -> None:
        data = registry.get("/v1/features").json()["data"]
        assert {each["artifact"] for each in data} == {SAE, OTHER_SAE}
        assert {each["state"] for each in data} == {"unchecked"}

    def test_it_knows_features_saes_and_its_health(self, registry: TestClient) -> None:
        assert registry.get("/v1/features/banking").json()["latent"] == 2
        assert [each["state"] for each in registry.get("/v1/saes").json()["data"]] == ["unchecked"] * 2
        assert registry.get("/healthz").json()["engine"] == "absent"

    def test_other_routes_are_not_found_in_openais_shape(self, registry: TestClient) -> None:
        answer = registry.post("/v1/chat/completions", json={})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "http_error")

    def test_a_bug_says_nothing_of_itself(self, store: Store) -> None:
        app = create_app(store)
        del app.state.featurehub
        answer = TestClient(app, raise_server_exceptions=False).get("/v1/saes")
        assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")
        assert "state" not in answer.json()["error"]["message"]

    def test_it_describes_itself(self, registry: TestClient) -> None:
        paths = registry.get("/openapi.json").json()["paths"]
        assert {"/v1/features", "/v1/features/{name}", "/v1/saes", "/healthz"} <= set(paths)
