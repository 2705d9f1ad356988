"""vLLM's model classes with hooks in them.

A hooked model is a subclass of vLLM's own, made when vLLM asks for it, and registered under the same architecture.
After vLLM has built the layers, the modules beside a hook point change their class to a subclass whose ``forward``
calls the op. Parameters keep their names, so weights load as usual, and torch.compile traces the op with the layer.

Layers of the Llama type hand on ``(delta, residual)``: the stream is their sum. Those of the GPT-2 type hand on the
stream itself. A row of ``featurehub.families`` says which, and which modules lie beside the hook points.
"""

import math
from collections.abc import Iterable
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from vllm import ModelRegistry
from vllm.config import VllmConfig
from vllm.model_executor.models.utils import PPMissingLayer
from vllm.platforms import current_platform

from featurehub.artifacts.fingerprint import layer_of
from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.engine import admission, runner_v1
from featurehub.engine.config import EngineConfig
from featurehub.engine.hook import register_op
from featurehub.engine.hooked import HOOKED, OWN, PREFIX
from featurehub.engine.hookset import HookSet, install
from featurehub.engine.loading import only_weights
from featurehub.engine.options import refuse_unsupported
from featurehub.engine.runner_v2 import hooked_state
from featurehub.errors import UnsupportedModel
from featurehub.families import FAMILIES, Family, check_mid

__all__ = ["MADE", "hooked_class"]

MADE: dict[str, type[Any]] = {}
"""The classes that were made in this process, by architecture."""


def attach(model: nn.Module, family: Family, config: EngineConfig, vllm_config: VllmConfig) -> None:
    """Puts the configured hooks into a model that was just built.

    Raises:
        UnsupportedModel: The model, this vLLM or one of its options cannot take the hooks.
        IncompatibleArtifact: An SAE was trained on a model of another width.
        CorruptArtifact: The weights of an SAE cannot be read.
    """
    admission.install()  # Refuses here, with the reason, where the plugin could only warn.
    refuse_unsupported(vllm_config)
    layers = attrgetter(family.vllm_layers)(model)
    register_op()
    install(make_hooks(config, vllm_config))
    for hook in config.hooks:
        put(hook.point, layers, family, vllm_config.model_config.hf_text_config)


def make_hooks(config: EngineConfig, vllm_config: VllmConfig) -> HookSet:
    """The hook set of this worker. Raises UnsupportedModel for a model runner that featurehub does not drive."""
    scheduler = vllm_config.scheduler_config
    size = scheduler.max_num_seqs, scheduler.max_num_batched_tokens, vllm_config.model_config.get_hidden_size()
    if current_platform.is_cpu():
        runner_v1.install()
        return HookSet(config, *size)
    if not getattr(vllm_config, "use_v2_model_runner", True):
        raise UnsupportedModel("on CUDA featurehub needs vLLM's V2 model runner: set VLLM_USE_V2_MODEL_RUNNER=1")
    return HookSet(config, *size, device=current_platform.device_type, graphs=True)


def put(point: HookPoint, layers: nn.ModuleList, family: Family, hf_config: Any) -> None:
    """Puts one hook into the model's layers. Raises UnsupportedModel for a hook point that the model does not have."""
    if point.layer >= len(layers):
        raise UnsupportedModel(f"hook point {point}: the model has layers 0 to {len(layers) - 1}")
    layer = layers[point.layer]
    if isinstance(layer, PPMissingLayer):
        raise UnsupportedModel(f"{point} does not lie on this worker")
    name = str(point)
    match point.site:
        case Site.RESID_PRE:
            hook_before(layer, name, family.stream, family.pair and point.layer > 0)
        case Site.RESID_MID:
            check_mid(point, family, hf_config)
            hook_before(getattr(layer, family.mid), name, 0, family.pair)
        case Site.ATTN_OUT:
            hook_after(getattr(layer, family.attn_out), name, pair=False)
        case Site.MLP_OUT:
            hook_after(getattr(layer, family.vllm_mlp_out or family.mlp_out), name, pair=False)
        case Site.RESID_POST:
            hook_after(layer, name, family.pair)


def hook_before(module: nn.Module, name: str, at: int, pair: bool) -> None:
    """Runs the op on the module's argument ``at`` (and ``at + 1`` for a pair) before the module."""

    class HookedBefore(class_of(module)):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            torch.ops.featurehub.edit_stream(args[at], args[at + 1] if pair else None, name)
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


def change_class(module: nn.Module, hooked: type[nn.Module]) -> None:
    """Makes the module one of the hooked class, which stands above its own."""
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


class Hooked(nn.Module):
    """Builds a vLLM model, then attaches the hooks, if there are any. Stands before vLLM's class among the bases.

    Attributes:
        family: How the model's layers hand on the stream.
        allow_patterns_overrides: Weight files that vLLM's loader takes; None for vLLM's own choice.
        depth: Number of layers whose weights are loaded; infinite unless the engine is truncated.
    """

    family: Family

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        config = EngineConfig.of(vllm_config)
        # Read by vLLM's loader; without our configuration it loads as usual.
        folder, form = Path(vllm_config.model_config.model), vllm_config.load_config.load_format
        self.allow_patterns_overrides = only_weights(folder, form) if config else None
        self.depth = config.depth if config is not None and config.truncated else math.inf
        if config is not None:
            attach(self, self.family, config, vllm_config)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> Any:
        """Loads weights as vLLM does, but skips those of layers that a truncated engine does not have."""
        model: Any = super()
        return model.load_weights(each for each in weights if (layer_of(each[0]) or 0) < self.depth)

    def get_model_state_cls(self) -> type[Any]:
        """The class of the V2 runner's model state; V1 runners never ask for it."""
        from vllm.v1.worker.gpu.model_states.default import DefaultModelState

        return hooked_state(DefaultModelState)


def hooked_class(architecture: str) -> type[Any]:
    """The class of an architecture with hooks. Raises AttributeError where this vLLM has none.

    Args:
        architecture: Its name in ``featurehub.families``.
    """
    if architecture not in MADE:
        known = OWN.get(architecture) or ModelRegistry.models.get(architecture)
        if known is None:
            raise AttributeError(f"this vLLM has no {architecture}")
        own = {"family": FAMILIES[architecture], "__module__": HOOKED, "__doc__": f"{architecture} with hooks."}
        MADE[architecture] = type(f"{PREFIX}{architecture}", (Hooked, known.load_model_cls()), own)
    return MADE[architecture]
