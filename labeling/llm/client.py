"""Asks a language model for answers of a fixed form.

1. A question is a system text, a user text and the form of the answer, a pydantic model. Its JSON schema is asked for
   as structured output. An endpoint that refuses that with 400 gets the schema in the prompt from then on; a
   temperature that it refuses is left out.
2. Each attempt reserves its worst case in the budget: a token has at least one byte, so the bytes of the prompt bound
   its tokens, and ``ROOM`` is what a chat template may add. openai's own retries are off, since it would make them out
   of the budget's sight.
3. 429, 408, 409, 5xx, a broken connection and a time-out are tried again, after what Retry-After says; without it,
   after 1, 2, 4 … seconds. While one caller is told to wait, all wait. A refused call (4xx) costs nothing; any other
   that ended without an answer may have been billed, and counts in full.
4. An answer that was cut, refused, is empty, too long or not of the form is none: NoReply says why, and keeps the text.
"""

import asyncio
import json
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Generic, NamedTuple, Self, TypeVar

from openai import (
    APIConnectionError,
    APIStatusError,
    AsyncOpenAI,
    BadRequestError,
    OpenAIError,
    UnprocessableEntityError,
)
from pydantic import BaseModel, Field, ValidationError

from featurehub.errors import InvalidInput
from featurehub.settings import Frozen, reason
from labeling.llm.budget import BudgetLimits, LlmBudget, Usage

__all__ = ["Llm", "LlmConfig", "NoReply", "Reply"]

Form = TypeVar("Form", bound=BaseModel)
ROOM = 256
LONGEST = 20_000
"""Characters of an answer."""
LONGEST_WAIT = 120.0
"""Seconds; where Retry-After asks for more, the question is left for the next run."""
AGAIN = (408, 409, 429)
HOPELESS = (401, 403, 404)


class LlmConfig(Frozen):
    """Which model is asked, and how.

    Attributes:
        url: The endpoint, such as ``http://localhost:8000/v1``.
        model: The model's name there.
        at_once: Most questions in flight.
        timeout: Seconds that an attempt may take.
        attempts: How often a question is asked at most.
        answer_tokens: Tokens of the longest answer.
        limits: The most that may be used.
    """

    url: str
    model: str = Field(min_length=1)
    at_once: int = Field(default=8, ge=1, le=256)
    timeout: float = Field(default=120.0, gt=0.0)
    attempts: int = Field(default=4, ge=1)
    answer_tokens: int = Field(default=300, ge=1)
    limits: BudgetLimits = BudgetLimits()


class ReplyMessage(BaseModel):
    content: str | None = None
    refusal: str | None = None


class Choice(BaseModel):
    message: ReplyMessage
    finish_reason: str | None = None


class Tokens(BaseModel):
    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)


class Completion(BaseModel):
    """What is read of an endpoint's answer. openai's own type takes whatever comes without checking it."""

    choices: list[Choice] = Field(min_length=1)
    usage: Tokens | None = None


class Reply(NamedTuple, Generic[Form]):
    """An answer.

    Attributes:
        value: The answer in its form.
        text: As it came.
    """

    value: Form
    text: str


class NoReply(Exception):
    """There is no answer of the form that was asked for.

    Attributes:
        reason: Why not.
        text: What came instead; "" where nothing came.
    """

    def __init__(self, reason: str, text: str = "") -> None:
        super().__init__(reason)
        self.reason, self.text = reason, text


