"""Attaches featurehub to vLLM's OpenAI server; the only module of ``api`` that imports vllm.

vLLM loads ``FeaturehubRoutes`` through the entry point ``vllm.endpoint_plugins`` when ``VLLM_PLUGINS`` names it. Our
two completion routes replace vLLM's of the same path and hand over to them.
"""

import os
from argparse import Namespace
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from functools import cached_property, wraps
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import Response
from starlette.datastructures import State
from vllm.engine.protocol import EngineClient
from vllm.entrypoints.openai.chat_completion.api_router import create_chat_completion
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.openai.completion.api_router import create_completion
from vllm.entrypoints.openai.completion.protocol import CompletionRequest
from vllm.entrypoints.serve.utils.api_utils import validate_json_request
from vllm.v1.engine.exceptions import EngineDeadError

from api.app import ROUTERS, attach
from api.chat import Core, answer_steered
from api.deployment import Deployment
from api.routes import check_routes
from api.served import ServedModel
from featurehub.engine.config import EngineConfig
from featurehub.engine.overrides import resolved
from featurehub.errors import ArtifactNotFound, EngineError, EngineUnavailable, InvalidConfig
from featurehub.pieces import pieces
from featurehub.settings import FRONTEND
from featurehub.store import Store, open_store

__all__ = ["FeaturehubRoutes", "VllmEngine"]

router = APIRouter()
GONE = "the engine is gone; the server restarts it or ends. Try again later."


class VllmEngine:
    """``api.engine.Engine`` on vLLM's client."""

    def __init__(self, client: EngineClient) -> None:
        self.client = client

    async def report(self, key: str) -> Mapping[str, Any] | None:
        try:
            answers = await self.client.collective_rpc("featurehub_report", args=(key,))
        except EngineDeadError as error:
            raise EngineUnavailable(GONE) from error
        return next((answer for answer in answers if answer is not None), None)

    async def alive(self) -> bool:
        try:
            await self.client.check_health()
        except EngineDeadError:
            return False
        return True

    @cached_property
    def tokenizer(self) -> Any:
        """Our own copy: vLLM's is at work in other threads."""
        return deepcopy(self.client.renderer.get_tokenizer())

    def pieces(self, token_ids: Sequence[int]) -> list[str]:
        return pieces(self.tokenizer, token_ids, special=True)


class FeaturehubRoutes:
    """vLLM's ``EndpointPlugin``."""

    name = "featurehub"
    required_tasks = ("generate",)

    def __init__(self) -> None:
        self.app: FastAPI | None = None

    def attach_router(self, app: FastAPI) -> None:
        self.app = app
        attach(app)
        app.include_router(router)

    async def init_state(self, engine_client: EngineClient | None, state: State, args: Namespace) -> None:
        """Ends the boot where it raises.

        Raises:
            EngineError: a route that is not ours would answer in place of ours.
            InvalidConfig: vLLM was started without featurehub's configuration, or with another engine's.
            ArtifactNotFound: the SAE is not in the store.
        """
        if self.app is None:
            raise EngineError("vLLM has no place for featurehub's routes here, so nothing would be steered")
        check_routes(self.app, (*ROUTERS, router))
        served = loaded(ServedModel.of(os.environ.get(FRONTEND)), engine_client)
        store = open_store(served.store)
        try:
            with store.read() as reader:
                reader.scope(*served.saes)
        except ArtifactNotFound:
            store.close()
            raise
        close_at_shutdown(self.app, store)
        engine = VllmEngine(engine_client) if engine_client is not None else None
        state.featurehub = Deployment(store, served, engine)


def close_at_shutdown(app: FastAPI, store: Store) -> None:
    """The app's lifespan is vLLM's: ours goes around it."""
    whole = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        try:
            async with whole(app) as state:
                yield state
        finally:
            store.close()

    app.router.lifespan_context = lifespan


def loaded(served: ServedModel, client: EngineClient | None) -> ServedModel:
    """What is served, with what the engine itself says of it. Raises InvalidConfig for another engine's."""
    if client is None:
        return served
    config = EngineConfig.of(client.vllm_config)
    missing = [sae for sae in served.saes if config is None or sae not in config.saes]
    if missing:
        raise InvalidConfig(f"{FRONTEND} names the SAE {missing[0][:12]}, which this engine does not hold")
    return served.with_overrides(*resolved(client.vllm_config, served.model.dtype))


def while_alive(core: Core[Any]) -> Core[Any]:
    """vLLM's route, with a dead engine as EngineUnavailable."""

    @wraps(core)
    async def run(body: Any, request: Request) -> Response | None:
        try:
            return await core(body, request)
        except EngineDeadError as error:
            raise EngineUnavailable(GONE) from error

    return run


@router.post("/v1/chat/completions", dependencies=[Depends(validate_json_request)])
async def chat_completions(body: ChatCompletionRequest, request: Request) -> Response:
    return await answer_steered(body, request, while_alive(create_chat_completion))


@router.post("/v1/completions", dependencies=[Depends(validate_json_request)])
async def completions(body: CompletionRequest, request: Request) -> Response:
    return await answer_steered(body, request, while_alive(create_completion))
