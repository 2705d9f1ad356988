"""Forward passes of a loaded model over a few tokens, outside of any step, with what torch hooks hang into it.

There is no KV cache: attention, and whatever else keeps a state between tokens, hands on what it was given instead. No
token sees another.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from vllm.config import VllmConfig
from vllm.forward_context import set_forward_context
from vllm.lora.layers import LoRAMapping
from vllm.model_executor.layers.attention_layer_base import AttentionLayerBase

__all__ = ["Call", "Trial"]

STRIDE = 7919
"""Between the ids of tokens: a prime, so that they are spread over the vocabulary."""


class Call:
    """One call of a module.

    Args:
        values: The arguments by position and name, or the output's parts by position.
        streams: The keys of those that are streams, [tokens, d_model].

    Attributes:
        streams: The streams themselves, by key.
    """

    def __init__(self, values: dict[int | str, Any], is_stream: Callable[[Any], bool]) -> None:
        self.values = values
        self.streams: dict[int | str, Tensor] = {key: each for key, each in values.items() if is_stream(each)}

    @classmethod
    def of(cls, args: tuple[Any, ...], kwargs: dict[str, Any], is_stream: Callable[[Any], bool]) -> "Call":
        return cls({**dict(enumerate(args)), **kwargs}, is_stream)

    @property
    def first(self) -> list[Tensor]:
        """The first stream, or nothing."""
        return list(self.streams.values())[:1]

    def put(self, key: int | str, value: Tensor) -> None:
        """Gives the module another tensor."""
        self.values[key] = self.streams[key] = value

    @property
    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """As torch's hooks want them."""
        by_position = sorted(key for key in self.values if isinstance(key, int))
        by_name = {key: value for key, value in self.values.items() if isinstance(key, str)}
        return tuple(self.values[key] for key in by_position), by_name


class Trial:
    """A loaded model and the tokens that it is run over.

    Args:
        model: vLLM's model.
        vllm_config: Its configuration.
        tokens: Number of tokens.
    """

    def __init__(self, model: nn.Module, vllm_config: VllmConfig, tokens: int) -> None:
        config = vllm_config.model_config
        device = next(model.parameters()).device
        self.model, self.vllm_config, self.tokens = model, vllm_config, tokens
        self.width = config.get_hidden_size()
        self.input_ids = (torch.arange(1, tokens + 1, device=device) * STRIDE) % config.get_vocab_size()
        positions = torch.arange(tokens, device=device)
        self.positions = positions.expand(3, -1) if config.uses_mrope else positions
        self.hung: list[RemovableHandle] = []
        self.followed: dict[int, Tensor] = {}  # Kept, so that no other tensor comes to lie in the same place.

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Takes out, at the end, what was hung in within."""
        try:
            yield
        finally:
            self.followed.clear()
            while self.hung:
                self.hung.pop().remove()

    def before(self, module: nn.Module, do: Callable[[Call], None], width: int | None = None) -> None:
        """Hangs in what happens to the arguments of a module, of which those of this width count as streams."""

        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            call = Call.of(args, kwargs, lambda value: self.is_stream(value, width))
            do(call)
            return call.arguments

        self.hung.append(module.register_forward_pre_hook(hook, with_kwargs=True))

    def after(self, module: nn.Module, do: Callable[[Call], None], width: int | None = None) -> None:
        """Hangs in what happens to the output of a module, of which the parts of this width count as streams."""

        def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            several = isinstance(output, tuple)
            parts = output if several else (output,)
            call = Call(dict(enumerate(parts)), lambda value: self.is_stream(value, width))
            do(call)
            return call.arguments[0] if several else call.values[0]

        self.hung.append(module.register_forward_hook(hook))

    def follow(self, module: nn.Module) -> None:
        """Marks the tensors that a module hands on, while it is hung in."""
        self.after(module, lambda call: self.followed.update((each.data_ptr(), each) for each in call.streams.values()))

    def is_followed(self, value: Tensor) -> bool:
        """Whether a module that is followed has made this tensor."""
        return value.data_ptr() in self.followed

    def with_rows(self, value: Tensor, rows: slice, x: Tensor) -> Tensor:
        """A copy with other rows, which is followed where the tensor was."""
        changed = value.clone()
        changed.view(self.tokens, -1)[rows] = x.to(value.dtype)
        if self.is_followed(value):
            self.followed[changed.data_ptr()] = changed
        return changed

    def is_stream(self, value: Any, width: int | None = None) -> bool:
        """Whether it is a tensor of one row for each token, of the stream's width or another."""
        width = width or self.width
        return (
            isinstance(value, Tensor)
            and value.is_floating_point()
            and value.shape[-1] == width
            and value.numel() == self.tokens * width
        )

    def rows(self, value: Tensor) -> Tensor:
        """[tokens, width] in float32, a copy. Models of transformers have a batch of one around it."""
        return value.reshape(self.tokens, value.shape[-1]).to(torch.float32, copy=True)

    def run(self) -> Tensor:
        """What the model returns for the tokens, [tokens, d_model] in float32: its stream behind the final norm."""
        config, tokens = self.vllm_config, self.tokens
        leave_adapters_out(self.model, tokens)
        with without_state(config), set_forward_context(None, config, num_tokens=tokens, skip_compiled=True):
            output = self.model(input_ids=self.input_ids, positions=self.positions, intermediate_tensors=None)
        return (output[0] if isinstance(output, tuple) else output).reshape(self.tokens, -1).float()


def leave_adapters_out(model: nn.Module, tokens: int) -> None:
    """Tells a model with LoRA adapters that none of these tokens has one; each step tells it anew."""
    manager: Any = getattr(model, "lora_manager", None)
    if manager is not None:
        manager.set_adapter_mapping(LoRAMapping((0,) * tokens, (0,) * tokens, is_prefill=True))


@contextmanager
def without_state(config: VllmConfig) -> Iterator[None]:
    """Lets all that keeps a state hand on what it was given: what vLLM leaves there without a state is no result."""
    changed = [(each, vars(each).get("forward")) for each in stateful(config)]
    for each, _ in changed:
        each.forward = handing_on(each.forward)
    try:
        yield
    finally:
        for each, own in changed:
            del each.forward
            if own is not None:
                each.forward = own


def stateful(config: VllmConfig) -> list[Any]:
    """The modules that keep a state between tokens, as vLLM knows them; some are called past their hooks."""
    layers = config.compilation_config.static_forward_context.values()
    return [each for each in layers if isinstance(each, AttentionLayerBase)]


def handing_on(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A ``forward`` that fills its output, or the argument that takes it, with its first argument."""

    @wraps(forward)
    def handed_on(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        values = [each for each in (*args, *kwargs.values()) if isinstance(each, Tensor) and each.is_floating_point()]
        taken = output if isinstance(output, Tensor) else kwargs.get("output", values[-1])
        taken.copy_(repeated(values[0].reshape(len(taken), -1), taken[0].numel()).view_as(taken))
        return output

    return handed_on


def repeated(rows: Tensor, width: int) -> Tensor:
    """Rows cut or repeated to a width."""
    return rows.repeat(1, -(-width // rows.shape[1]))[:, :width]
