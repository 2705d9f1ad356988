"""``POST chat/completions`` of Goodfire's format, around our own.

1. The controller becomes our own keys (``controller``), and the request one of vLLM's, answered as every other is.
2. The answer gets ``gf_event_names``, the event that ended it. In a stream each chunk gets its place as
   ``gf_token_index``; what holds no text is left out.

Goodfire's client reads a stream in the pieces in which the network brings it, and cuts them at "data: ". So every event
is sent by itself, is short (the ``featurehub`` object is in whole answers alone), and has no "data: " inside. There is
no ``[DONE]``, since the client takes it for a broken chunk where it comes along with another event.
"""

import json
from collections.abc import AsyncIterable, AsyncIterator
from typing import Annotated, Any

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from pydantic import Field, ValidationError
from starlette.concurrency import run_in_threadpool

from api.analysis.reading import Chat
from api.chat import Body, Core, answer_steered
from api.deployment import Deployment
from api.encoding import to_json
from api.goodfire.controller import Controller, native
from api.stream import Events, data_of
from featurehub.errors import InvalidInput
from featurehub.settings import Frozen, reason

__all__ = ["ChatBody", "answer_goodfire"]

Stop = Annotated[str, Field(max_length=1000)]


class ChatBody(Frozen):
    """The body of a request: OpenAI's fields of these names, and the controller.

    Attributes:
        model: As in a chat completion of ours.
        messages: The chat.
        stream: Whether the answer is streamed.
        max_completion_tokens: Longest answer; None for what the model has room for. So is more than that, since the
            client asks for 2048 tokens by default.
        top_p, temperature, stop, seed: As OpenAI has them.
        controller: What steers the answer; None for nothing.
    """

    model: str
    messages: Chat
    stream: bool = False
    max_completion_tokens: int | None = None
    top_p: float | None = None
    temperature: float | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    seed: int | None = None
    controller: Controller | None = None


async def answer_goodfire(body: ChatBody, request: Request, kind: type[Any], core: Core[Any]) -> Response:
    """Answers a request in Goodfire's format through vLLM's own route.

    Args:
        body: The request.
        request: The HTTP request, whose app holds the ``Deployment``.
        kind: vLLM's class of requests.
        core: vLLM's own route.

    Raises:
        InvalidInput: vLLM's class refuses a value.
        FeaturehubError: What ``native`` and ``answer_steered`` raise.
    """
    deployment: Deployment = request.app.state.featurehub
    answer = await answer_steered(of_vllm(body, kind, deployment), request, core)
    if answer.status_code >= 400:
        return answer
    running = fingerprint(deployment)
    if isinstance(answer, StreamingResponse):
        answer.body_iterator = chunks(answer.body_iterator, running)
        return answer
    return await run_in_threadpool(whole, answer, running)


def of_vllm(body: ChatBody, kind: type[Any], deployment: Deployment) -> Body:
    """vLLM's request, with our keys among its further ones. Raises InvalidInput."""
    fields = body.model_dump(exclude={"controller"}, exclude_none=True)
    if body.max_completion_tokens is not None and deployment.engine is not None:
        fields["max_completion_tokens"] = min(body.max_completion_tokens, deployment.engine.context)
    try:
        return kind.model_validate(fields | native(body.controller))
    except ValidationError as error:
        raise InvalidInput(reason(error)) from None


def fingerprint(deployment: Deployment) -> str:
    """What stands for the model's function in the answer."""
    return "" if deployment.served is None else deployment.served.fingerprint[:16]


def whole(answer: Response, running: str) -> Response:
    """The whole answer in Goodfire's shape."""
    content = json.loads(bytes(answer.body)) | {"system_fingerprint": running}
    for choice in content["choices"]:
        choice["message"]["content"] = choice["message"].get("content") or ""
    written = Response(to_json(with_events(content)), answer.status_code, background=answer.background)
    length = written.headers["content-length"]
    written.headers.update(answer.headers | {"content-length": length})
    return written


def with_events(content: dict[str, Any]) -> dict[str, Any]:
    """The same, with the name of the event that ended the answer, if one did."""
    aborted = (content.get("featurehub") or {}).get("aborted")
    return content | ({"gf_event_names": [aborted["event"]]} if aborted else {})


async def chunks(pieces: AsyncIterable[Any], running: str) -> AsyncIterator[str]:
    """The stream in Goodfire's shape, an event at a time. Errors are passed on."""
    events, count = Events(), 0
    async for piece in pieces:
        for data in map(data_of, events.feed(piece)):
            chunk = json.loads(data) if data.startswith("{") else {}
            if "error" in chunk:
                yield event(chunk)
            elif says_something(chunk):
                yield event(shaped(chunk, count, running))
                count += 1


def says_something(chunk: dict[str, Any]) -> bool:
    """Whether a chunk has text, or ends its answer."""
    return any(each["delta"].get("content") or each.get("finish_reason") for each in chunk.get("choices", ()))


def shaped(chunk: dict[str, Any], index: int, running: str) -> dict[str, Any]:
    """One chunk in Goodfire's shape."""
    choices = [
        {
            "index": each["index"],
            "delta": {"role": "assistant", "content": each["delta"].get("content") or ""},
            "gf_token_index": index,
            "finish_reason": each.get("finish_reason"),
        }
        for each in chunk["choices"]
    ]
    kept = {name: chunk[name] for name in ("id", "object", "created", "model")}
    events = {key: value for key, value in with_events(chunk).items() if key == "gf_event_names"}
    return kept | {"system_fingerprint": running} | events | {"choices": choices}


def event(content: dict[str, Any]) -> str:
    """An event in ASCII, without "data: " inside."""
    return "data: " + json.dumps(content).replace("data: ", "data\\u003a ") + "\n\n"
