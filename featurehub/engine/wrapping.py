"""Running something after or around a function of vLLM that offers no seam: wrapped once, if its form is known.

Others may have wrapped the method before, or may wrap it later, so a mark on its class tells that featurehub has. If
somebody takes the wrapper out again, the worker finds no seal on what requests carry, or no step laid out, and refuses;
nothing runs unsteered silently.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any

from featurehub.errors import UnsupportedModel

__all__ = ["run_after", "run_around"]


def run_after(owner: type, name: str, is_known: Callable[[list[str]], bool], after: Callable[..., None]) -> None:
    """Calls ``after`` with the object, the method's result and its arguments whenever the method has run.

    Safe to call again.

    Args:
        owner: The class; subclasses that call its method are covered too.
        name: Name of the method.
        is_known: Whether a method with these parameter names is the one that featurehub knows.
        after: What to run.

    Raises:
        UnsupportedModel: The class has no such method, or not the one that featurehub knows.
    """

    def around(original: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        after(self, result, *args, **kwargs)
        return result

    run_around(owner, name, is_known, around)


def run_around(
    owner: type | ModuleType, name: str, is_known: Callable[[list[str]], bool], around: Callable[..., Any]
) -> None:
    """Calls ``around`` in place of a function, with the function and its arguments; its result is the function's.

    Safe to call again.

    Args:
        owner: The class or module that has the function.
        name: Name of the function.
        is_known: Whether a function with these parameter names is the one that featurehub knows.
        around: What to run; it calls the function.

    Raises:
        UnsupportedModel: There is no such function, or not the one that featurehub knows.
    """
    mark = f"_featurehub_around_{name}"
    if mark in vars(owner):
        return
    original = getattr(owner, name, None)
    if original is None or not is_known(list(inspect.signature(original).parameters)):
        raise UnsupportedModel(f"this vLLM's {owner.__name__} has a {name} that featurehub does not know")

    @wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return around(original, *args, **kwargs)

    setattr(owner, name, wrapped)
    setattr(owner, mark, True)
