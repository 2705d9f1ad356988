"""How many answers one HTTP request asks for, and what cannot be asked of several at once.

vLLM runs a list of prompts or chats as one engine request each, and ``n`` answers as one each; all of them carry the
same steering and count under the same report key. Counts add up. What is read of a request, and the abort that ended
it, belong to one answer, so they are refused where there would be several.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from featurehub.edits import Steering
from featurehub.errors import InvalidInput
from featurehub.settings import Frozen

__all__ = ["Choices", "StreamOptions", "count_tokens", "prompts", "refuse_unsteerable"]


class StreamOptions(Frozen):
    """vLLM's ``stream_options``.

    Attributes:
        include_usage: Whether a last chunk has the numbers of tokens.
        continuous_usage_stats: Whether all chunks have.
    """

    include_usage: bool = False
    continuous_usage_stats: bool = False


def count_tokens(body: Any) -> bool:
    """Makes vLLM say how many tokens a stream has. Returns whether the client did not ask for that."""
    if not body.stream or getattr(body.stream_options, "include_usage", False):
        return False
    body.stream_options = StreamOptions(include_usage=True)
    return True


class Choices(NamedTuple):
    """The answers that one HTTP request asks for.

    Attributes:
        prompts: How many prompts it has.
        n: Answers to each of them.
    """

    prompts: int = 1
    n: int = 1

    @classmethod
    def of(cls, body: Any) -> Self:
        """Those of vLLM's request."""
        return cls(prompts(body), getattr(body, "n", None) or 1)

    @property
    def requests(self) -> int:
        """How many engine requests vLLM makes of it."""
        return self.prompts * self.n

    def computed(self, usage: Mapping[str, Any]) -> int:
        """How many tokens the model had to compute: each prompt for each answer, and of an answer all but the last.

        Args:
            usage: The ``usage`` object of the whole answer.
        """
        written = usage.get("completion_tokens") or 0
        return self.n * usage["prompt_tokens"] + max(0, written - self.requests)


def prompts(body: Any) -> int:
    """How many prompts a body has.

    A chat is one prompt, and so is a list of token ids; a list of texts, of lists or of chats has one per entry.
    """
    chats = getattr(body, "messages", None)
    if isinstance(chats, list) and chats and isinstance(chats[0], list):
        return len(chats)
    prompt = getattr(body, "prompt", None)
    if not isinstance(prompt, list) or all(isinstance(each, int) for each in prompt):
        return 1
    return len(prompt)


def refuse_unsteerable(body: Any, steering: Steering) -> None:
    """Refuses a request that cannot be steered, or whose answers could not be told apart.

    Args:
        body: vLLM's request.
        steering: What the request asks of the engine.

    Raises:
        InvalidInput: ``param`` names the field that is at fault.
    """
    if getattr(body, "use_beam_search", False):
        raise InvalidInput("beam search cannot be steered; leave it out", param="use_beam_search")
    if getattr(body, "prompt_embeds", None) is not None:
        raise InvalidInput("prompt_embeds cannot be steered; send text or token ids as prompt", param="prompt_embeds")
    if steering.needs_every_token and (getattr(body, "n", None) or 1) > 1:
        raise InvalidInput(
            "return_activations, abort_when and conditions with so_far take one answer per request: "
            f"n is {getattr(body, 'n', 1)}; send n = 1, several times",
            param="n",
        )
    if (steering.reads or steering.aborts) and prompts(body) > 1:
        raise InvalidInput(
            f"return_activations and abort_when take one prompt per request, not {prompts(body)}; send one at a time",
            param="messages" if getattr(body, "messages", None) else "prompt",
        )
