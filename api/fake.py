"""A server without a model, for tests: our routes around an echo that answers in OpenAI's shapes.

The echo stands where vLLM's routes stand, so that everything of ``api`` but ``serving`` runs for real.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, PrivateAttr

from api.app import create_app
from api.chat import answer_steered
from api.choices import StreamOptions
from api.described import STEERED, STREAMED
from api.engine import FakeEngine
from api.errors import DESCRIBED
from api.goodfire.chat import ChatBody, answer_goodfire
from api.goodfire.routes import PREFIX
from api.model import ServedModel
from api.request import XARGS_KEY
from api.responses import RESPONSES
from api.variants import with_variants
from featurehub.edits import Steering
from featurehub.store import Store

__all__ = ["EchoRequest", "Echoes", "create_fake_app"]

USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
"""What the echo says of an answer by itself."""


class EchoRequest(BaseModel):
    """The part of vLLM's request classes that matters here; other keys are kept as extra ones.

    Attributes:
        model: The name of the model; one that the engine does not answer for gets vLLM's 404.
        messages: The messages of a chat; the last one is echoed. Without any the request is a completion.
        prompt: The prompt of a completion, which is echoed; or several, as texts or lists of token ids.
        input: What a response answers, which is echoed.
        tools, background, previous_response_id, store: As in OpenAI's responses.
        n: How many answers are asked for, to each prompt.
        stream: Whether to answer with server-sent events, one per word.
        stream_options: ``include_usage`` adds a chunk with token counts.
        vllm_xargs: What would travel to vLLM's workers.
        cache_salt: What would separate vLLM's prefix cache.
        echo: Whether vLLM would begin the answers with their prompts.
        return_token_ids: Whether each answer lists its tokens; the echo's answers have one.
    """

    model_config = ConfigDict(extra="allow")

    model: str | None = None
    messages: list[dict[str, Any]] = []
    prompt: Any = ""
    input: str = ""
    tools: list[dict[str, Any]] = []
    background: bool = False
    previous_response_id: str | None = None
    store: bool = True
    n: int | None = 1
    stream: bool = False
    stream_options: StreamOptions | None = None
    vllm_xargs: dict[str, Any] | None = None
    cache_salt: str | None = None
    echo: bool = False
    return_token_ids: bool = False
    _answers: list[list[str]] = PrivateAttr(default_factory=list)

    @property
    def answers(self) -> list[list[str]]:
        """The words of each answer: ``n`` to the first prompt, then to the next."""
        return self._answers

    @property
    def words(self) -> list[str]:
        """The words of the first answer."""
        return self._answers[0]

    @property
    def usage(self) -> dict[str, int]:
        """What the echo says of the numbers of tokens: one for each prompt, and one for each answer."""
        asked, written = len(self.prompts), len(self._answers)
        return {"prompt_tokens": asked, "completion_tokens": written, "total_tokens": asked + written}

    @property
    def prompts(self) -> list[str | list[dict[str, Any]]]:
        """What is answered: a chat, or each prompt of a completion."""
        if self.messages:
            return [self.messages]
        several = isinstance(self.prompt, list) and not all(isinstance(each, int) for each in self.prompt)
        return [*map(str, self.prompt)] if several else [str(self.input or self.prompt)]

    def let_answer(self, engine: FakeEngine) -> None:
        """Lets the engine answer, under the steering that the request carries to it."""
        carried = (self.vllm_xargs or {}).get(XARGS_KEY)
        steering = None if carried is None else Steering.read(carried)
        several = (self.n or 1) > 1
        self._answers = [
            engine.say(prompt, steering, f"{j}_cmpl-echo-{at}" if several else f"cmpl-echo-{at}")
            for at, prompt in enumerate(self.prompts)
            for j in range(self.n or 1)
        ]


class Echoes(list[EchoRequest]):
    """The requests that reached the echo."""


def create_fake_app(store: Store, served: ServedModel | None, engine: FakeEngine | None) -> FastAPI:
    """An app whose model echoes what it was sent.

    Args:
        store: The feature database.
        served: What the server is to look like; None for a registry alone.
        engine: Where the reports come from.

    Returns:
        The app; ``app.state.echoed`` keeps the requests that reached the echo.
    """
    app = create_app(store, served, engine)
    app.state.echoed = Echoes()

    @app.post("/v1/chat/completions", openapi_extra=STEERED, responses=DESCRIBED)
    async def chat(body: EchoRequest, request: Request) -> Response:
        return await answer_steered(body, request, echo)

    @app.post("/v1/completions", openapi_extra=STEERED, responses=DESCRIBED)
    async def completions(body: EchoRequest, request: Request) -> Response:
        return await answer_steered(body, request, echo)

    @app.post("/v1/responses", openapi_extra=STEERED, responses=DESCRIBED)
    async def responses(body: EchoRequest, request: Request) -> Response:
        return await answer_steered(body, request, respond, RESPONSES)

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        names = served.names if served is not None else ()
        return with_variants({"object": "list", "data": [card(each) for each in names]}, app.state.featurehub)

    @app.post(f"{PREFIX}/chat/completions", openapi_extra=STREAMED, responses=DESCRIBED)
    async def goodfire(body: ChatBody, request: Request) -> Response:
        return await answer_goodfire(body, request, EchoRequest, echo)

    @app.post("/tokenize")
    async def tokenize(body: dict[str, Any]) -> dict[str, Any]:
        """vLLM's route, as far as the SDK uses it."""
        text = body.get("prompt") or body["messages"]
        fake = engine or FakeEngine()
        ids = fake.tokens(text).ids
        return {"tokens": ids, "token_strs": fake.pieces(ids), "count": len(ids)}

    return app


