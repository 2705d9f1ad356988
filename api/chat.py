"""A steered answer around vLLM's own route: a completion, or a response.

1. Our keys are taken out of the body and checked, and a stored variant gives way to its model and edits
   (``api.used_variant``). Without any, vLLM's route answers as if we were not there. Work that the server has no time
   for is refused (``api.budget``).
2. Names become a plan, which travels to the worker inside vLLM's own request.
3. vLLM's route runs, unchanged.
4. What the worker reports is added to the answer. Where it does not account for every token, the answer is withheld.
5. A report that no answer takes, since the client left or vLLM answered with an error, is dropped.

What may be long, such as an answer's activations, is unpacked and built in threads, since all requests share the event
loop.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from api.answer import Labels, choices_ended, headers, labels_of, make_answer, wire_of
from api.deployment import Deployment
from api.encoding import to_json
from api.engine import SteeringEngine
from api.form import COMPLETIONS, Form
from api.plan import Plan, make_plan
from api.report import read_reports
from api.request import SteeringRequest, refuse_reserved
from api.stream import Ending, Ends
from api.used_variant import on_variant
from featurehub.answers import AnswerReport
from featurehub.errors import EngineUnavailable, SteeringUnsupported
from featurehub.report import SteerReport, Wire

__all__ = ["Body", "Core", "answer_steered", "plan_of"]

CLIENT_GONE = 499


class Body(Protocol):
    """What we need of vLLM's request classes.

    Attributes:
        vllm_xargs: Extra arguments that vLLM carries to its workers; ours travel among them.
        model: The model that is to answer, as the request names it.
        model_extra: The keys of the body that vLLM does not know, ours among them.
    """

    vllm_xargs: dict[str, Any] | None
    model: str | None

    @property
    def model_extra(self) -> dict[str, Any] | None: ...


B = TypeVar("B", bound=Body)
Core = Callable[[B, Request], Awaitable[Response | None]]
"""vLLM's own route; returns None when the client went away."""


async def answer_steered(body: B, request: Request, core: Core[B], form: Form = COMPLETIONS) -> Response:
    """Answers a request through vLLM's own route, steered where the request asks for it.

    Args:
        body: The parsed request. Our keys are taken out of it.
        request: The HTTP request, whose app holds the ``Deployment``.
        core: vLLM's own route.
        form: The form of its requests and answers.

    Returns:
        vLLM's response with the ``featurehub`` object added. Errors that vLLM answers with come back unchanged.

    Raises:
        FeaturehubError: The request cannot be steered, or was not: see ``api.errors`` for the status of each class.
    """
    deployment: Deployment = request.app.state.featurehub
    extra = body.model_extra or {}
    refuse_reserved({**extra, "vllm_xargs": body.vllm_xargs})
    asked = SteeringRequest.take(extra, deployment.limits)
    if deployment.served is not None and body.model and body.model not in deployment.served.names:
        asked, body.model = await run_in_threadpool(on_variant, asked, body.model, deployment)
    if asked.is_nothing:
        return await core(body, request) or Response(status_code=CLIENT_GONE)
    deployment.door.check(asked)
    plan = await run_in_threadpool(plan_of, asked, deployment, body.model)
    steered = SteeredRequest(plan, deployment, form, body)
    if plan.reaches_engine:
        body.vllm_xargs = {**(body.vllm_xargs or {}), **plan.xargs}
    return await steered.around(core(body, request))


def plan_of(asked: SteeringRequest, deployment: Deployment, model: str | None) -> Plan:
    """The plan of a request for ``model``. Raises SteeringUnsupported, and the errors of ``make_plan``."""
    if deployment.served is None:
        raise SteeringUnsupported(
            "this server hosts the registry alone and has no SAE loaded; ask a server that `featurehub serve` started"
        )
    with deployment.store.read() as reader:
        return make_plan(asked, reader, deployment.served.running(model), deployment.limits)


