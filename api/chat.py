"""A steered completion around vLLM's own route.

1. Our keys are taken out of the body and checked; without any, vLLM's route answers as if we were not there.
2. Names become a plan, which travels to the worker inside vLLM's own request.
3. vLLM's route runs, unchanged.
4. What the worker reports is added to the answer. Where it does not account for every token, the answer is withheld.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from api.answer import Answer, Labels, headers, make_answer
from api.asked import Asked, refuse_reserved
from api.deployment import Deployment
from api.engine import Engine
from api.plan import Plan, make_plan
from api.report import read_report
from api.stream import Ending, append, say_aborted
from featurehub.errors import EngineUnavailable, InvalidInput
from featurehub.report import SteerReport

__all__ = ["Body", "Core", "answer_steered"]

CLIENT_GONE = 499


class Body(Protocol):
    """What we need of vLLM's request classes."""

    vllm_xargs: dict[str, Any] | None

    @property
    def model(self) -> str | None: ...
    @property
    def model_extra(self) -> dict[str, Any] | None: ...


B = TypeVar("B", bound=Body)
# vLLM's own route: None when the client went away.
Core = Callable[[B, Request], Awaitable[Response | None]]


async def answer_steered(body: B, request: Request, core: Core[B]) -> Response:
    """Raises FeaturehubError; vLLM's own errors come back as vLLM answers them."""
    here: Deployment = request.app.state.featurehub
    extra = body.model_extra or {}
    refuse_reserved({**extra, "vllm_xargs": body.vllm_xargs})
    asked = Asked.take(extra, here.limits)
    if asked is None:
        return await core(body, request) or Response(status_code=CLIENT_GONE)
    if getattr(body, "use_beam_search", False):
        raise InvalidInput("beam search cannot be steered; leave it out", param="use_beam_search")
    plan = await run_in_threadpool(plan_of, asked, here, body.model)
    if plan.reaches_engine:
        body.vllm_xargs = {**(body.vllm_xargs or {}), **plan.xargs}
    return await Steered(plan, here).around(await core(body, request))


def plan_of(asked: Asked, here: Deployment, model: str | None) -> Plan:
    """``model`` is what the request says is to answer."""
    if here.served is None:
        raise EngineUnavailable("no SAE is loaded here")
    with here.store.read() as reader:
        return make_plan(asked, reader, here.served.running(model), here.limits)


class Steered:
    """One steered request, from the start of vLLM's route to the end of its answer.

    A report that nobody fetches, since the client left or vLLM answered with an error, is dropped by the worker.
    """

    def __init__(self, plan: Plan, here: Deployment) -> None:
        if here.engine is None:
            raise EngineUnavailable("no engine runs here")
        self.plan = plan
        self.store = here.store
        self.engine: Engine = here.engine

    async def around(self, response: Response | None) -> Response:
        """vLLM's response with ours added; its errors as they are."""
        if response is None:
            return Response(status_code=CLIENT_GONE)
        if response.status_code >= 400:
            return response
        if isinstance(response, StreamingResponse):
            return self.extend_stream(response)
        return await self.extend(response)

    async def extend(self, response: Response) -> Response:
        answer = await self.answer()
        content = json.loads(bytes(response.body)) | {"featurehub": answer.model_dump(mode="json")}
        if answer.aborted is not None:
            say_aborted(content)
        extended = JSONResponse(content, response.status_code, background=response.background)
        length = extended.headers["content-length"]
        extended.headers.update(response.headers | headers(self.plan) | {"content-length": length})
        extended.headers["x-featurehub-steered-tokens"] = str(answer.steered_tokens)
        return extended

    def extend_stream(self, response: StreamingResponse) -> Response:
        response.body_iterator = append(response.body_iterator, self.last_words)
        response.headers.update(headers(self.plan))
        return response

    async def last_words(self) -> Ending:
        answer = await self.answer()
        return Ending({"featurehub": answer.model_dump(mode="json")}, answer.aborted is not None)

    async def answer(self) -> Answer:
        """Raises SteeringLost."""
        report = SteerReport()
        if self.plan.reaches_engine:
            report = read_report(await self.engine.report(self.plan.steering.report), self.plan.steering)
        labels = await run_in_threadpool(self.labels, report) if report.activations else {}
        return make_answer(self.plan, report, labels, self.engine)

    def labels(self, report: SteerReport) -> Labels:
        latents = {latent for token in report.activations or () for latent in token.latents}
        with self.store.read() as reader:
            features = reader.latents(self.plan.served.sae, latents)
        return {each.latent: (each.id, each.label) for each in features}
