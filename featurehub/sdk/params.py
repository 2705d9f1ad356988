"""What a steered ``create`` takes, for type checkers and editors: openai's own keywords, and ours.

openai's classes say what the body of a request holds, but for ``stream``, which decides what comes back. What openai's
clients take besides (``extra_body``, ``timeout``, …) is declared here. A variant may stand where openai wants a name,
which type checkers cannot allow of a class that inherits from openai's: whoever holds one as openai's could write any
name into it. Nobody holds one: these classes describe arguments. openai's own ``create`` takes ``omit`` for a keyword
that is left out, which these say nothing of: ``create`` takes it all the same.
"""

from collections.abc import Mapping
from typing import Required

from openai import NotGiven, Omit, Timeout
from openai.types.chat.completion_create_params import CompletionCreateParamsBase as ChatBody
from openai.types.completion_create_params import CompletionCreateParamsBase as TextBody
from openai.types.responses.response_create_params import ResponseCreateParamsBase as ResponseBody
from typing_extensions import TypedDict  # openai's classes are of this one

from featurehub.sdk.aborts import Aborts
from featurehub.sdk.request import Activations, Features, Model, Steer

__all__ = ["ChatParams", "ResponseParams", "SteerParams", "TextParams"]


class SteerParams(TypedDict, total=False):
    """What no body of openai's has.

    Attributes:
        features: Edits, as ``client.chat.completions.create`` says.
        steer: Which tokens are steered, and what is done with stale features.
        abort_when: What ends the answer.
        return_activations: What is read meanwhile.
        extra_headers: Further headers.
        extra_query: Further parameters of the address.
        extra_body: Further keys of the body.
        timeout: Seconds.
    """

    features: Features | None
    steer: Steer | None
    abort_when: Aborts | None
    return_activations: Activations | None
    extra_headers: Mapping[str, str | Omit] | None
    extra_query: Mapping[str, object] | None
    extra_body: object | None
    timeout: float | Timeout | NotGiven | None


class ChatParams(ChatBody, SteerParams, total=False):
    """The arguments of ``client.chat.completions.create``, but for ``stream``."""

    model: Required[Model]  # pyright: ignore[reportIncompatibleVariableOverride]


class TextParams(TextBody, SteerParams, total=False):
    """The arguments of ``client.completions.create``, but for ``stream``."""

    model: Required[Model]  # pyright: ignore[reportIncompatibleVariableOverride]


class ResponseParams(ResponseBody, SteerParams, total=False):
    """The arguments of ``client.responses.create``, but for ``stream``."""

    model: Model  # pyright: ignore[reportIncompatibleVariableOverride]
