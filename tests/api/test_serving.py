"""Our routes inside vLLM's own app, with its own request classes; only its engine is missing."""

import asyncio
from argparse import Namespace
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.datastructures import State

from api.deployment import Deployment
from api.engine import FakeEngine, Overhead
from api.goodfire.numbers import uuid_of
from api.model import HookCheck, ServedModel
from featurehub.artifacts.manifest import HookPoint
from featurehub.demo.bundle import bundled_model
from featurehub.edits import Steering
from featurehub.engine.config import EngineConfig, HookConfig, SaeConfig
from featurehub.errors import ArtifactNotFound, EngineError, EngineUnavailable, InvalidConfig
from featurehub.features import Edit
from featurehub.store import Store
from tests.api.models import model
from tests.api.reports import reading, report, several
from tests.input_drift.traffic import Traffic

pytest.importorskip("vllm", reason="the server is vLLM's")
# vLLM's imports warn of others' deprecations.
pytestmark = pytest.mark.filterwarnings("ignore")

SAE = "a" * 64
CHAT: dict[str, Any] = {"model": "demo", "messages": [{"role": "user", "content": "tell me a story"}]}
CHUNK = 'data: {"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'


class Handler:
    """Stands where vLLM's serving classes stand."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.error: Exception | None = None

    async def create_chat_completion(self, request: Any, _: Any) -> Any:
        from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionResponse
        from vllm.entrypoints.serve.engine.protocol import ErrorInfo, ErrorResponse, UsageInfo

        self.requests.append(request)
        if self.error is not None:
            raise self.error
        if request.model == "unknown":
            return ErrorResponse(error=ErrorInfo(message="no such model", type="NotFoundError", code=404))
        if request.stream:
            return self.chunks()
        message = {"role": "assistant", "content": "ahoy"}
        choice: Any = {"index": 0, "message": message, "finish_reason": "stop"}
        return ChatCompletionResponse(id="1", created=0, model=request.model, choices=[choice], usage=UsageInfo())

    async def create_completion(self, request: Any, _: Any) -> Any:
        self.requests.append(request)
        return self.chunks()

    async def chunks(self) -> AsyncIterator[str]:
        yield CHUNK
        yield "data: [DONE]\n\n"


@pytest.fixture(scope="module")
def build() -> Callable[..., FastAPI]:
    from vllm.entrypoints.launchers.app import build_app
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = make_arg_parser(FlexibleArgumentParser())
    assert parser is not None

    def with_options(*options: str) -> FastAPI:
        return build_app(parser.parse_args(["--model", "demo", *options]), ("generate",))

    return with_options


@pytest.fixture
def app(build: Callable[..., FastAPI], store: Store, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    monkeypatch.setenv("VLLM_PLUGINS", "featurehub")
    app = build()
    app.state.featurehub = Deployment(store, ServedModel(store="", saes=(SAE,), model=model(), names=("demo",)), engine)
    app.state.openai_serving_chat = app.state.openai_serving_completion = Handler()
    return app


@pytest.fixture
def handler(app: FastAPI) -> Handler:
    return app.state.openai_serving_chat


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    return TestClient(app, raise_server_exceptions=False)


def test_vllm_takes_our_plugin(client: TestClient) -> None:
    from vllm.plugins.endpoint_plugins.interface import EndpointPlugin

    from api.serving import FeaturehubRoutes

    assert isinstance(FeaturehubRoutes(), EndpointPlugin)
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/features", "/v1/saes", "/healthz", "/v1/models"} <= set(paths)
    assert client.get("/v1/features").json()["data"]


def test_a_request_without_edits_reaches_vllm_as_it_came(client: TestClient, handler: Handler) -> None:
    body = CHAT | {"cache_salt": "mine", "temperature": 0.5, "vllm_xargs": {"x": 1}}
    assert client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"] == "ahoy"
    (request,) = handler.requests
    assert (request.cache_salt, request.temperature, request.vllm_xargs) == ("mine", 0.5, {"x": 1})


def test_edits_travel_in_vllms_sampling_parameters(client: TestClient, handler: Handler) -> None:
    answer = client.post("/v1/chat/completions", json=CHAT | {"features": {"pirate speech": 0.5}}).json()
    assert answer["featurehub"]["steered_tokens"] == 7
    (request,) = handler.requests
    carried = request.to_sampling_params(16, {}).extra_args["featurehub"]
    assert Steering.read(carried).edits[0].value == 2.0
    assert request.model_extra == {}
    type(request).model_validate(CHAT | {"cache_salt": request.cache_salt, "vllm_xargs": request.vllm_xargs})


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_streams(client: TestClient, path: str) -> None:
    asked = (CHAT if "chat" in path else {"model": "demo", "prompt": "a"}) | {"stream": True}
    assert client.post(path, json=asked).text == CHUNK + "data: [DONE]\n\n"
    assert '"featurehub":{"applied"' in client.post(path, json=asked | {"features": {"banking": 1}}).text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (CHAT | {"model": "unknown"}, 404),
        (CHAT | {"cache_salt": "a/b"}, 400),
        (CHAT | {"max_tokens": "many"}, 400),
        ({"model": "demo"}, 400),
    ],
)
def test_vllms_own_errors_are_the_same_with_and_without_edits(
    client: TestClient, body: dict[str, Any], status: int
) -> None:
    plain = client.post("/v1/chat/completions", json=body)
    ours = client.post("/v1/chat/completions", json=body | {"features": {"banking": 0.5}})
    assert (plain.status_code, ours.status_code) == (status, status)
    assert ours.json()["error"].keys() == plain.json()["error"].keys()


@pytest.mark.parametrize(
    ("features", "status", "code"),
    [
        ({"pirat": 1}, 404, "feature_not_found"),
        ({"twin": 1}, 409, "ambiguous_feature"),
        ({"banking": 2}, 400, "invalid_edit"),
    ],
)
def test_our_errors_pass_vllms_handlers(client: TestClient, features: object, status: int, code: str) -> None:
    answer = client.post("/v1/chat/completions", json=CHAT | {"features": features})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize("content", [b"{", b"pirate"])
def test_a_body_that_is_not_json(client: TestClient, content: bytes) -> None:
    answer = client.post("/v1/chat/completions", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_beam_search_is_refused_with_edits_only(client: TestClient, handler: Handler) -> None:
    body = CHAT | {"use_beam_search": True}
    assert client.post("/v1/chat/completions", json=body).status_code == 200
    answer = client.post("/v1/chat/completions", json=body | {"features": {"banking": 0.5}})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "use_beam_search")
    assert len(handler.requests) == 1


def test_routes_that_do_not_steer_refuse_edits(client: TestClient) -> None:
    for path in ("/v1/messages", "/v1/systemone", "/inference/v1/generate"):
        answer = client.post(path, json=CHAT | {"input": "a", "features": {"banking": 1}})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "features")


def test_a_batch_of_chats_carries_edits_to_each(client: TestClient, app: FastAPI, engine: FakeEngine) -> None:
    """In vLLM's own request class, which makes a request of each chat."""
    seen: list[Any] = []

    class Batcher(Handler):
        async def create_batch_chat_completion(self, request: Any, _: Any) -> Any:
            seen.extend(map(request.to_chat_completion_request, request.messages))
            return await self.create_chat_completion(seen[-1], _)

    app.state.openai_serving_chat_batch = Batcher()
    batch = {"model": "demo", "messages": [CHAT["messages"]] * 2, "max_tokens": 3}
    path = "/v1/chat/completions/batch"
    assert "featurehub" not in client.post(path, json=batch).json()
    assert [each.vllm_xargs for each in seen] == [None, None]
    engine.default = several(report(3), report(4), n=1)
    assert client.post(path, json=batch | {"features": {"banking": 0.5}}).json()["featurehub"]["steered_tokens"] == 7
    for each in seen[2:]:
        carried = each.to_sampling_params(16, {}).extra_args["featurehub"]
        assert len(Steering.read(carried).edits) == 1
        assert "features" not in each.model_extra
    engine.default = several(reading((1, {2: 1.5})), reading((4, {2: 0.5})), n=1)
    told = client.post(path, json=batch | {"return_activations": {"top_k": 2}}).json()["featurehub"]
    assert [each["activations"][0]["token"] for each in told["choices"]] == ["<1>", "<4>"]
    assert len(seen) == 6