class Llm:
    """A language model behind an endpoint. Use it in ``async with``.

    Args:
        config: Which model is asked, and how.
        key: The endpoint's key; "" for an endpoint without keys.

    Attributes:
        config: The same.
        budget: What was used.
    """

    def __init__(self, config: LlmConfig, key: str = "") -> None:
        self.config, self.budget = config, LlmBudget(config.limits)
        self._client = AsyncOpenAI(base_url=config.url, api_key=key or "none", max_retries=0, timeout=config.timeout)
        self._places = asyncio.Semaphore(config.at_once)
        self._refused: set[str] = set()
        self._quiet_until = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def ask(self, system: str, user: str, form: type[Form]) -> Reply[Form]:
        """The model's answer.

        Args:
            system: What the model is to do.
            user: The question.
            form: The form of the answer.

        Raises:
            NoReply: No answer came, or none of this form.
            OutOfBudget: The budget is over.
            InvalidInput: The endpoint refuses the key, or knows no such model or address.
        """
        async with self._places:
            last = ""
            for attempt in range(self.config.attempts):
                await asyncio.sleep(max(0.0, self._quiet_until - time.monotonic()))
                try:
                    return read(await self._accepted(system, user, form), form)
                except (OpenAIError, TimeoutError) as error:
                    last = said(error)
                    self._wait(error, attempt)
            raise NoReply(f"no answer after {self.config.attempts} attempts: {last}")

    async def _accepted(self, system: str, user: str, form: type[Form]) -> Completion:
        """Step 1: asks, without what the endpoint refuses."""
        without = set(self._refused)
        while True:
            request = self._request(system, user, form, without)
            try:
                completion = await self._once(request)
            except (BadRequestError, UnprocessableEntityError) as error:
                refused = "temperature" if "temperature" in said(error) else "response_format"
                if refused not in request:
                    raise NoReply(f"the endpoint refuses the question: {said(error)}") from error
                without.add(refused)
            else:
                # Only now is it known that this was what it refused, and not the question.
                self._refused |= without
                return completion

    def _request(self, system: str, user: str, form: type[BaseModel], without: Collection[str]) -> dict[str, Any]:
        schema = form.model_json_schema()
        if "response_format" in without:
            system = f"{system}\n\nAnswer with nothing but JSON of this schema: {json.dumps(schema)}"
        format = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
        request = {
            "model": self.config.model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
            "max_completion_tokens": self.config.answer_tokens,
            "temperature": 0.0,
            "response_format": format,
        }
        return {name: value for name, value in request.items() if name not in without}

    async def _once(self, request: Mapping[str, Any]) -> Completion:
        """Step 2: one attempt."""
        worst = Usage(len(repr(request).encode()) + ROOM, self.config.answer_tokens)
        await self.budget.reserve(worst)
        used = worst
        try:
            async with asyncio.timeout(self.config.timeout):
                answer = await self._client.chat.completions.with_raw_response.create(**request)
            completion = Completion.model_validate_json(answer.content)
            if completion.usage is not None:
                used = Usage(completion.usage.prompt_tokens, completion.usage.completion_tokens)
        except APIStatusError as error:
            used = Usage() if error.status_code < 500 else worst
            raise
        except ValidationError as error:
            raise NoReply(f"the endpoint's answer is no chat completion: {reason(error)}") from error
        finally:
            await asyncio.shield(self.budget.settle(worst, used))
        if used.answer > worst.answer:
            raise InvalidInput(
                f"{self.config.url} answers with {used.answer} tokens where {worst.answer} were allowed, so no "
                "budget can be kept there; use an endpoint that knows max_completion_tokens",
                param="llm_url",
            )
        return completion

    def _wait(self, error: OpenAIError | TimeoutError, attempt: int) -> None:
        """Step 3: whether and when to ask again."""
        if isinstance(error, APIStatusError):
            if error.status_code in HOPELESS:
                raise InvalidInput(f"{self.config.url} does not answer: {said(error)}", param="llm_url") from error
            if error.status_code not in AGAIN and error.status_code < 500:
                raise NoReply(f"the endpoint refuses the question: {said(error)}") from error
        elif not isinstance(error, APIConnectionError | TimeoutError):
            raise NoReply(f"the endpoint's answer cannot be read: {said(error)}") from error
        seconds = retry_after(error)
        if seconds is not None and seconds > LONGEST_WAIT:
            raise NoReply(f"the endpoint asks to wait for {seconds:.0f} s: {said(error)}") from error
        wait = 2.0**attempt if seconds is None else seconds
        self._quiet_until = max(self._quiet_until, time.monotonic() + wait)


def read(completion: Completion, form: type[Form]) -> Reply[Form]:
    """Step 4. Raises NoReply."""
    choice = completion.choices[0]
    text = choice.message.content or ""
    if choice.message.refusal or choice.finish_reason == "content_filter":
        raise NoReply("the model refused", choice.message.refusal or text)
    if choice.finish_reason == "length":
        raise NoReply("the answer was cut: it reached the most tokens that it may have", text[:LONGEST])
    if len(text) > LONGEST:
        raise NoReply(f"the answer has {len(text)} characters; the most is {LONGEST}", text[:LONGEST])
    bare = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```")
    try:
        return Reply(form.model_validate_json(bare, strict=True), text)
    except ValidationError as error:
        raise NoReply(f"the answer is not of the form that was asked for: {reason(error)}", text) from error


def said(error: OpenAIError | TimeoutError) -> str:
    """An error in one line of bounded length."""
    return " ".join(str(error).split())[:300] or "it took too long"


def retry_after(error: OpenAIError | TimeoutError) -> float | None:
    """The seconds that an endpoint asks to wait; None where it says nothing that can be read."""
    value = error.response.headers.get("retry-after", "") if isinstance(error, APIStatusError) else ""
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
