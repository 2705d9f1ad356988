"""A model in transformers, whose stream can be changed at one hook point.

A row of ``featurehub.families`` names the modules at the hook point's sites. The stream is changed in place: whoever
holds the same tensor, the residual connection above all, sees it too.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from featurehub.artifacts.manifest import TAKEN, HookPoint, Site
from featurehub.errors import UnsupportedModel
from featurehub.families import MISSING, check_mid, family_of

__all__ = ["Change", "Host", "load_host"]

Change = Callable[[Tensor], Tensor]
"""Maps what lies at the hook point, of all tokens, to what takes its place; [documents · tokens, width] both."""


NO_ROUTER = "routers of transformers hand on the experts that they have chosen, too, so that no SAE can be spliced in"


class Host:
    """A causal language model of transformers, together with one hook point.

    Attributes:
        model: The model, in evaluation mode.
        point: The hook point.
        family: Where this architecture has its hook points.
        layer: The module of the hook point's layer.

    Raises:
        UnsupportedModel: If the architecture is unknown, or the model does not have this layer or site.
    """

    def __init__(self, model: nn.Module, point: HookPoint) -> None:
        self.model: Any = model.eval()
        self.point = point
        self.family = family_of(type(model).__name__)
        layers: Any = model.get_submodule(self.family.layers)
        if point.layer >= len(layers):
            raise UnsupportedModel(f"hook point {point}: the model has layers 0 to {len(layers) - 1}", param="layer")
        if point.site is Site.ROUTER:
            raise UnsupportedModel(f"{point}: {NO_ROUTER}", param="site")
        if point.site is Site.FINAL_NORM and point.layer != len(layers) - 1:
            raise UnsupportedModel(f"{point}: the final norm stands behind the last layer, {len(layers) - 1}, alone")
        if point.site is Site.RESID_MID:
            check_mid(point, self.family, self.model.config)
        self.layer: nn.Module = layers[point.layer]
        if point.site in TAKEN and getattr(self.family, point.site) not in dict(self.layer.named_modules()):
            raise UnsupportedModel(f"{point}: {MISSING[point.site]}", param="site")

    @property
    def vocabulary(self) -> int:
        """Number of token ids that the model knows."""
        return self.model.config.vocab_size

    @property
    def longest(self) -> int:
        """Length, in tokens, of the longest document that the model reads."""
        return self.model.config.max_position_embeddings

    @torch.no_grad()
    def log_probabilities(self, ids: Tensor) -> Tensor:
        """Returns the log probabilities of every next token, [documents, tokens, vocabulary] in float32.

        Args:
            ids: [documents, tokens] token ids.
        """
        return self.model(ids.to(self.model.device), use_cache=False).logits.float().log_softmax(-1)

    @contextmanager
    def changing(self, change: Change) -> Iterator[None]:
        """Changes the stream at the hook point while the block runs.

        Args:
            change: Maps the stream to what takes its place.
        """
        handle = self.hook(change)
        try:
            yield
        finally:
            handle.remove()

    def hook(self, change: Change) -> Any:
        """Registers ``change`` at the hook point and returns torch's handle, which removes it."""
        layer, family = self.layer, self.family
        match self.point.site:
            case Site.RESID_PRE:
                return before(layer, change)
            case Site.Z | Site.MLP_ACT:
                return before(layer.get_submodule(getattr(family, self.point.site)), change)
            case Site.ATTN_IN | Site.MLP_IN:
                return given(layer.get_submodule(getattr(family, self.point.site)), change)
            case Site.ATTN_OUT:
                return after(layer.get_submodule(family.attn_out), change)
            case Site.RESID_MID:
                return before(layer.get_submodule(family.mid), change)
            case Site.MLP_OUT:
                return after(layer.get_submodule(family.mlp_out), change)
            case Site.RESID_POST:
                return after(layer, change)
            case Site.FINAL_NORM:
                return after(self.model.get_submodule(family.final_norm), change)


def load_host(folder: Path, point: HookPoint) -> Host:
    """Loads a model from a folder in float32, on the GPU if there is one.

    Args:
        folder: A folder that transformers can load.
        point: Where the stream can be changed.

    Raises:
        UnsupportedModel: If the architecture is unknown, or the model does not have this layer or site.
    """
    # Only eager attention caps attention scores as Gemma 2 needs it.
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, attn_implementation="eager"
    )
    return Host(model.to("cuda" if torch.cuda.is_available() else "cpu"), point)


def before(module: nn.Module, change: Change) -> Any:
    def hook(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        rewrite(inputs[0], change)

    return module.register_forward_pre_hook(hook)


def given(module: nn.Module, change: Change) -> Any:
    """Changes a copy of the tensor that a module is given."""

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            return (changed(args[0], change), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": changed(kwargs["hidden_states"], change)}

    return module.register_forward_pre_hook(hook, with_kwargs=True)


def after(module: nn.Module, change: Change) -> Any:
    def hook(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        rewrite(output[0] if isinstance(output, tuple) else output, change)

    return module.register_forward_hook(hook)


def changed(x: Tensor, change: Change) -> Tensor:
    own = x.clone(memory_format=torch.contiguous_format)
    rewrite(own, change)
    return own


def rewrite(x: Tensor, change: Change) -> None:
    rows = x.view(-1, x.shape[-1])
    rows.copy_(change(rows))
