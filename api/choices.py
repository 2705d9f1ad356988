"""How many answers one HTTP request asks for, and what cannot be asked of several at once.

vLLM runs a list of prompts as one engine request each, and ``n`` answers as one each; all of them carry the same
steering and count under the same report key. Counts add up. What is read of a request, and the abort that ended it,
belong to one answer, so they are refused where there would be several.
"""

from typing import Any

from featurehub.edits import Steering
from featurehub.errors import InvalidInput

__all__ = ["answers", "prompts", "refuse_unsteerable"]


def answers(body: Any) -> int:
    """How many engine requests vLLM makes of a body: prompts × ``n``."""
    return prompts(body) * (getattr(body, "n", None) or 1)


def prompts(body: Any) -> int:
    """How many prompts a body has.

    A chat is one prompt, and so is a list of token ids; a list of texts or of lists has one prompt per entry.
    """
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
            param="prompt",
        )
