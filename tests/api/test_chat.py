"""Steered completions: what reaches the engine, and what comes back."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.requests import ClientDisconnect

from api.engine import FakeEngine
from api.fake import Echoes, EchoRequest
from featurehub.conditions import Positions
from featurehub.edits import Steering
from featurehub.store import Calibration, Store
from tests.api.reports import reading, report

SAE, CHECKED, UNCHECKED = "a" * 64, "n" * 64, "o" * 64
CHAT = {"model": "demo", "messages": [{"role": "user", "content": "tell me a story"}]}

READING = reading((11, {2: 1.5, 6: 0.25}), (12, {9: 0.5}))


def ask(client: TestClient, features: object = None, status: int = 200, **more: Any) -> dict[str, Any]:
    answer = client.post(
        "/v1/chat/completions", json=CHAT | ({"features": features} if features is not None else {}) | more
    )
    assert answer.status_code == status, answer.text
    return answer.json()


def steering(request: EchoRequest) -> Steering:
    assert request.vllm_xargs is not None
    return Steering.read(request.vllm_xargs["featurehub"])


@pytest.mark.parametrize("keys", [{}, {"features": {}}, {"features": None}, {"steer": {"positions": "all"}}])
def test_without_edits_vllm_answers_as_if_we_were_not_there(
    client: TestClient, echoed: Echoes, engine: FakeEngine, keys: dict[str, Any]
) -> None:
    plain = client.post("/v1/chat/completions", json=CHAT)
    ours = client.post("/v1/chat/completions", json=CHAT | keys)
    assert ours.content == plain.content
    assert echoed[1] == echoed[0]
    assert engine.taken == []


@pytest.mark.parametrize(
    ("edit", "mode", "value"),
    [
        (0.5, "nudge", 2.0),
        (-0.5, "nudge", -2.0),
        ({"mode": "pin", "weight": 0.5}, "pin", 1.5),
        ({"mode": "mul", "weight": -0.25}, "mul", 0.75),
        ({"mode": "ablate"}, "ablate", 0.0),
        ({"mode": "pin", "weight": 0}, "pin", 0.0),
    ],
)
def test_a_weight_becomes_the_raw_number_of_its_mode(
    client: TestClient, echoed: Echoes, edit: object, mode: str, value: float
) -> None:
    applied = ask(client, {"pirate speech": edit})["featurehub"]["applied"]
    (sent,) = steering(echoed[0]).edits
    assert (sent.latent, sent.mode, sent.value) == (0, mode, value)
    assert (applied[0]["mode"], applied[0]["coefficient"]) == (mode, value)


@pytest.mark.parametrize("name", ["pirate speech", "Pirate Speech: matey, ship", "pirate-speech", "sae:demo-l2/0"])
def test_a_feature_is_found_by_label_slug_and_address(client: TestClient, name: str) -> None:
    (applied,) = ask(client, {name: 0.5})["featurehub"]["applied"]
    assert (applied["latent"], applied["label"], applied["label_version"]) == (0, "pirate speech: matey, ship", 1)


def test_the_answer_says_what_was_applied(client: TestClient, echoed: Echoes) -> None:
    answer = ask(client, {"pirate speech": 0.5, "formal tone": 0}, steer={"positions": "generated"})
    assert answer["choices"][0]["message"]["content"] == "tell me a story"
    ours = answer["featurehub"]
    assert ours["steered_tokens"] == 7
    assert ours["activations"] is None
    assert ours["aborted"] is None
    assert ours["warnings"] == []
    pirate, formal = ours["applied"]
    assert pirate == {
        "id": pirate["id"], "label": "pirate speech: matey, ship", "label_version": 1, "sae": SAE, "latent": 0,
        "mode": "nudge", "weight": 0.5, "coefficient": 2.0, "dose": 0.25, "clipped": False, "tokens": 7,
        "state": "fresh", "group": None,
    }  # fmt: skip
    assert (formal["weight"], formal["dose"], formal["clipped"]) == (0.0, 0.0, False)
    assert steering(echoed[0]).positions is Positions.GENERATED
    assert [edit.latent for edit in steering(echoed[0]).edits] == [0]


def test_a_nudge_by_a_strength_that_nobody_tried_is_warned_of(client: TestClient, store: Store) -> None:
    with store.write() as writer:
        feature = writer.reader.resolve("formal tone", writer.reader.scope(SAE))
        writer.put_calibration(feature.id, Calibration(strength=2.0, dose=0.5, method="dose"))
    ours = ask(client, {"formal tone": 0.5})["featurehub"]
    assert ours["applied"][0]["coefficient"] == 1.0
    [warning] = ours["warnings"]
    assert (warning["code"], warning["feature"]) == ("feature_uncalibrated", feature.id)
    assert "the model's usual dose" in warning["message"]
    for edit in (0, {"mode": "pin", "weight": 0.5}):
        assert ask(client, {"formal tone": edit})["featurehub"]["warnings"] == []
    assert client.get("/v1/features/formal tone").json()["calibration"]["method"] == "dose"


def test_headers_say_what_was_applied(client: TestClient) -> None:
    answer = client.post("/v1/chat/completions", json=CHAT | {"features": {"pirate speech": 0.5}})
    assert answer.headers["x-featurehub-sae"] == SAE
    assert answer.headers["x-featurehub-applied"] == answer.json()["featurehub"]["applied"][0]["id"]
    assert answer.headers["x-featurehub-steered-tokens"] == "7"
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_clipping_is_reported(client: TestClient, engine: FakeEngine) -> None:
    clipped = report(7)
    clipped["hooks"]["layers.2.resid_post"]["clipped"] = 3
    engine.default = clipped
    assert ask(client, {"pirate speech": 1.0})["featurehub"]["applied"][0]["clipped"] is True


@pytest.mark.parametrize("edit", [0, 0.0, {"mode": "mul", "weight": 0}])
def test_weight_0_leaves_the_request_and_its_cache_alone(
    client: TestClient, echoed: Echoes, engine: FakeEngine, edit: object
) -> None:
    ask(client, cache_salt="mine")
    ours = ask(client, {"pirate speech": edit}, cache_salt="mine")["featurehub"]
    assert echoed[1] == echoed[0]
    assert (ours["applied"][0]["dose"], ours["steered_tokens"]) == (0.0, 0)
    assert engine.taken == []


def test_text_completions_are_steered_too(client: TestClient, echoed: Echoes) -> None:
    body = {"model": "demo", "prompt": "once upon", "features": {"pirate speech": 0.5}}
    answer = client.post("/v1/completions", json=body).json()
    assert answer["choices"][0]["text"] == "once upon"
    assert answer["featurehub"]["steered_tokens"] == 7
    assert steering(echoed[0]).edits


def test_other_arguments_of_the_engine_are_kept(client: TestClient, echoed: Echoes) -> None:
    ask(client, {"pirate speech": 0.5}, vllm_xargs={"other": 1})
    assert echoed[0].vllm_xargs is not None
    assert echoed[0].vllm_xargs.keys() == {"other", "featurehub"}


class TestSteering:
    """What reaches the engine, which separates KV blocks by it."""

    def sent(self, client: TestClient, *bodies: dict[str, Any]) -> list[Steering]:
        client.app.state.echoed.clear()  # type: ignore[attr-defined]
        for body in bodies:
            ask(client, **body)
        return [steering(request) for request in client.app.state.echoed]  # type: ignore[attr-defined]

    def test_equal_edits_are_equal_however_they_were_named(self, client: TestClient) -> None:
        one, two = self.sent(client, {"features": {"pirate speech": 0.5}}, {"features": {"sae:demo-l2/0": 0.5}})
        assert one.digest() == two.digest()
        assert one.report != two.report

    def test_others_never_are(self, client: TestClient) -> None:
        bodies: list[dict[str, Any]] = [
            {"features": {"pirate speech": 0.5}},
            {"features": {"pirate speech": 0.6}},
            {"features": {"pirate speech": {"mode": "pin", "weight": 0.5}}},
            {"features": {"formal tone": 0.5}},
            {"features": {"pirate speech": 0.5, "formal tone": 0.5}},
            {"features": {"pirate speech": 0.5}, "steer": {"positions": "prompt"}},
        ]
        digests = [each.digest() for each in self.sent(client, *bodies)]
        assert len(set(digests)) == len(digests)

    def test_the_clients_own_salt_is_left_to_the_engine(self, client: TestClient, echoed: Echoes) -> None:
        ask(client, {"pirate speech": 0.5}, cache_salt="tenant")
        ask(client, {"pirate speech": 0}, cache_salt="tenant")
        assert [each.cache_salt for each in echoed] == ["tenant", "tenant"]


def noting(places: list[str], call: Callable[..., Any]) -> Callable[..., Any]:
    """Says where the call was made."""

    def noted(*args: Any) -> Any:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            places.append("a thread")
        else:
            places.append("the event loop")
        return call(*args)

    return noted


class TestActivations:
    def test_features_are_named_and_latents_without_one_addressed(self, client: TestClient, engine: FakeEngine) -> None:
        engine.default = READING
        ours = ask(client, return_activations={"top_k": 2})["featurehub"]
        assert ours["applied"] == []
        first, second = ours["activations"]
        assert [(each["position"], each["token"]) for each in (first, second)] == [(0, "<11>"), (1, "<12>")]
        assert [(each["label"], each["activation"]) for each in first["features"]] == [
            ("banking: loan, deposit", 1.5),
            ("", 0.25),
        ]
        assert second["features"] == [{"id": f"sae:{SAE}/9", "label": "", "activation": 0.5}]

    def test_many_are_built_away_from_the_event_loop(
        self, client: TestClient, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What was read, texts, labels and JSON: whatever grows with the number of tokens."""
        engine.default = reading(*((token, {2: 1.5, 6: 0.25}) for token in range(500)))
        at_work: list[str] = []
        work = [("api.chat", name) for name in ("read_reports", "make_answer", "to_json")]
        for module, name in [*work, ("api.stream", "to_json")]:
            monkeypatch.setattr(f"{module}.{name}", noting(at_work, getattr(import_module(module), name)))
        for stream in (False, True):
            answer = client.post(
                "/v1/chat/completions", json=CHAT | {"return_activations": {"top_k": 2}, "stream": stream}
            )
            assert answer.text.count('"token":') == 500
        assert len(at_work) == 6
        assert set(at_work) == {"a thread"}

    def test_they_come_beside_edits(self, client: TestClient, engine: FakeEngine, echoed: Echoes) -> None:
        engine.default = READING | report(2)
        ours = ask(client, {"formal tone": 0.5}, return_activations={"top_k": 2})["featurehub"]
        assert (ours["steered_tokens"], len(ours["activations"])) == (2, 2)
        assert [read.top_k for read in steering(echoed[0]).reads] == [2]


