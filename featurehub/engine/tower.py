"""The text tower of a model that vLLM has built: its layers, and how they hand on the stream.

1. A multimodal model has a language model inside, as vLLM's interface tells; any other is its own.
2. If ``featurehub.families`` has a row for the language model's architecture, the row says how it is made.
3. If not, it is found. The layers are the one list of as many modules as the configuration has layers. Layers that take
   a ``residual``, and do not begin by putting the stream in its place, hand on a pair. Attention, MLP and the norms
   around them have one of the usual names.

What is found may be wrong, and so may a row be: ``featurehub.engine.self_check`` proves either at boot.
"""

import ast
import inspect
import itertools
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import attrgetter
from typing import Any, NamedTuple

from torch import Tensor, nn
from vllm.model_executor.layers.linear import LinearBase
from vllm.model_executor.layers.mamba.abstract import MambaBase
from vllm.model_executor.models.interfaces import supports_multimodal
from vllm.model_executor.models.utils import PPMissingLayer

from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.engine.usual_names import FINAL_NORMS, NAMES, ROUTERS, TAKERS
from featurehub.errors import UnsupportedModel
from featurehub.families import FAMILIES, MISSING, Family, check_mid

__all__ = ["Argument", "Taker", "Tower", "argument_of", "tower_of"]

STREAM, RESIDUAL = ("hidden_states", "x", "hidden_state"), "residual"
"""Names of a layer's parameters."""
SANDWICH = "pre_feedforward_layernorm"
"""In a layer with this norm, ``post_attention_layernorm`` stands behind attention."""


