"""Attaches featurehub to vLLM's OpenAI server; only it and ``vllm_engine`` import vllm.

vLLM loads ``FeaturehubRoutes`` through the entry point ``vllm.endpoint_plugins`` when ``VLLM_PLUGINS`` names it. Our
routes for completions, responses and models replace vLLM's routes of the same path and call them.
"""

import json
import logging
import os
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import wraps
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import State
from vllm.engine.protocol import EngineClient
from vllm.entrypoints.openai.chat_completion.api_router import create_batch_chat_completion, create_chat_completion
from vllm.entrypoints.openai.chat_completion.protocol import BatchChatCompletionRequest, ChatCompletionRequest
from vllm.entrypoints.openai.completion.api_router import create_completion
from vllm.entrypoints.openai.completion.protocol import CompletionRequest
from vllm.entrypoints.openai.models.api_router import show_available_models
from vllm.entrypoints.openai.responses.api_router import create_responses
from vllm.entrypoints.openai.responses.protocol import ResponsesRequest
from vllm.entrypoints.serve.middleware import authenticate
from vllm.entrypoints.serve.utils.api_utils import validate_json_request

from api.app import ROUTERS, attach
from api.budget import Door
from api.chat import Core, answer_steered
from api.deployment import Deployment
from api.described import STEERED, STREAMED
from api.drift_gauges import published
from api.errors import DESCRIBED
from api.goodfire.chat import ChatBody, answer_goodfire
from api.goodfire.routes import PREFIX
from api.model import ServedModel
from api.overhead import watched
from api.responses import RESPONSES, check_answers
from api.routes import check_routes
from api.traffic import Traffic
from api.traffic_watch import traffic_watched
from api.used_variant import refuse_hidden
from api.variants import with_variants
from api.vllm_engine import VllmEngine, gone_if_dead
from api.weights import booted, followed
from featurehub.engine.config import EngineConfig
from featurehub.engine.overrides import resolved
from featurehub.errors import ArtifactNotFound, EngineError, InvalidConfig
from featurehub.settings import FRONTEND, OPERATOR_KEY
from featurehub.store import open_store

__all__ = ["FeaturehubRoutes"]

router = APIRouter()
logger = logging.getLogger("vllm.featurehub")


class FeaturehubRoutes:
    """vLLM's ``EndpointPlugin``: adds our routes to vLLM's app and gives them what they need.

    Attributes:
        name: The plugin's name.
        required_tasks: vLLM loads the plugin where the engine supports one of these tasks.
        app: vLLM's app, once ``attach_router`` was called.
    """

    name = "featurehub"
    required_tasks = ("generate",)

    def __init__(self) -> None:
        self.app: FastAPI | None = None

    def attach_router(self, app: FastAPI) -> None:
        """Adds our routes to vLLM's app."""
        self.app = app
        guard(PREFIX)
        attach(app)
        app.include_router(router, responses=DESCRIBED)

    async def init_state(self, engine_client: EngineClient | None, state: State, args: Namespace) -> None:
        """Puts the ``Deployment`` into the app's state. An error here stops the server from starting.

        Args:
            engine_client: vLLM's client; None where vLLM runs no engine.
            state: The app's state.
            args: vLLM's command line.

        Raises:
            EngineError: A route that is not ours would answer in place of ours.
            InvalidConfig: vLLM was started without featurehub's configuration, with another engine's, or under the name
                of a variant.
            ArtifactNotFound: A loaded SAE is not in the store.
        """
        if self.app is None:
            raise EngineError("vLLM has no place for featurehub's routes here, so nothing would be steered")
        check_routes(self.app, (*ROUTERS, router))
        served = loaded(ServedModel.of(os.environ.get(FRONTEND)), engine_client)
        store = open_store(served.store)
        try:
            with store.read() as reader:
                reader.scope(*served.saes)
                refuse_hidden(reader, served)
        except (ArtifactNotFound, InvalidConfig):
            store.close()
            raise
        engine = VllmEngine(engine_client) if engine_client is not None else None
        if engine is not None:
            served = await booted(served.model_copy(update={"checks": await engine.checks()}), engine)
        door, key = Door(served.overhead_budget), os.environ.get(OPERATOR_KEY, "")
        deployment = state.featurehub = Deployment(
            store,
            served,
            engine,
            door=door,
            operator_key=key,
            adapters=lambda: adapters_of(state),
            traffic=Traffic(served.input_drift, store) if served.input_drift is not None else None,
        )
        live_with(self.app, deployment, state, address_of(args))


