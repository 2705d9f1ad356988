"""How many answers one HTTP request asks for, whose report is whose, and how long vLLM says that each answer is.

1. vLLM runs a list of prompts or chats as one engine request each, and ``n`` answers as one each; all of them carry the
   same steering and report under the same key.
2. Which is which their ids say: of ``n`` answers, answer j begins with "j_"; of a list, the id of prompt i ends with
   "-i" or "_i" (and eight random digits, with which vLLM keeps ids apart that clients choose).
3. How many tokens an answer has vLLM's ``usage`` says, where there is one. Of several, a stream's chunks say it one by
   one if asked to, and a whole answer lists the tokens of each. What was asked for us alone is taken out again.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from featurehub.errors import InvalidInput
from featurehub.settings import Frozen

__all__ = ["Choices", "Hidden", "StreamOptions", "count_tokens", "prompts", "refuse_unsteerable", "take_counts"]

ANSWER = re.compile(r"(\d+)_")
PROMPT = re.compile(r"[-_](\d+)(?:-[0-9a-f]{8})?$")
COUNTED = ("token_ids", "prompt_token_ids")


class StreamOptions(Frozen):
    """vLLM's ``stream_options``.

    Attributes:
        include_usage: Whether a last chunk has the numbers of tokens.
        continuous_usage_stats: Whether all chunks have.
    """

    include_usage: bool = False
    continuous_usage_stats: bool = False


class Hidden(NamedTuple):
    """What vLLM says of numbers of tokens for us alone.

    Attributes:
        usage: Whether that is a stream's last chunk, which has nothing else.
        each: Whether it is a count for each of several answers: in every chunk of a stream, or the tokens themselves.
    """

    usage: bool = False
    each: bool = False


class Choices(NamedTuple):
    """The answers that one HTTP request asks for, in the order in which vLLM returns them: prompt by prompt.

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

    def place(self, id: str) -> int | None:
        """Which of the answers an engine request makes, by vLLM's id of it; None where the id does not say."""
        answer = ANSWER.match(id) if self.n > 1 else None
        prompt = PROMPT.search(id) if self.prompts > 1 else None
        if (self.n > 1 and answer is None) or (self.prompts > 1 and prompt is None):
            return None
        return (int(prompt[1]) if prompt else 0) * self.n + (int(answer[1]) if answer else 0)


def count_tokens(body: Any, several: bool) -> Hidden:
    """Makes vLLM say how many tokens each answer has, if it can.

    It cannot of several whole answers that echo their prompts: their reports cover what ran beyond a stop string, too.

    Args:
        body: vLLM's request.
        several: Whether it asks for several answers.

    Returns:
        What the client did not ask for.
    """
    if not body.stream:
        # An echo loses the prompt's text where tokens are listed.
        quiet = several and not (getattr(body, "return_token_ids", False) or getattr(body, "echo", False))
        if quiet:
            body.return_token_ids = True
        return Hidden(each=quiet)
    usage = bool(getattr(body.stream_options, "include_usage", False))
    each = usage and bool(getattr(body.stream_options, "continuous_usage_stats", False))
    if not usage or (several and not each):
        body.stream_options = StreamOptions(include_usage=True, continuous_usage_stats=several or each)
    return Hidden(not usage, several and not each)


def take_counts(content: dict[str, Any], hidden: Hidden) -> dict[int, int]:
    """How many tokens each answer of a whole response has, as far as it says; what is for us alone is taken out."""
    answers = content["choices"]
    if len(answers) == 1:
        usage: Mapping[str, Any] = content.get("usage") or {}
        return {0: usage["completion_tokens"]} if "completion_tokens" in usage else {}
    written = {i: len(each["token_ids"]) for i, each in enumerate(answers) if each.get("token_ids") is not None}
    if hidden.each:
        for part in (content, *answers):
            part.update({key: None for key in COUNTED if key in part})
    return written


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


def refuse_unsteerable(body: Any) -> None:
    """Refuses a request that cannot be steered.

    Args:
        body: vLLM's request.

    Raises:
        InvalidInput: ``param`` names the field that is at fault.
    """
    if getattr(body, "use_beam_search", False):
        raise InvalidInput("beam search cannot be steered; leave it out", param="use_beam_search")
    if getattr(body, "prompt_embeds", None) is not None:
        raise InvalidInput("prompt_embeds cannot be steered; send text or token ids as prompt", param="prompt_embeds")