def test_responses_carry_edits_too(client: TestClient, app: FastAPI) -> None:
    """In vLLM's own request class, which keeps nothing of ours and nothing of the answer."""
    seen: list[Any] = []

    class Responder:
        async def create_responses(self, request: Any, _: Any) -> Any:
            from vllm.entrypoints.serve.engine.protocol import ErrorInfo, ErrorResponse

            seen.append(request)
            return ErrorResponse(error=ErrorInfo(message="no", type="BadRequestError", code=400))

    app.state.openai_serving_responses = Responder()
    body = {"model": "demo", "input": "a", "tools": [{"type": "function", "name": "f", "parameters": {}}]}
    assert client.post("/v1/responses", json=body | {"features": {"pirate speech": 0.5}}).status_code == 400
    [request] = seen
    assert (request.model_extra, request.store) == ({}, False)
    carried = request.to_sampling_params(16, {}).extra_args["featurehub"]
    assert Steering.read(carried).edits[0].value == 2.0
    for wrong in (
        {"tools": [{"type": "web_search_preview"}]},
        {"background": True},
        {"previous_response_id": "resp_1"},
    ):
        answer = client.post("/v1/responses", json=body | {"features": {"pirate speech": 0.5}} | wrong)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, next(iter(wrong)))
        assert client.post("/v1/responses", json=body | wrong).json()["error"]["message"] == "no"