class TestReportsThatNobodyTakes:
    """The worker keeps a report until somebody asks for it."""

    def test_vllms_own_error(self, client: TestClient, engine: FakeEngine) -> None:
        client.post("/v1/chat/completions", json=CHAT | {"model": "unknown", "features": {"banking": 0.5}})
        assert len(engine.taken) == 1

    @pytest.mark.parametrize("after", [0, 1, 3])
    @pytest.mark.parametrize("spec", ["2.3", "2.4"])
    def test_a_client_that_leaves_in_the_middle_of_a_stream(
        self, client: TestClient, engine: FakeEngine, echoed: Echoes, after: int, spec: str
    ) -> None:
        asyncio.run(leave(client.app, CHAT | {"stream": True, "features": {"banking": 0.5}}, after, spec))
        assert engine.taken == [steering(echoed[0]).report]
        assert ask(client, {"banking": 0.5})["featurehub"]["steered_tokens"] == 7

    def test_a_client_that_left_before_the_answer(
        self, client: TestClient, engine: FakeEngine, echoed: Echoes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def gone(body: EchoRequest, request: Any) -> None:
            echoed.append(body)

        monkeypatch.setattr("api.fake.echo", gone)
        assert client.post("/v1/chat/completions", json=CHAT | {"features": {"banking": 0.5}}).status_code == 499
        assert engine.taken == [steering(echoed[0]).report]

    @pytest.mark.parametrize("stream", [False, True])
    def test_an_answer_takes_its_own_once(self, client: TestClient, engine: FakeEngine, stream: bool) -> None:
        client.post("/v1/chat/completions", json=CHAT | {"features": {"banking": 0.5}, "stream": stream})
        assert len(engine.taken) == 1
        client.post("/v1/chat/completions", json=CHAT | {"features": {"banking": 0}, "stream": stream})
        assert len(engine.taken) == 1


async def leave(app: Any, body: dict[str, Any], after: int, spec: str) -> None:
    """Asks, reads ``after`` pieces of the answer, and hangs up."""
    waiting = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]
    gone, got = asyncio.Event(), 0

    async def receive() -> dict[str, Any]:
        if waiting:
            return waiting.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        nonlocal got
        got += message["type"] == "http.response.body"
        if got > after:
            gone.set()
            if spec == "2.4":
                raise OSError("the client is gone")
            await asyncio.sleep(60)

    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": spec}, "http_version": "1.1", "method": "POST",
        "path": "/v1/chat/completions", "raw_path": b"", "query_string": b"", "root_path": "", "scheme": "http",
        "headers": [(b"content-type", b"application/json")], "server": ("test", 80), "client": ("test", 1),
    }  # fmt: skip
    with suppress(ClientDisconnect):
        await app(scope, receive, send)
    await asyncio.sleep(0.05)


