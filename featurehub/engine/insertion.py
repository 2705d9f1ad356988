"""Hooks in modules: a module changes its class to a subclass whose ``forward`` calls the op."""

import inspect
from typing import Any

import torch
from torch import nn

from featurehub.engine.tower import Argument, argument_of
from featurehub.errors import UnsupportedModel

__all__ = ["hook_after", "hook_before", "hook_given"]


def hook_before(module: nn.Module, name: str, hidden: Argument, residual: Argument | None) -> None:
    """Runs the op on the module's argument, or on the two of a pair, before the module."""

    class HookedBefore(class_of(module)):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            torch.ops.featurehub.edit_stream(
                hidden.of(args, kwargs), residual.of(args, kwargs) if residual is not None else None, name
            )
            return super().forward(*args, **kwargs)

    change_class(module, HookedBefore)


def hook_after(module: nn.Module, name: str, pair: bool) -> None:
    """Runs the op on the module's output: the tensor, the first of a tuple, or both of a pair."""

    class HookedAfter(class_of(module)):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            output = super().forward(*args, **kwargs)
            if pair and not (isinstance(output, tuple) and len(output) == 2):
                raise UnsupportedModel(f"{name}: the layer does not return (delta, residual); it cannot be hooked")
            first = output[0] if isinstance(output, tuple) else output
            torch.ops.featurehub.edit_stream(first, output[1] if pair else None, name)
            return output

    change_class(module, HookedAfter)


def hook_given(module: nn.Module, name: str) -> None:
    """Runs the op on a copy of what the module is given, so that an edit reaches nobody else who has that tensor."""

    class HookedGiven(class_of(module)):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            shared = given.of(args, kwargs)
            if shared is None:
                raise UnsupportedModel(f"{name}: what this {hooked.__name__} is given as {given.name} is no tensor")
            own = shared.clone(memory_format=torch.contiguous_format)
            torch.ops.featurehub.edit_stream(own, None, name)
            args, kwargs = given.put(own, args, kwargs)
            return super().forward(*args, **kwargs)

    given, hooked = argument_of(module), type(module)
    change_class(module, HookedGiven)


def change_class(module: nn.Module, hooked: type[nn.Module]) -> None:
    """Makes the module one of the hooked class, which stands above its own and takes the same arguments."""
    vars(hooked)["forward"].__signature__ = inspect.signature(type(module).forward)
    hooked.__name__ = hooked.__qualname__ = type(module).__name__
    module.__class__ = hooked


def class_of(module: nn.Module) -> type[nn.Module]:
    """The module's class. A ``forward`` of its own, which vLLM gives to modules of transformers that it fuses, becomes
    that of a class: on the module, it would bypass the hook.

    Raises:
        UnsupportedModel: That ``forward`` is no method of the module.
    """
    kind, own = type(module), vars(module).get("forward")
    if own is None:
        return kind
    if getattr(own, "__self__", None) is not module:
        raise UnsupportedModel(f"this {kind.__name__} has its own forward, which would bypass the hook")
    del module.forward
    return type(kind.__name__, (kind,), {"forward": own.__func__})