class Argument(NamedTuple):
    """A parameter of a module's ``forward``, by position and by name.

    Attributes:
        at: Its position, without ``self``.
        name: Its name.
    """

    at: int
    name: str

    def of(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
        """Its value in a call; None where it is no tensor."""
        value = kwargs[self.name] if self.name in kwargs else args[self.at] if self.at < len(args) else None
        return value if isinstance(value, Tensor) else None

    def put(
        self, value: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a call with another value of it."""
        if self.name in kwargs:
            return args, kwargs | {self.name: value}
        return (*args[: self.at], value, *args[self.at + 1 :]), kwargs


class Taker(NamedTuple):
    """What takes, in a layer, the tensor at a site that is neither the stream nor added to it.

    Attributes:
        module: The module; the tensor is its first argument.
        part: The part of the layer that it ends, such as attention; the module itself where it is a part of its own.
    """

    module: nn.Module
    part: nn.Module

    @property
    def width(self) -> int:
        """Numbers that it takes of each token. Raises UnsupportedModel where it is no linear map that says so."""
        sizes = (getattr(self.module, name, None) for name in ("input_size", "in_features"))
        size = next((size for size in sizes if size is not None), None)
        if size is None:
            raise UnsupportedModel(f"a {type(self.module).__name__} does not say how many numbers it takes of a token")
        return size


class Tower(NamedTuple):
    """The layers of a model.

    Attributes:
        layers: The layers.
        around: The modules that have them, the innermost first.
        row: The architecture's row; None where it has none.
        config: The text tower's configuration, as transformers reads it.
        forwards: By layer, its ``forward`` as it is before any hook stands there.
    """

    layers: nn.ModuleList
    around: Sequence[nn.Module]
    row: Family | None
    config: Any
    forwards: Sequence[Callable[..., Any]]

    @property
    def last(self) -> int:
        """Index of the last layer."""
        return len(self.layers) - 1

    def layer(self, point: HookPoint) -> nn.Module:
        """The layer of a hook point. Raises UnsupportedModel for one that the model or this worker does not have."""
        if point.layer > self.last:
            raise UnsupportedModel(f"hook point {point}: the model has layers 0 to {self.last}")
        layer = self.layers[point.layer]
        if isinstance(layer, PPMissingLayer):
            raise UnsupportedModel(f"{point} does not lie on this worker")
        return layer

    def arguments(self, point: HookPoint) -> tuple[Argument, Argument | None]:
        """Where a layer takes ``hidden`` and ``residual``; None for the latter where it takes the stream itself.

        Raises:
            UnsupportedModel: It takes neither.
        """
        names = parameters_of(self.forwards[point.layer])
        hidden = next((Argument(at, name) for at, name in enumerate(names) if name in STREAM), None)
        if hidden is None:
            raise UnsupportedModel(f"{point}: this layer's parameters are {', '.join(names)}, none of them the stream")
        pair = self.pair(point.layer) and RESIDUAL in names
        return hidden, Argument(names.index(RESIDUAL), RESIDUAL) if pair else None

    def pair(self, layer: int) -> bool:
        """Whether a layer hands on ``(delta, residual)``, whose sum is the stream."""
        if self.row is not None:
            return self.row.pair
        forward = self.forwards[layer]
        return RESIDUAL in parameters_of(forward) and not resets_residual(forward)

    def module(self, point: HookPoint, site: Site) -> nn.Module:
        """The module at a site inside a hook point's layer: that is given what lies there, or whose output is added, or
        that reads resid_mid. Or the final norm.

        Raises:
            UnsupportedModel: The layer has none that is known.
        """
        layer, row = self.layer(point), self.row
        match site:
            case Site.FINAL_NORM:
                return self.final_norm(point)
            case Site.ROUTER:
                return self.router(point)
            case _:
                pass
        if site is Site.RESID_MID and row is not None:
            check_mid(point, row, self.config)
        named = names_in(row, site) if row is not None else NAMES[site]
        if row is None and site is Site.ATTN_OUT and hasattr(layer, SANDWICH):
            named = ("post_attention_layernorm", *named)
        for name in named:
            if isinstance(found := getattr(layer, name, None), nn.Module):
                return found
        parts = ", ".join(name for name, _ in layer.named_children())
        raise UnsupportedModel(f"{point}: no module of this layer is known for {site.value}. It has {parts}")

    def final_norm(self, point: HookPoint) -> nn.Module:
        """The final norm, at its hook point. Raises UnsupportedModel for another layer, or where none is known."""
        if point.layer != self.last:
            raise UnsupportedModel(f"{point}: the final norm stands behind the last layer, {self.last}, alone")
        names = FINAL_NORMS if self.row is None else (self.row.final_norm.rpartition(".")[2],)
        for module, name in itertools.product(self.around, names):
            if isinstance(found := getattr(module, name, None), nn.Module):
                return found
        parts = ", ".join(name for module in self.around for name, _ in module.named_children())
        raise UnsupportedModel(f"{point}: no final norm of this model is known. Around its layers it has {parts}")

    def router(self, point: HookPoint) -> LinearBase:
        """The router of a layer. Raises UnsupportedModel where it has none, or one that is no linear map."""
        mlp = self.module(point, Site.MLP_IN)
        found = next((each for name in ROUTERS if isinstance(each := getattr(mlp, name, None), LinearBase)), None)
        if found is None or not hasattr(mlp, "experts"):
            raise UnsupportedModel(f"{point}: {MISSING[Site.ROUTER]}. Its MLP is a {type(mlp).__name__}")
        return found

    def width(self, point: HookPoint) -> int:
        """Numbers of a token at a hook point whose site is in ``OWN_WIDTH``. Raises UnsupportedModel."""
        return self.router(point).output_size if point.site is Site.ROUTER else self.taker(point).width

    def taker(self, point: HookPoint) -> Taker:
        """What takes the tensor at a hook point whose site is in ``TAKEN``.

        Raises:
            UnsupportedModel: The layer has nothing that does, or it is not known.
        """
        layer, site = self.layer(point), point.site
        for name in (getattr(self.row, site),) if self.row is not None else paths_to(layer, site):
            if (found := module_at(layer, name)) is not None:
                part = layer.get_submodule(name.partition(".")[0])
                if isinstance(part, MambaBase):
                    break
                return Taker(found, part)
        kinds = ", ".join(f"{name} ({type(each).__name__})" for name, each in layer.named_children())
        raise UnsupportedModel(f"{point}: {MISSING[site]}. It has {kinds}")


def paths_to(layer: nn.Module, site: Site) -> list[str]:
    """The paths in a layer that may be those of a site's taker; in an MLP, deeper ones are those of experts."""
    parts, names = TAKERS[site]
    part = next((name for name in parts if isinstance(getattr(layer, name, None), nn.Module)), None)
    whole = layer.get_submodule(part) if part is not None else nn.Module()
    inside = whole.named_children() if site is Site.MLP_ACT else whole.named_modules()
    return [f"{part}.{path}" for path, _ in inside if path.rpartition(".")[2] in names]


def module_at(layer: nn.Module, path: str) -> nn.Module | None:
    """The module at a path in a layer; None where there is none."""
    try:
        return layer.get_submodule(path)
    except AttributeError:
        return None


def names_in(row: Family, site: Site) -> tuple[str, ...]:
    """The name of a site's module in an architecture's row."""
    match site:
        case Site.ATTN_IN:
            return (row.attn_in,)
        case Site.MLP_IN:
            return (row.vllm_mlp or row.mlp_in,)
        case Site.ATTN_OUT:
            return (row.attn_out,)
        case Site.MLP_OUT:
            return (row.vllm_mlp or row.mlp_out,)
        case _:
            return (row.mid,)


def tower_of(model: nn.Module, architecture: str, config: Any) -> Tower:
    """The text tower of a model.

    Args:
        model: vLLM's model.
        architecture: Its architecture, as the checkpoint's configuration has it.
        config: The configuration of its text tower, as transformers reads it.

    Raises:
        UnsupportedModel: Its layers are not found.
    """
    language: Any = model
    if supports_multimodal(model):
        language = model.get_language_model()
        architecture = getattr(language, "architecture", type(language).__name__)
    row = FAMILIES.get(architecture)
    layers = attrgetter(row.vllm_layers)(language) if row is not None else find_layers(language, config, architecture)
    around = [each for each in language.modules() if each is not layers and layers in each.modules()]
    return Tower(layers, around[::-1], row, config, [type(each).forward for each in layers])


def parameters_of(forward: Callable[..., Any]) -> list[str]:
    """The names of a method's parameters, without ``self``."""
    return list(inspect.signature(forward).parameters)[1:]


def argument_of(module: nn.Module) -> Argument:
    """What a part of a layer is given: the parameter with a stream's name, or else its first."""
    names = parameters_of(type(module).forward)
    return next((Argument(at, name) for at, name in enumerate(names) if name in STREAM), Argument(0, names[0]))


@cache
def resets_residual(forward: Callable[..., Any]) -> bool:
    """Whether a layer's ``forward`` has, as a statement of its own, ``residual = hidden_states``."""
    [function] = ast.parse(textwrap.dedent(inspect.getsource(forward))).body
    assert isinstance(function, ast.FunctionDef)
    resets = {f"{RESIDUAL} = {name}" for name in STREAM}
    return any(ast.unparse(statement) in resets for statement in function.body)


def find_layers(model: nn.Module, config: Any, architecture: str) -> nn.ModuleList:
    """Step 3. Raises UnsupportedModel where there is no such list, or more than one."""
    count = config.num_hidden_layers
    lists = [each for each in model.modules() if isinstance(each, nn.ModuleList) and len(each) == count]
    inner = {each for other in lists for each in other.modules() if each is not other}
    found = list({tuple(map(id, each)): each for each in lists if each not in inner}.values())
    if len(found) != 1:
        raise UnsupportedModel(
            f"featurehub cannot hook {architecture}: it has {len(found)} lists of {count} modules that could be its "
            "layers. Name the model in an issue, so that it gets a row",
            param="model",
        )
    return found[0]