class TestStaleness:
    def test_stale_is_refused_with_report_and_closest_fresh_feature(self, serve: Callable[..., TestClient]) -> None:
        client = serve(CHECKED)
        error = ask(client, {"formal letters": 0.5}, status=409)["error"]
        assert (error["code"], error["report"], error["closest"]) == ("stale_feature", "drift-1", "formal tone")
        assert "drift-1" in error["message"]
        assert error["param"] == "features.formal letters"
        assert not client.app.state.echoed  # type: ignore[attr-defined]

    def test_the_request_may_ask_for_a_warning_instead(self, serve: Callable[..., TestClient]) -> None:
        ours = ask(serve(CHECKED), {"pirate speech": 0.5}, steer={"on_stale": "warn"})["featurehub"]
        (warning,) = ours["warnings"]
        assert (warning["code"], warning["feature"]) == ("feature_stale", ours["applied"][0]["id"])
        assert ours["applied"][0]["state"] == "stale"

    def test_the_request_wins_over_the_server(self, serve: Callable[..., TestClient]) -> None:
        client = serve(CHECKED, on_stale="warn")
        assert ask(client, {"pirate speech": 0.5})["featurehub"]["warnings"]
        ask(client, {"pirate speech": 0.5}, steer={"on_stale": "refuse"}, status=409)

    @pytest.mark.parametrize(
        ("name", "state"), [("banking", "suspect"), ("twin", "unchecked"), ("formal tone", "fresh")]
    )
    def test_suspect_and_unchecked_are_warned_of(self, serve: Callable[..., TestClient], name: str, state: str) -> None:
        key = "sae:demo-l2/4" if name == "twin" else name
        ours = ask(serve(CHECKED), {key: 0.5})["featurehub"]
        assert [warning["code"] for warning in ours["warnings"]] == ([] if state == "fresh" else [f"feature_{state}"])
        assert ours["applied"][0]["state"] == state

    def test_weights_that_nobody_checked_make_all_unchecked(self, serve: Callable[..., TestClient]) -> None:
        ours = ask(serve(UNCHECKED), {"pirate speech": 0.5})["featurehub"]
        assert ours["warnings"][0]["code"] == "feature_unchecked"


