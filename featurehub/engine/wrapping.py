"""Running something after a method of vLLM where it offers no seam: wrapped once, and only if its form is known."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from featurehub.errors import UnsupportedModel

__all__ = ["run_after"]


def run_after(owner: type, name: str, is_known: Callable[[list[str]], bool], after: Callable[..., None]) -> None:
    """Calls ``after`` with the object, the method's result and its arguments whenever the method has run.

    is_known: says of the method's parameters whether this is the method that we know

    Safe to call again. Raises UnsupportedModel for an unknown method.
    """
    original = getattr(owner, name)
    if hasattr(original, "__wrapped__"):
        return
    if not is_known(list(inspect.signature(original).parameters)):
        raise UnsupportedModel(f"this vLLM's {owner.__name__} has a {name} that featurehub does not know")

    @wraps(original)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        after(self, result, *args, **kwargs)
        return result

    setattr(owner, name, wrapped)
