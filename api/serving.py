"""Attaches featurehub to vLLM's OpenAI server; the only module of ``api`` that imports vllm.

vLLM loads ``FeaturehubRoutes`` through the entry point ``vllm.endpoint_plugins`` when ``VLLM_PLUGINS`` names it. Our
two completion routes replace vLLM's routes of the same path and call them.
"""

import asyncio
import os
from argparse import Namespace
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
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
from api.budget import Door
from api.chat import Core, answer_steered
from api.deployment import Deployment
from api.engine import Overhead
from api.model import ServedModel
from api.overhead import watched
from api.routes import check_routes
from featurehub.artifacts.artifact import Artifact
from featurehub.engine.admission import admit_under
from featurehub.engine.config import EngineConfig
from featurehub.engine.overrides import resolved
from featurehub.errors import ArtifactNotFound, EngineError, EngineUnavailable, InvalidConfig, SteeringUnsupported
from featurehub.pieces import pieces
from featurehub.settings import FRONTEND, OPERATOR_KEY
from featurehub.store import open_store

__all__ = ["FeaturehubRoutes", "VllmEngine"]

router = APIRouter()
CAPTURED = (
    "the graphs that this engine captured hold the addresses of its SAEs, so they cannot be exchanged while it runs: "
    "start it with --eager, or start it anew with the other SAEs"
)
GONE = "the engine is gone; the server restarts it or ends. Try again later."


@contextmanager
def gone_if_dead() -> Iterator[None]:
    """Raises EngineUnavailable where vLLM raises that its engine is dead."""
    try:
        yield
    except EngineDeadError as error:
        raise EngineUnavailable(GONE) from error