def guard(prefix: str) -> None:
    """Makes vLLM ask for its API keys, where it has any, on paths that begin with ``prefix`` too."""
    if prefix not in authenticate.GUARDED_PREFIX:
        authenticate.GUARDED_PREFIX = (*authenticate.GUARDED_PREFIX, prefix)


def address_of(args: Namespace) -> str:
    """Where a browser on this machine finds the start page."""
    host = "127.0.0.1" if args.host in (None, "", "0.0.0.0", "::") else args.host
    scheme = "https" if args.ssl_certfile else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{args.port}{args.root_path or ''}/"


def live_with(app: FastAPI, deployment: Deployment, held: State, address: str) -> None:
    """Watches the engine and its weights while vLLM's own lifespan lasts, and closes the store after it has ended."""
    whole = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        try:
            watching = (
                watched(deployment.engine, deployment.door),
                followed(held),
                published(held),
                traffic_watched(deployment.engine, deployment.door, deployment.traffic),
            )
            async with whole(app) as state, AsyncExitStack() as stack:
                for each in watching:
                    await stack.enter_async_context(each)
                logger.info("The web page is at %s", address)
                yield state
        finally:
            deployment.store.close()

    app.router.lifespan_context = lifespan


def loaded(served: ServedModel, client: EngineClient | None) -> ServedModel:
    """``served``, with the overrides that the engine itself reports. Raises InvalidConfig for another engine's."""
    if client is None:
        return served
    config = EngineConfig.of(client.vllm_config)
    missing = [sae for sae in served.saes if config is None or sae not in config.saes]
    if missing:
        raise InvalidConfig(f"{FRONTEND} names the SAE {missing[0][:12]}, which this engine does not hold")
    return served.with_overrides(*resolved(client.vllm_config, served.model.dtype))


def adapters_of(state: State) -> tuple[str, ...]:
    """Names of the LoRA adapters that vLLM has loaded."""
    return tuple(state.openai_serving_models.lora_requests)


def while_alive(core: Core[Any]) -> Core[Any]:
    """vLLM's route, which raises EngineUnavailable where the engine is dead."""

    @wraps(core)
    async def run(body: Any, request: Request) -> Response | None:
        with gone_if_dead():
            return await core(body, request)

    return run


@router.post("/v1/chat/completions", dependencies=[Depends(validate_json_request)], openapi_extra=STEERED)
async def chat_completions(body: ChatCompletionRequest, request: Request) -> Response:
    """OpenAI's chat completions, steered by ``features``."""
    return await answer_steered(body, request, while_alive(create_chat_completion))


class BatchBody(BatchChatCompletionRequest):
    """vLLM's request for answers to several chats, with what its request for one has and edits travel by.

    Attributes:
        vllm_xargs: Extra arguments that vLLM hands on to the request of each chat.
        stream: Streams are not supported.
    """

    vllm_xargs: dict[str, Any] | None = None
    stream: bool | None = None


@router.post("/v1/chat/completions/batch", dependencies=[Depends(validate_json_request)], openapi_extra=STEERED)
async def batch_chat_completions(body: BatchBody, request: Request) -> Response:
    """vLLM's answers to several chats, steered by ``features``."""
    return await answer_steered(body, request, while_alive(create_batch_chat_completion))


@router.get("/v1/models")
async def models(request: Request) -> Response:
    """OpenAI's list of models, with the stored variants."""
    listed = await show_available_models(request)
    deployment: Deployment = request.app.state.featurehub
    return JSONResponse(await run_in_threadpool(with_variants, json.loads(bytes(listed.body)), deployment))


@router.post("/v1/completions", dependencies=[Depends(validate_json_request)], openapi_extra=STEERED)
async def completions(body: CompletionRequest, request: Request) -> Response:
    """OpenAI's completions, steered by ``features``."""
    return await answer_steered(body, request, while_alive(create_completion))


@router.post("/v1/responses", dependencies=[Depends(validate_json_request)], openapi_extra=STEERED)
async def responses(body: ResponsesRequest, request: Request) -> Response:
    """OpenAI's responses, steered by ``features``."""
    check_answers(body)
    return await answer_steered(body, request, while_alive(create_responses), RESPONSES)


@router.post(f"{PREFIX}/chat/completions", dependencies=[Depends(validate_json_request)], openapi_extra=STREAMED)
async def goodfire_chat_completions(body: ChatBody, request: Request) -> Response:
    """Chat completions in Goodfire's format."""
    return await answer_goodfire(body, request, ChatCompletionRequest, while_alive(create_chat_completion))