class TestErrors:
    @pytest.mark.parametrize(
        ("body", "status", "code", "param"),
        [
            ({"features": {"pirat speech": 0.5}}, 404, "feature_not_found", "features.pirat speech"),
            ({"features": {"twin": 0.5}}, 409, "ambiguous_feature", "features.twin"),
            ({"features": {"sae:other/0": 0.5}}, 404, "feature_not_found", "features.sae:other/0"),
            ({"features": {"excited tone": 0.5}}, 400, "invalid_edit", "features.excited tone"),
            ({"features": {"banking": 1.5}}, 400, "invalid_edit", "features.banking"),
            ({"features": {"banking": None}}, 400, "invalid_edit", "features.banking"),
            ({"features": {"banking": "much"}}, 400, "invalid_edit", "features.banking"),
            ({"features": {"banking": {"mode": "push", "weight": 1}}}, 400, "invalid_edit", "features.banking"),
            ({"features": {"banking": {"weight": 1, "when": {}}}}, 400, "invalid_edit", "features.banking"),
            ({"features": {"banking": 0.5, "sae:demo-l2/2": 0.5}}, 400, "invalid_edit", "features.sae:demo-l2/2"),
            ({"features": {str(n): 0.1 for n in range(1000)}}, 400, "invalid_edit", "features"),
            ({"features": ["banking"]}, 400, "invalid_edit", "features"),
            ({"features": "banking"}, 400, "invalid_edit", "features"),
            ({"steer": {"positions": "middle"}}, 400, "invalid_input", "steer.positions"),
            ({"steer": {"where": "all"}}, 400, "invalid_input", "steer.where"),
            ({"steer": "all"}, 400, "invalid_input", "steer"),
            ({"return_activations": {"top_k": 0}}, 400, "invalid_input", "return_activations.top_k"),
            ({"return_activations": {"top_k": 65}}, 400, "invalid_input", "return_activations.top_k"),
            ({"return_activations": {"top_k": True}}, 400, "invalid_input", "return_activations.top_k"),
            ({"return_activations": 3}, 400, "invalid_input", "return_activations"),
            ({"return_activations": {}}, 400, "invalid_input", "return_activations"),
            ({"return_activations": []}, 400, "invalid_input", "return_activations"),
            (
                {"return_activations": {"features": ["banking"], "sae": "demo-l2"}},
                400,
                "invalid_input",
                "return_activations",
            ),
            ({"return_activations": {"top_k": 2, "sae": ""}}, 400, "invalid_input", "return_activations.sae"),
            (
                {"return_activations": {"top_k": 2, "sae": "nobody"}},
                404,
                "artifact_not_found",
                "return_activations.sae",
            ),
            ({"return_activations": {"top_k": 2, "sae": "other"}}, 404, "artifact_not_found", "return_activations.sae"),
            ({"return_activations": ["bankin"]}, 404, "feature_not_found", "return_activations"),
            ({"return_activations": ["banking"] * 65}, 400, "invalid_input", "return_activations.features"),
            ({"abort_when": {"feature": "banking"}}, 400, "invalid_input", "abort_when"),
            ({"vllm_xargs": {"featurehub": "{}"}}, 400, "invalid_input", "vllm_xargs.featurehub"),
        ],
    )
    def test_each_is_refused_in_openais_shape(
        self, client: TestClient, echoed: Echoes, body: dict[str, Any], status: int, code: str, param: str
    ) -> None:
        error = ask(client, status=status, **body)["error"]
        assert (error["code"], error["param"]) == (code, param)
        assert error["message"]
        assert error["type"].endswith("_error")
        assert echoed == []
        ask(client, {"banking": 0.5})

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
    def test_weights_that_are_no_numbers(self, client: TestClient, number: str) -> None:
        body = json.dumps(CHAT)[:-1] + f', "features": {{"banking": {number}}}}}'
        answer = client.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_edit")

    def test_an_unknown_name_comes_with_the_closest(self, client: TestClient) -> None:
        error = ask(client, {"pirat speech": 0.5}, status=404)["error"]
        assert error["suggestions"][0].startswith("pirate speech")
        assert len(error["suggestions"]) <= 3

    def test_an_ambiguous_name_comes_with_the_candidates(self, client: TestClient) -> None:
        candidates = ask(client, {"twin": 0.5}, status=409)["error"]["candidates"]
        assert [ask(client, {each: 0.5})["featurehub"]["applied"][0]["latent"] for each in candidates] in (
            [4, 5],
            [5, 4],
        )

    @pytest.mark.parametrize("edit", [0.5, {"mode": "pin", "weight": 0.5}, {"mode": "ablate"}])
    def test_what_cannot_write_is_refused_with_the_reason(self, client: TestClient, store: Store, edit: object) -> None:
        feature = ask(client, {"formal tone": 0.5})["featurehub"]["applied"][0]["id"]
        with store.write() as writer:
            calibration = Calibration(strength=None, dose=0.0, steerability=0.0, method="writes nothing")
            writer.put_calibration(feature, calibration)
        error = ask(client, {"formal tone": edit}, status=400)["error"]
        assert "its decoder row is zero" in error["message"]
        assert error["param"] == "features.formal tone"

    def test_what_was_never_calibrated_can_still_be_pinned(self, client: TestClient) -> None:
        assert "featurehub label" in ask(client, {"excited tone": 0.5}, status=400)["error"]["message"]
        ask(client, {"excited tone": {"mode": "pin", "weight": 0.5}})

    @pytest.mark.parametrize("body", [b"{", b"", b"pirate", b"[1]", b"\xff\xfe"])
    def test_a_body_that_is_not_json(self, client: TestClient, body: bytes) -> None:
        answer = client.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400
        assert answer.json()["error"]["type"] == "invalid_request_error"

    def test_vllms_own_errors_come_back_as_they_are(self, client: TestClient) -> None:
        plain = client.post("/v1/chat/completions", json=CHAT | {"model": "unknown"})
        steered = client.post("/v1/chat/completions", json=CHAT | {"model": "unknown", "features": {"banking": 0.5}})
        assert (steered.status_code, steered.content) == (404, plain.content)