def test_an_earlier_answer_without_text_is_refused(client: TestClient, app: FastAPI) -> None:
    """vLLM reads the text of its first part, and would fail with status 500."""
    said = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
    for content in ([{"type": "refusal", "refusal": "no"}], []):
        asked = {"model": "demo", "input": [{"role": "user", "content": "a"}, said | {"content": content}]}
        answer = client.post("/v1/responses", json=asked)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input.1.content")
        assert "output_text" in answer.json()["error"]["message"]


GOODFIRE = "/api/inference/v1/chat/completions"


def test_goodfires_completions_are_vllms(client: TestClient, handler: Handler, engine: FakeEngine) -> None:
    feature = {"uuid": uuid_of(SAE, 2).hex, "label": "", "index_in_sae": 2, "max_activation_strength": 1}
    edit = {"mode": "nudge", "features": {"features": [feature]}, "value": 0.5}
    body = CHAT | {"max_completion_tokens": 2048, "top_p": 0.9, "seed": 42, "controller": {"interventions": [edit]}}
    engine.context = 512
    answer = client.post(GOODFIRE, json=body).json()
    assert answer["featurehub"]["applied"][0]["latent"] == 2
    (request,) = handler.requests
    assert (request.max_completion_tokens, request.top_p, request.seed) == (512, 0.9, 42)
    assert "featurehub" in request.vllm_xargs
    for wrong, status in (({"model": "unknown"}, 404), ({"seed": 1 << 70}, 400), ({"features": {"banking": 1}}, 400)):
        assert client.post(GOODFIRE, json=body | wrong).status_code == status


def test_vllms_keys_guard_goodfires_paths_too(
    store: Store, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, build: Callable[..., FastAPI]
) -> None:
    monkeypatch.setenv("VLLM_PLUGINS", "featurehub")
    app = build("--api-key", "secret")
    app.state.featurehub = Deployment(store, None, engine)
    client, path = TestClient(app), "/api/inference/v1/features/search?query=pirate&model=demo"
    assert [client.get(each).status_code for each in ("/v1/features", path)] == [401, 401]
    assert client.post(GOODFIRE, json=CHAT).status_code == 401
    assert client.get(path, headers={"authorization": "Bearer secret"}).json()["features"]


@pytest.mark.parametrize("features", [{}, {"banking": 0.5}])
def test_a_dead_engine_is_503(client: TestClient, handler: Handler, features: object) -> None:
    from vllm.v1.engine.exceptions import EngineDeadError

    handler.error = EngineDeadError()
    answer = client.post("/v1/chat/completions", json=CHAT | {"features": features})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_unavailable")
    assert answer.headers["retry-after"]


class Client:
    """vLLM's engine client, as far as we ask it."""

    def __init__(self, answers: list[Any], dead: bool = False) -> None:
        self.answers = answers
        self.dead = dead
        self.calls: list[list[str]] = []

    async def collective_rpc(self, method: str, args: tuple[Any, ...] = ()) -> list[Any]:
        await self.check_health()
        if not args:
            return self.answers
        self.calls.append(args[0])
        await asyncio.sleep(0)
        return [
            [[{**answer, "method": method, "key": key}] if answer else [] for key in args[0]] for answer in self.answers
        ]

    async def check_health(self) -> None:
        from vllm.v1.engine.exceptions import EngineDeadError

        if self.dead:
            raise EngineDeadError()