def card(model: str) -> dict[str, Any]:
    """A model as vLLM lists it."""
    return {"id": model, "object": "model", "created": 0, "owned_by": "vllm", "root": model, "parent": None}


async def echo(body: EchoRequest, request: Request) -> Response:
    engine = heard(body, request)
    if body.model == "unknown" or (engine.models is not None and body.model not in engine.models):
        error = {
            "message": f"The model `{body.model}` does not exist.",
            "type": "NotFoundError",
            "param": "model",
            "code": 404,
        }
        return JSONResponse({"error": error}, 404)
    body.let_answer(engine)
    if body.stream:
        return StreamingResponse(chunks(body), media_type="text/event-stream")
    return JSONResponse(answer(body, [whole(body, at) for at in range(len(body.answers))]) | {"usage": body.usage})


def heard(body: EchoRequest, request: Request) -> FakeEngine:
    """Notes what reached the echo, and says who answers."""
    request.app.state.echoed.append(body)
    return request.app.state.featurehub.engine or FakeEngine()


async def respond(body: EchoRequest, request: Request) -> Response:
    """The echo as a response."""
    body.let_answer(heard(body, request))
    return StreamingResponse(events(body), media_type="text/event-stream") if body.stream else JSONResponse(said(body))


async def events(body: EchoRequest) -> AsyncIterator[str]:
    for number, event in enumerate(course(body)):
        yield f"event: {event['type']}\n{sse(event | {'sequence_number': number})}"


def course(body: EchoRequest) -> list[dict[str, Any]]:
    """A response from its beginning to its end, in OpenAI's events."""
    whole, at = said(body), {"output_index": 0}
    [message] = whole["output"]
    [part] = message["content"]
    within = at | {"item_id": message["id"], "content_index": 0}
    delta = within | {"type": "response.output_text.delta", "logprobs": []}
    return [
        {"type": "response.created", "response": whole | {"status": "in_progress", "output": []}},
        {"type": "response.output_item.added", **at, "item": message | {"status": "in_progress", "content": []}},
        {"type": "response.content_part.added", **within, "part": part | {"text": ""}},
        *(delta | {"delta": f"{word} "} for word in body.words),
        {"type": "response.output_text.done", **within, "text": part["text"], "logprobs": []},
        {"type": "response.content_part.done", **within, "part": part},
        {"type": "response.output_item.done", **at, "item": message},
        {"type": "response.completed", "response": whole},
    ]


def said(body: EchoRequest) -> dict[str, Any]:
    text = {"type": "output_text", "text": " ".join(body.words), "annotations": []}
    message = {"type": "message", "id": "echo-2", "role": "assistant", "status": "completed", "content": [text]}
    return {
        "id": "echo-1", "object": "response", "created_at": 0, "model": body.model, "status": "completed",
        "output": [message], "incomplete_details": None, "usage": {"input_tokens": 1, "output_tokens": 1},
    }  # fmt: skip


async def chunks(body: EchoRequest) -> AsyncIterator[str]:
    options = body.stream_options or StreamOptions()
    each = {"usage": USAGE} if options.include_usage and options.continuous_usage_stats else {}
    for index, words in enumerate(body.answers):
        for word in words:
            yield sse(answer(body, [choice(body, index, "delta", f"{word} ")]) | each)
        yield sse(answer(body, [choice(body, index, "delta", None, "stop")]) | each)
    if options.include_usage:
        yield sse(answer(body, []) | {"usage": body.usage})
    yield "data: [DONE]\n\n"


def whole(body: EchoRequest, index: int) -> dict[str, Any]:
    """One of the answers, not streamed."""
    listed = {"token_ids": [1]} if body.return_token_ids else {}
    return choice(body, index, "message", " ".join(body.answers[index]), "stop") | listed


def choice(body: EchoRequest, index: int, key: str, text: str | None, finish: str | None = None) -> dict[str, Any]:
    """An answer, or what a chunk adds to it under ``key``; nothing where ``text`` is None."""
    added: dict[str, Any] = {} if text is None else {"content": text}
    said = (
        {key: {"role": "assistant", **added} if key == "message" else added} if body.messages else {"text": text or ""}
    )
    return {"index": index, **said, "finish_reason": finish}


def answer(body: EchoRequest, choices: list[dict[str, Any]]) -> dict[str, Any]:
    kind = "chat.completion" if body.messages else "text_completion"
    suffix = ".chunk" if body.stream and body.messages else ""
    return {"id": "echo-1", "object": kind + suffix, "created": 0, "model": body.model, "choices": choices}


def sse(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content)}\n\n"