class TestSteeringLost:
    @pytest.mark.parametrize(
        "report",
        [
            None,
            {"hooks": {}, "requests": [0]},
            report(7, requests=[]),
            report(7, requests=[0, 1]),
            report(0, 0),
            report(0, 7),
            report(6, 7),
            report(7, 7, unknown=1),
            {"recomputed_tokens": "many"},
        ],
    )
    def test_an_answer_that_was_not_steered_is_withheld(
        self, client: TestClient, engine: FakeEngine, report: dict[str, Any] | None
    ) -> None:
        engine.default = report
        answer = client.post("/v1/chat/completions", json=CHAT | {"features": {"banking": 0.5}})
        assert answer.status_code == 500
        assert answer.json()["error"]["code"] == "steering_lost"
        assert "story" not in answer.text
        assert answer.headers["x-should-retry"] == "false"

    def test_an_answer_of_one_token_has_none_to_steer(self, client: TestClient, engine: FakeEngine) -> None:
        engine.default = report(0)
        ours = ask(client, {"banking": 0.5}, steer={"positions": "generated"})["featurehub"]
        assert [warning["code"] for warning in ours["warnings"]] == ["nothing_steered"]

    @pytest.mark.parametrize(
        "lost",
        [
            None,
            {"requests": [0]},
            READING | {"reads_lost": True},
            READING | {"requests": [0, 1]},
            READING | {"requests": []},
            reading(),
            reading((11, {2: 1.5}), start=1),
            reading((11, {2: 1.5}), sae="b" * 64),
            READING | {"activations": {"blocks": READING["activations"]["blocks"] * 2}},
            READING | {"activations": {"blocks": [READING["activations"]["blocks"][0] | {"token_ids": b"1"}]}},
        ],
    )
    def test_activations_that_are_missing_are_an_error_too(
        self, client: TestClient, engine: FakeEngine, lost: dict[str, Any] | None
    ) -> None:
        engine.default = lost
        assert ask(client, status=500, return_activations={"top_k": 1})["error"]["code"] == "steering_lost"

    def test_an_engine_that_is_gone(self, client: TestClient, engine: FakeEngine) -> None:
        engine.running = False
        answer = client.post("/v1/chat/completions", json=CHAT | {"features": {"banking": 0.5}})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_unavailable")
        assert int(answer.headers["retry-after"]) > 0


