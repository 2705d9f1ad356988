"""OpenAI's responses, as vLLM serves them: the ``Form`` of ``/v1/responses``.

1. A response is one answer to one prompt, and always says how many tokens it has.
2. What we add is part of the response itself, streamed or not: of a stream, the one in ``response.completed``, its last
   event. Where it cannot be added, an error event is sent in its place.
3. A steered response is not stored by vLLM: it could be read there although it was withheld here. For the same reason
   none runs in the background or goes on from a stored one, and none calls vLLM's own tools, which runs the model
   again for each call.
4. Of an earlier answer that a request sends along, vLLM reads the text of the first part, and fails where it has none:
   such a request is refused, steered or not.
"""

from collections.abc import AsyncIterable, AsyncIterator, Collection, Mapping
from typing import Any

from openai.types.responses import ResponseOutputMessage
from starlette.concurrency import run_in_threadpool

from api.choices import Choices, Hidden
from api.encoding import to_json
from api.errors import error_body
from api.stream import ABORTED, Ends, Events, chunk_of, data_of
from featurehub.errors import FeaturehubError, InvalidInput

__all__ = ["RESPONSES", "Responses", "check_answers"]

COMPLETED = "response.completed"
CLIENTS_TOOLS = ("function", "custom", "namespace")
"""Types of tools that the client calls, not vLLM."""
REFUSED = {
    "background": "a response in the background cannot be steered; leave it out",
    "previous_response_id": "a steered response cannot go on from a stored one; send what was said before as input",
}


def check_answers(body: Any) -> None:
    """Step 4. Raises InvalidInput."""
    for at, item in enumerate(body.input if isinstance(body.input, list) else ()):
        if isinstance(item, ResponseOutputMessage) and not (item.content and hasattr(item.content[0], "text")):
            raise InvalidInput(
                "an earlier answer needs a text as its first part; send a refusal as the text of an output_text",
                param=f"input.{at}.content",
            )


class Responses:
    """Requests and answers of ``/v1/responses``."""

    def prepare(self, body: Any) -> Hidden:
        """Refuses what cannot be steered, and has nothing stored. Raises InvalidInput."""
        for field, message in REFUSED.items():
            if getattr(body, field, None):
                raise InvalidInput(message, param=field)
        kinds = {str(tool.get("type") if isinstance(tool, Mapping) else tool.type) for tool in body.tools or ()}
        if served := sorted(kinds.difference(CLIENTS_TOOLS)):
            raise InvalidInput(
                f"a steered response calls no tools of the server ({served[0]}); send functions, which you call",
                param="tools",
            )
        body.store = False
        return Hidden()

    def choices(self, body: Any) -> Choices:
        """One."""
        return Choices()

    def take_counts(self, content: dict[str, Any], hidden: Hidden) -> dict[int, int]:
        """How many tokens the response has."""
        return {0: usage["output_tokens"]} if (usage := content.get("usage")) else {}

    def say_aborted(self, content: dict[str, Any], aborted: Collection[int]) -> None:
        """Makes the response incomplete, because of "content_filter"."""
        content["status"], content["incomplete_details"] = "incomplete", {"reason": ABORTED}

    async def append(self, pieces: AsyncIterable[str | bytes | memoryview], ends: Ends) -> AsyncIterator[str]:
        """Adds to the response in the last event."""
        events = Events()
        async for piece in pieces:
            for text in events.feed(piece):
                yield await self.extended(text, ends)
        if rest := events.remainder():
            yield rest

    async def extended(self, text: str, ends: Ends) -> str:
        """The event, with the keys added to its response where it is the last one."""
        # Cheap, since most events are pieces of text.
        last = chunk_of(data_of(text)) if COMPLETED in text else {}
        if last.get("type") != COMPLETED:
            return text
        for choice, tokens in self.take_counts(last["response"], ends.hidden).items():
            ends.counted(choice, tokens)
        try:
            ending = await ends.finish()
        except FeaturehubError as error:
            return failed(error, last.get("sequence_number"))
        last["response"] |= ending.added
        if ending.aborted:
            self.say_aborted(last["response"], ending.aborted)
        # An answer's activations may be long.
        return await run_in_threadpool(event, COMPLETED, last)


RESPONSES = Responses()


def event(kind: str, body: dict[str, Any]) -> str:
    """One server-sent event of this type."""
    return f"event: {kind}\ndata: {to_json(body)}\n\n"


def failed(error: FeaturehubError, number: Any) -> str:
    """The event that says why there is no response, in OpenAI's shape and in that of their client's errors."""
    own = {"type": "error", "code": error.code, "message": error.message, "param": error.param}
    return event("error", {**own, "sequence_number": number, **error_body(error)})