def test_the_first_worker_that_knows_a_request_answers() -> None:
    from api.vllm_engine import VllmEngine

    engine: Any = VllmEngine(Client([None, {"steered_tokens": 1}]))  # type: ignore[arg-type]
    report = {"steered_tokens": 1, "method": "featurehub_reports", "key": "key"}
    assert asyncio.run(engine.report("key")) == [report]
    assert asyncio.run(VllmEngine(Client([None])).report("key")) == ()  # type: ignore[arg-type]
    assert asyncio.run(engine.alive())


def test_reports_that_are_asked_for_at_the_same_time_are_one_call() -> None:
    """And those that are asked for while it is under way are the next; a client that goes away costs nobody else's."""
    from api.vllm_engine import VllmEngine

    client = Client([{"steered_tokens": 1}])

    async def ask() -> list[Any]:
        engine = VllmEngine(client)  # type: ignore[arg-type]
        first = [asyncio.create_task(engine.report(key)) for key in "abc"]
        while not client.calls:
            await asyncio.sleep(0)
        second = [asyncio.create_task(engine.report(key)) for key in "de"]
        first[0].cancel()
        return await asyncio.gather(*first[1:], *second)

    assert [report["key"] for [report] in asyncio.run(ask())] == ["b", "c", "d", "e"]
    assert client.calls == [["a", "b", "c"], ["d", "e"]]


def test_a_dead_engine_is_known_as_such() -> None:
    from api.vllm_engine import VllmEngine

    engine = VllmEngine(Client([], dead=True))  # type: ignore[arg-type]
    assert not asyncio.run(engine.alive())
    for ask in (lambda: engine.report("key"), engine.overhead, lambda: engine.sampled(0.01)):
        with pytest.raises(EngineUnavailable):
            asyncio.run(ask())


def test_what_steps_cost_is_the_most_of_each_among_the_workers() -> None:
    from api.vllm_engine import VllmEngine

    sums = [dict(zip(Overhead._fields, each, strict=True)) for each in ((9.0, 0.3, 0.1, 2), (8.0, 0.2, 0.4, 2))]
    engine = VllmEngine(Client(sums))  # type: ignore[arg-type]
    assert asyncio.run(engine.overhead()) == Overhead(steps=9.0, host=0.3, op=0.4, reading=2)


def test_samples_are_those_of_the_first_worker() -> None:
    from api.vllm_engine import VllmEngine

    sample = Traffic(0).sample()

    class Sampled(Client):
        async def collective_rpc(self, method: str, args: tuple[Any, ...] = ()) -> list[Any]:
            assert (method, args) == ("featurehub_sampled", (0.01,))
            return [[[sample.wire()], 0.5], [[], 0.0]]

    [found], seconds = asyncio.run(VllmEngine(Sampled([])).sampled(0.01))  # type: ignore[arg-type]
    assert (found.wire(), seconds) == (sample.wire(), 0.5)


def test_a_worker_without_hooks_stops_the_boot() -> None:
    from api.vllm_engine import VllmEngine

    with pytest.raises(InvalidConfig, match="without featurehub's hooks"):
        asyncio.run(VllmEngine(Client([[], None])).checks())  # type: ignore[arg-type]


class Renderer:
    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def get_tokenizer(self) -> Any:
        return self.tokenizer


def test_tokens_are_texts_that_join_and_the_tokenizer_is_our_own() -> None:
    """Of the bundled model: words with the space before them, and special tokens by their names."""
    from transformers import AutoTokenizer

    from api.vllm_engine import VllmEngine

    client: Any = Client([])
    tokenizer = AutoTokenizer.from_pretrained(bundled_model())
    client.renderer = Renderer(tokenizer)
    engine = VllmEngine(client)
    ids = tokenizer.apply_chat_template(CHAT["messages"], return_dict=True)["input_ids"]
    assert "".join(engine.pieces(ids)) == tokenizer.decode(ids)
    assert {"<s>", " me", " a"} <= set(engine.pieces(ids))
    assert engine.tokenizer is not tokenizer