class TestStreaming:
    def events(self, client: TestClient, path: str = "/v1/chat/completions", **body: Any) -> list[Any]:
        answer = client.post(path, json=CHAT | {"stream": True} | body)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        data = [event.removeprefix("data: ") for event in answer.text.split("\n\n") if event]
        assert data[-1] == "[DONE]"
        return [json.loads(each) for each in data[:-1]]

    def test_without_edits_the_stream_is_vllms_own(self, client: TestClient) -> None:
        plain = client.post("/v1/chat/completions", json=CHAT | {"stream": True})
        ours = client.post("/v1/chat/completions", json=CHAT | {"stream": True, "features": {}})
        assert ours.content == plain.content

    @pytest.mark.parametrize("usage", [False, True])
    def test_the_last_chunk_says_what_was_applied(self, client: TestClient, usage: bool) -> None:
        options: Any = {"stream_options": {"include_usage": usage}}
        plain = self.events(client, **options)
        *chunks, last = self.events(client, features={"pirate speech": 0.5}, **options)
        ours = last.pop("featurehub")
        assert [*chunks, last] == plain
        assert ("usage" in last) is usage
        assert (ours["steered_tokens"], ours["applied"][0]["latent"]) == (7, 0)

    def test_headers_come_before_the_first_token(self, client: TestClient) -> None:
        answer = client.post("/v1/chat/completions", json=CHAT | {"stream": True, "features": {"banking": 0.5}})
        assert answer.headers["x-featurehub-sae"] == SAE
        assert answer.headers["x-featurehub-applied"]

    def test_lost_steering_ends_in_an_error_event(self, client: TestClient, engine: FakeEngine) -> None:
        engine.default = None
        *chunks, error = self.events(client, features={"pirate speech": 0.5})
        assert error["error"]["code"] == "steering_lost"
        assert chunks == self.events(client)

    def test_errors_before_the_first_token_are_plain_answers(self, client: TestClient) -> None:
        ask(client, {"pirat speech": 0.5}, status=404, stream=True)

    def test_text_completions_stream_too(self, client: TestClient) -> None:
        answer = client.post(
            "/v1/completions", json={"model": "demo", "prompt": "a b", "stream": True, "features": {"banking": 0.5}}
        )
        assert '"featurehub"' in answer.text