class SteeredRequest:
    """One steered request, from the start of vLLM's route to the end of its answer.

    Attributes:
        plan: What the engine is to do.
        store: The feature database, in which labels are looked up.
        engine: The running engine.
        form: The form of its answer.
        choices: The answers that it asks for.
        hidden: What vLLM says of numbers of tokens for us alone.
        written: How many tokens each of the answers has, as far as vLLM has said.
        fetched: Whether the worker was asked for the report, which it forgets once it has sent it.
        users: Where it is counted while it runs.
        counted: Whether it still is.

    Raises:
        SteeringUnsupported: The server runs no engine.
        InvalidInput: The body asks for something that cannot be steered.
    """

    def __init__(self, plan: Plan, deployment: Deployment, form: Form, body: Body) -> None:
        self.hidden = form.prepare(body)
        if deployment.engine is None:
            raise SteeringUnsupported("this server runs no engine; ask a server that `featurehub serve` started")
        self.plan = plan
        self.store = deployment.store
        self.engine: SteeringEngine = deployment.engine
        self.written: dict[int, int] = {}
        self.form = form
        self.choices = form.choices(body)
        self.fetched = not plan.reaches_engine
        self.users = deployment.users
        self.users.come(plan.hooks)
        self.counted = True

    async def around(self, answering: Awaitable[Response | None]) -> Response:
        """vLLM's response with the ``featurehub`` object added; an error response is returned unchanged."""
        try:
            answer = await self.answered(await answering)
        except BaseException:
            self.end()
            raise
        if not isinstance(answer, SteeredStream):
            self.end()
        return answer

    async def answered(self, response: Response | None) -> Response:
        if response is None or response.status_code >= 400:
            return response or Response(status_code=CLIENT_GONE)
        if isinstance(response, StreamingResponse):
            return SteeredStream(response, self)
        return await self.extend(response)

    async def extend(self, response: Response) -> Response:
        """The whole, unstreamed response with the ``featurehub`` object and our headers. Raises SteeringLost."""
        raw = await self.fetch()
        return await run_in_threadpool(self.extended, response, raw)

    def extended(self, response: Response, raw: Sequence[Wire]) -> Response:
        """The response with the answer added to its body and headers. Raises SteeringLost."""
        reports = self.read(raw)
        content = json.loads(bytes(response.body))
        self.written |= self.form.take_counts(content, self.hidden)
        answer = self.answer(reports)
        content["featurehub"] = wire_of(answer)
        if ended := choices_ended(answer):
            self.form.say_aborted(content, ended)
        extended = Response(to_json(content), response.status_code, background=response.background)
        length = extended.headers["content-length"]
        extended.headers.update(response.headers | headers(self.plan) | {"content-length": length})
        extended.headers["x-featurehub-steered-tokens"] = str(answer.steered_tokens)
        return extended

    @property
    def ends(self) -> Ends:
        """What happens around the end of a stream."""
        several = self.choices.requests > 1
        return Ends(self.last_words, self.written.__setitem__, self.hidden, several, bool(self.plan.steering.aborts))

    async def last_words(self) -> Ending:
        """What is added to the last chunk of a stream. Raises SteeringLost."""
        raw = await self.fetch()
        answer = await run_in_threadpool(lambda: self.answer(self.read(raw)))
        return Ending({"featurehub": wire_of(answer)}, choices_ended(answer))

    async def fetch(self) -> Sequence[Wire]:
        """Fetches the worker's reports; nothing where there are none, or nobody to ask. Raises EngineUnavailable."""
        if not self.plan.reaches_engine:
            return ()
        self.fetched = True
        return await self.engine.report(self.plan.steering.report)

    def read(self, raw: Sequence[Wire]) -> list[SteerReport]:
        """What was fetched, unpacked, and checked to account for all that was asked. Raises SteeringLost."""
        if not self.plan.reaches_engine:
            return [SteerReport()] * self.choices.requests
        return read_reports(raw, self.plan.steering, self.plan.hooks, self.choices)

    def answer(self, reports: Sequence[SteerReport]) -> AnswerReport:
        """The ``featurehub`` object of answers of as many tokens as were counted."""
        ended = [self.until_end(index, report) for index, report in enumerate(reports)]
        return make_answer(self.plan, ended, self.labels(ended), self.engine)

    def until_end(self, index: int, report: SteerReport) -> SteerReport:
        """The report of one answer until it ends; the last token of an answer is not computed."""
        if index not in self.written:
            return report
        return report.until(report.prompt_tokens + max(0, self.written[index] - 1), self.plan.steering.positions)

    def labels(self, reports: Sequence[SteerReport]) -> Labels:
        """Id and label of the features that the reports have activations of."""
        blocks = [block for report in reports if report.activations for block in report.activations.blocks]
        if not blocks:
            return {}
        with self.store.read() as reader:
            return labels_of({(block.sae, latent) for block in blocks for latent in block.distinct()}, reader)

    def end(self) -> None:
        """Notes that the answer has ended, whether or not it was given. Safe to call again."""
        self.drop()
        if self.counted:
            self.counted = False
            self.users.go(self.plan.hooks)

    def drop(self) -> None:
        """Makes the worker forget a report that was not fetched. Starts at once and does not wait for the engine."""
        if not self.fetched:
            self.fetched = True
            DROPPING.add(task := asyncio.create_task(forget(self.engine, self.plan.steering.report)))
            task.add_done_callback(DROPPING.discard)


class SteeredStream(StreamingResponse):
    """vLLM's stream, with the ``featurehub`` object in its last chunk."""

    def __init__(self, response: StreamingResponse, steered: SteeredRequest) -> None:
        content = steered.form.append(response.body_iterator, steered.ends)
        super().__init__(content, response.status_code, background=response.background)
        self.raw_headers = response.raw_headers
        self.headers.update(headers(steered.plan))
        self.steered = steered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.steered.end()


DROPPING: set[asyncio.Task[None]] = set()
"""Holds the tasks, since the event loop itself has only weak references to them."""


async def forget(engine: SteeringEngine, key: str) -> None:
    with suppress(EngineUnavailable):
        await engine.report(key)