def boot(app: FastAPI, served: ServedModel | None, engine: Any = None) -> State:
    from api.serving import FeaturehubRoutes

    plugin = FeaturehubRoutes()
    plugin.attach_router(app)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEATUREHUB_FRONTEND", "" if served is None else served.model_dump_json())
        where = Namespace(host=None, port=8000, ssl_certfile=None, root_path="/hub")
        asyncio.run(plugin.init_state(engine, app.state, where))
    return app.state


@pytest.mark.parametrize(
    ("host", "certificate", "expected"),
    [
        (None, None, "http://127.0.0.1:8000/hub/"), ("0.0.0.0", None, "http://127.0.0.1:8000/hub/"),
        ("::1", None, "http://[::1]:8000/hub/"), ("hub.example", "cert.pem", "https://hub.example:8000/hub/"),
    ],
)  # fmt: skip
def test_a_browser_on_this_machine_can_open_the_address(host: str, certificate: str, expected: str) -> None:
    from api.serving import address_of

    assert address_of(Namespace(host=host, port=8000, ssl_certfile=certificate, root_path="/hub")) == expected


def serving(store: Store, sae: str = SAE) -> ServedModel:
    return ServedModel(store=store.name, saes=(sae,), model=model(), names=("demo", "org/demo"))


def test_a_boot_needs_its_configuration_and_its_sae(store: Store) -> None:
    here = boot(FastAPI(), serving(store)).featurehub
    assert (here.scope.saes, here.engine, here.door.budget) == ((SAE,), None, None)
    here.store.close()
    limited = boot(FastAPI(), serving(store).model_copy(update={"overhead_budget": 0.03})).featurehub
    assert limited.door.budget == 0.03
    limited.store.close()
    with pytest.raises(InvalidConfig):
        boot(FastAPI(), None)
    with pytest.raises(ArtifactNotFound):
        boot(FastAPI(), serving(store, "c" * 64))


def test_a_variant_must_not_be_hidden_by_its_model(store: Store) -> None:
    with store.write() as writer:
        writer.variants.save("demo", "another", {"pirate speech": Edit(weight=0.5)})
    boot(FastAPI(), serving(store)).featurehub.store.close()
    with store.write() as writer:
        writer.variants.save("demo", "org/demo", {"pirate speech": Edit(weight=0.5)})
    with pytest.raises(InvalidConfig, match="'demo' is a variant of the model"):
        boot(FastAPI(), serving(store))


def test_models_list_variants(client: TestClient, app: FastAPI, store: Store) -> None:
    from vllm.entrypoints.serve.engine.protocol import ModelCard, ModelList

    class Models:
        async def show_available_models(self) -> ModelList:
            return ModelList(data=[ModelCard(id="demo", max_model_len=512, root="/models/demo")])

    app.state.openai_serving_models = Models()
    with store.write() as writer:
        writer.variants.save("bank", "demo", {"pirate speech": Edit(weight=0.5)})
    [base, variant] = client.get("/v1/models").json()["data"]
    changed = {"id": "bank", "root": "demo", "parent": "demo", "created": variant["created"]}
    assert variant == base | changed


def test_the_store_is_closed_when_the_server_ends(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        ended.append("vLLM")
        del app.state

    app = FastAPI(lifespan=lifespan)
    here = boot(app, serving(store)).featurehub
    monkeypatch.setattr(type(here.store), "close", lambda store: ended.append("the store"))
    with TestClient(app) as client:
        assert client.get("/v1/features").status_code == 200
        assert not ended
    assert ended == ["vLLM", "the store"]
    monkeypatch.undo()
    here.store.close()


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/completions", "/v1/features", "/healthz", "/v1/saes/{id}"]
)
def test_a_route_that_answers_in_place_of_ours_ends_the_boot(store: Store, path: str) -> None:
    """As in releases of vLLM that add a plugin's routes after their own."""
    app = FastAPI()
    method = "POST" if "completions" in path else "GET"
    app.add_api_route(path, lambda: {"steered": False}, methods=[method])
    with pytest.raises(EngineError, match=r"0\.32"):
        boot(app, serving(store))


def test_so_does_a_mounted_app_or_a_vllm_that_took_no_routes_at_all(store: Store) -> None:
    from api.serving import FeaturehubRoutes

    app = FastAPI()
    app.mount("/v1", FastAPI())
    with pytest.raises(EngineError):
        boot(app, serving(store))
    with pytest.raises(EngineError):
        asyncio.run(FeaturehubRoutes().init_state(None, State(), Namespace()))