class VllmEngine:
    """``api.engine.SteeringEngine`` on vLLM's client.

    Each call stops the engine's loop for a moment. What is asked for while one is under way goes together in the next.

    Attributes:
        client: vLLM's client to the engine process.
        held: What the engine holds.
        keys: The keys that the next call asks for.
        next: That call; None until somebody asks.
        under_way: Held by the call that is under way.
    """

    def __init__(self, client: EngineClient) -> None:
        self.client = client
        self.keys: list[str] = []
        self.next: asyncio.Task[Mapping[str, Any]] | None = None
        self.under_way = asyncio.Lock()

    async def report(self, key: str) -> Mapping[str, Any] | None:
        """Takes the counts that a worker kept under ``key``; None where no worker has any. Raises EngineUnavailable."""
        self.keys.append(key)
        call = self.next = self.next or asyncio.create_task(self.reports())
        with gone_if_dead():
            # Shielded: a client that goes away must not take the others' reports with it.
            return (await asyncio.shield(call)).get(key)

    async def reports(self) -> Mapping[str, Any]:
        """Takes the reports of all keys that wait, by key. Raises EngineDeadError."""
        async with self.under_way:
            keys, self.keys, self.next = self.keys, [], None
            workers = await self.client.collective_rpc("featurehub_reports", args=(keys,))
        return {
            key: report
            for reports in reversed(workers)
            for key, report in zip(keys, reports, strict=True)
            if report is not None
        }

    @cached_property
    def held(self) -> EngineConfig:
        """What vLLM was started with; ``exchange`` puts another in its place. Raises InvalidConfig without ours."""
        config = EngineConfig.of(self.client.vllm_config)
        if config is None:
            raise InvalidConfig("this engine was not started by featurehub")
        return config

    async def add(self, artifacts: Sequence[Artifact]) -> None:
        """Holds these SAEs too. Raises InvalidConfig, SteeringUnsupported, EngineUnavailable."""
        await self.exchange(self.held.with_saes(*(a for a in artifacts if a.manifest.id not in self.held.saes)))

    def admit_only(self, saes: Collection[str]) -> None:
        """Admits requests for these SAEs, and refuses those for others."""
        admit_under(self.client.input_processor, self.held.only(saes))

    async def keep_only(self, saes: Collection[str]) -> None:
        """Lets go of all others. Raises InvalidConfig, SteeringUnsupported, EngineUnavailable."""
        await self.exchange(self.held.only(saes))

    async def exchange(self, config: EngineConfig) -> None:
        """Gives every worker the SAEs of another configuration, or none of them."""
        if config == self.held:
            return
        if captures_graphs(self.client.vllm_config):
            raise SteeringUnsupported(CAPTURED)
        with gone_if_dead():
            asked = (config.model_dump(mode="json"),)
            refusals = await self.client.collective_rpc("featurehub_prepare", args=asked)
            if refused := next(filter(None, refusals), ""):
                raise InvalidConfig(refused)
            await self.client.collective_rpc("featurehub_exchange")
        self.held = config

    async def alive(self) -> bool:
        """Whether the engine passes vLLM's health check."""
        try:
            await self.client.check_health()
        except EngineDeadError:
            return False
        return True

    async def overhead(self) -> Overhead:
        """What our part of its steps has cost; of several workers, the most of each. Raises EngineUnavailable."""
        with gone_if_dead():
            workers = await self.client.collective_rpc("featurehub_overhead")
        return Overhead(**{name: max(worker[name] for worker in workers) for name in Overhead._fields})

    @cached_property
    def tokenizer(self) -> Any:
        """Our own copy of the tokenizer, since vLLM uses its own in other threads."""
        return deepcopy(self.client.renderer.get_tokenizer())

    def pieces(self, token_ids: Sequence[int]) -> list[str]:
        """The text that each token adds to those before it, special tokens included."""
        return pieces(self.tokenizer, token_ids, special=True)


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
        attach(app)
        app.include_router(router)

    async def init_state(self, engine_client: EngineClient | None, state: State, args: Namespace) -> None:
        """Puts the ``Deployment`` into the app's state. An error here stops the server from starting.

        Args:
            engine_client: vLLM's client; None where vLLM runs no engine.
            state: The app's state.
            args: vLLM's command line, which is not used.

        Raises:
            EngineError: A route that is not ours would answer in place of ours.
            InvalidConfig: vLLM was started without featurehub's configuration, or with another engine's.
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
        except ArtifactNotFound:
            store.close()
            raise
        engine = VllmEngine(engine_client) if engine_client is not None else None
        door, key = Door(served.overhead_budget), os.environ.get(OPERATOR_KEY, "")
        deployment = state.featurehub = Deployment(store, served, engine, door=door, operator_key=key)
        live_with(self.app, deployment)


def captures_graphs(vllm_config: Any) -> bool:
    """Whether the engine may have captured graphs: not on a CPU, and not in eager mode."""
    return vllm_config.device_config.device_type != "cpu" and not vllm_config.model_config.enforce_eager


def live_with(app: FastAPI, deployment: Deployment) -> None:
    """Watches the engine while vLLM's own lifespan lasts, and closes the store after it has ended."""
    whole = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        try:
            async with whole(app) as state, watched(deployment.engine, deployment.door):
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


def while_alive(core: Core[Any]) -> Core[Any]:
    """vLLM's route, which raises EngineUnavailable where the engine is dead."""

    @wraps(core)
    async def run(body: Any, request: Request) -> Response | None:
        with gone_if_dead():
            return await core(body, request)

    return run


@router.post("/v1/chat/completions", dependencies=[Depends(validate_json_request)])
async def chat_completions(body: ChatCompletionRequest, request: Request) -> Response:
    """OpenAI's chat completions, steered by ``features``."""
    return await answer_steered(body, request, while_alive(create_chat_completion))


@router.post("/v1/completions", dependencies=[Depends(validate_json_request)])
async def completions(body: CompletionRequest, request: Request) -> Response:
    """OpenAI's completions, steered by ``features``."""
    return await answer_steered(body, request, while_alive(create_completion))