def test_other_routes_and_methods_are_no_business_of_ours(store: Store) -> None:
    app = FastAPI()
    app.add_api_route("/v1/embeddings", lambda: {}, methods=["GET"])
    app.add_api_route("/v1/chat/completions", lambda: {}, methods=["GET"])
    state = boot(app, serving(store))
    state.featurehub.store.close()


def test_in_vllms_own_app_every_route_is_ours(app: FastAPI) -> None:
    from api.app import ROUTERS
    from api.routes import check_routes
    from api.serving import router

    check_routes(app, (*ROUTERS, router))


@pytest.mark.parametrize("prefix", ["", "/llm"])
def test_behind_a_proxy_that_keeps_its_prefix(app: FastAPI, client: TestClient, prefix: str) -> None:
    app.root_path = "/llm"
    for path, body in [("chat/completions", CHAT), ("completions", {"model": "demo", "prompt": "a", "stream": True})]:
        answer = client.post(f"{prefix}/v1/{path}", json=body | {"features": {"banking": 0.5}})
        assert (answer.status_code, '"featurehub"' in answer.text) == (200, True)
    assert client.get(f"{prefix}/v1/features", params={"q": "pirate"}).json()["data"]


def test_a_list_of_prompts_is_one_steering_for_each(client: TestClient, handler: Handler, engine: FakeEngine) -> None:
    """In vLLM's own request class: lists of ids, of texts, of lists."""
    body = {"model": "demo", "prompt": [[1, 2], [3]], "stream": True}
    engine.default = several(report(3), report(4), n=1)
    assert '"steered_tokens":7' in client.post("/v1/completions", json=body | {"features": {"banking": 0.5}}).text
    assert len(handler.requests) == 1
    assert handler.requests[0].stream_options.continuous_usage_stats
    embeds = {"model": "demo", "prompt_embeds": "AAAA", "features": {"banking": 0.5}}
    assert client.post("/v1/completions", json=embeds).json()["error"]["param"] == "prompt_embeds"
    assert len(handler.requests) == 1


def running(dtype: str = "float32", load_format: str = "safetensors", sae: str = SAE, **overridden: Any) -> Any:
    """vLLM's client, as far as a boot looks at it."""

    async def collective_rpc(method: str) -> list[Any]:
        if method == "featurehub_weights":
            return [("summed", {"lm_head.weight": "1"})]
        assert method == "featurehub_findings"
        return [[("layers.2.resid_post", "a check", 1e-7, 1e-3), ("layers.2.resid_post", "another", 2e-7, 1e-3)]]

    sae_config = SaeConfig(id=sae, folder=Path(), d_sae=16)
    config = EngineConfig(hooks=(HookConfig(point=HookPoint(layer=2), saes=(sae_config,)),))
    return SimpleNamespace(
        collective_rpc=collective_rpc,
        input_processor=SimpleNamespace(_featurehub_config=config),
        vllm_config=SimpleNamespace(
            additional_config=config.to_additional_config(),
            model_config=SimpleNamespace(dtype=getattr(torch, dtype), hf_overrides=overridden),
            load_config=SimpleNamespace(load_format=load_format),
        ),
    )


@pytest.mark.parametrize(
    ("engine", "named"),
    [
        (running(), ""),
        (running(dtype="bfloat16"), "the precision bfloat16, not the checkpoint's float32"),
        (running(load_format="pt"), "weights in the format pt"),
        (running(rms_norm_eps=0.1), "an overridden configuration"),
    ],
)
def test_what_the_engine_runs_otherwise_than_the_checkpoint_says_is_found_at_boot(
    store: Store, engine: Any, named: str
) -> None:
    here = boot(FastAPI(), serving(store), engine).featurehub
    assert here.served is not None
    assert here.served.overrides == ((named,) if named else ())
    assert here.served.checks == {"layers.2.resid_post": HookCheck(error=2e-7, bound=1e-3)}
    assert (here.served.booted, here.served.loaded, here.served.replaced) == ("summed", "summed", False)
    assert engine.input_processor._featurehub_config.weights == f"{here.served.model.function}:summed"
    here.store.close()


def test_a_boot_with_what_another_server_was_told(store: Store) -> None:
    with pytest.raises(InvalidConfig, match="does not hold"):
        boot(FastAPI(), serving(store), running(sae="c" * 64))
