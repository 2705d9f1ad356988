"""vLLM's model classes with hooks in them.

A hooked model is a subclass of vLLM's own, made when vLLM asks for it, and registered under the same architecture.
After vLLM has built the layers, the modules beside a hook point change their class to a subclass whose ``forward``
calls the op. Parameters keep their names, so weights load as usual, and torch.compile traces the op with the layer.

Layers of the Llama type hand on ``(delta, residual)``: the stream is their sum. Those of the GPT-2 type hand on the
stream itself. ``featurehub.engine.tower`` says which, and which modules lie beside the hook points.

A multimodal model builds its language model by vLLM's registry, so that this may be a hooked one, too. The outermost
alone puts hooks in.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from vllm import ModelRegistry
from vllm.config import VllmConfig
from vllm.model_executor.layers.linear import LinearBase
from vllm.platforms import current_platform

from featurehub.artifacts.manifest import OWN_WIDTH, TAKEN, HookPoint, Site
from featurehub.artifacts.parts import layer_of
from featurehub.engine import admission, runner_v1, updates
from featurehub.engine.checksum import keep_sums_of_packed
from featurehub.engine.config import EngineConfig
from featurehub.engine.hook import HOOKS, register_op
from featurehub.engine.hooked import HOOKED, OWN, PREFIX
from featurehub.engine.hookset import HookSet, install
from featurehub.engine.insertion import hook_after, hook_before, hook_given
from featurehub.engine.loading import only_weights
from featurehub.engine.options import refuse_kind, refuse_parts, refuse_replaced, refuse_unsupported
from featurehub.engine.runner_v2 import hooked_state
from featurehub.engine.self_check import Finding, findings, prove
from featurehub.engine.tower import Argument, Tower, argument_of, tower_of
from featurehub.errors import UnsupportedModel

__all__ = ["MADE", "examine", "hooked_class"]

FIRST, SECOND = Argument(0, "x"), Argument(1, "residual")
"""What a norm is given."""

MADE: dict[str, type[Any]] = {}
"""The classes that were made in this process, by architecture."""


BUILDING: list[str] = []
"""The architectures that this process is building, the outermost first."""


def attach(model: nn.Module, architecture: str, config: EngineConfig, vllm_config: VllmConfig) -> Tower:
    """Puts the configured hooks into a model that was just built.

    Returns:
        The layers that have them.

    Raises:
        UnsupportedModel: The model, this vLLM or one of its options cannot take the hooks.
        IncompatibleArtifact: An SAE was trained on a model of another width.
        CorruptArtifact: The weights of an SAE cannot be read.
    """
    for module in (admission, updates):
        module.install()  # Refuses here, with the reason, where the plugin could only warn.
    if current_platform.is_cpu():
        keep_sums_of_packed()
    refuse_unsupported(vllm_config)
    refuse_kind(vllm_config)
    tower = tower_of(model, architecture, vllm_config.model_config.hf_text_config)
    register_op()
    hooks = make_hooks(config, vllm_config, tower)
    hooks.weights.shared = vllm_config.parallel_config.world_size > 1
    install(hooks)
    for hook in reversed(config.hooks):  # Of two before one module, the one that is put in last runs first.
        put(hook.point, tower, vllm_config)
    return tower


def examine(model: "Hooked", points: Sequence[HookPoint]) -> Iterator[Finding]:
    """Checks hook points one by one, those that the engine has no hook at, too.

    Args:
        model: A loaded model with hooks.
        points: The hook points.

    Yields:
        What the checks find; an infinite error, with the reason, for a hook point that the model does not have.
    """
    tower = model.tower
    assert tower is not None
    for point in points:
        try:
            with also_at(point, tower, model.hooked_with):
                yield from findings(model, tower, [point], model.hooked_with)
        except UnsupportedModel as error:
            yield Finding(str(point), error.message, math.inf, 0.0)


@contextmanager
def also_at(point: HookPoint, tower: Tower, vllm_config: VllmConfig) -> Iterator[None]:
    """Puts a hook in, if there is none, and takes it out at the end."""
    own = {module: type(module) for module in tower.around[-1].modules()}
    if str(point) not in HOOKS:
        put(point, tower, vllm_config)
    try:
        yield
    finally:
        for module, kind in own.items():
            module.__class__ = kind


@contextmanager
def building(architecture: str) -> Iterator[bool]:
    """Gives whether this is the outermost model that is being built."""
    BUILDING.append(architecture)
    try:
        yield len(BUILDING) == 1
    finally:
        BUILDING.pop()


def make_hooks(config: EngineConfig, vllm_config: VllmConfig, tower: Tower) -> HookSet:
    """The hook set of this worker. Raises UnsupportedModel for a model runner that featurehub does not drive."""
    scheduler = vllm_config.scheduler_config
    widths = {hook.point: tower.width(hook.point) for hook in config.hooks if hook.point.site in OWN_WIDTH}
    size = scheduler.max_num_seqs, scheduler.max_num_batched_tokens, vllm_config.model_config.get_hidden_size(), widths
    if current_platform.is_cpu():
        runner_v1.install()
        return HookSet(config, *size)
    if not getattr(vllm_config, "use_v2_model_runner", True):
        raise UnsupportedModel("on CUDA featurehub needs vLLM's V2 model runner: set VLLM_USE_V2_MODEL_RUNNER=1")
    return HookSet(config, *size, device=current_platform.device_type, graphs=True)


def put(point: HookPoint, tower: Tower, vllm_config: VllmConfig) -> None:
    """Puts one hook into the model's layers.

    Raises:
        UnsupportedModel: The model does not have the hook point, or one of vLLM's options leaves nothing whole there.
    """
    if point.site in TAKEN:
        refuse_parts(point, vllm_config)
    layer, name = tower.layer(point), str(point)
    match point.site:
        case Site.RESID_PRE:
            hook_before(layer, name, *tower.arguments(point))
        case Site.Z | Site.MLP_ACT:
            module = tower.taker(point).module
            hook_before(module, name, argument_of(module), None)
        case Site.ATTN_IN | Site.MLP_IN:
            hook_given(whole(point, tower, vllm_config), name)
        case Site.RESID_MID:
            pair = tower.pair(point.layer)
            hook_before(tower.module(point, point.site), name, FIRST, SECOND if pair else None)
        case Site.ATTN_OUT | Site.ROUTER | Site.MLP_OUT | Site.FINAL_NORM:
            hook_after(whole(point, tower, vllm_config), name, pair=False)
        case Site.RESID_POST:
            hook_after(layer, name, tower.pair(point.layer))


def whole(point: HookPoint, tower: Tower, vllm_config: VllmConfig) -> nn.Module:
    """The module at a hook point inside a layer. Raises UnsupportedModel if there is none, or others replace it."""
    module = tower.module(point, point.site)
    if isinstance(module, LinearBase):
        refuse_replaced(point, vllm_config)
    return module


class Hooked(nn.Module):
    """Builds a vLLM model, then attaches the hooks, if there are any. Stands before vLLM's class among the bases.

    Attributes:
        architecture: Its architecture, as a checkpoint's configuration has it.
        allow_patterns_overrides: Weight files that vLLM's loader takes; None for vLLM's own choice.
        depth: Number of layers whose weights are loaded; infinite unless the engine is truncated.
        tower: The layers that have hooks; None where there are none.
        hooked_with: vLLM's configuration.
        proven: Whether the hooks were checked.
    """

    architecture: str

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        with building(self.architecture) as outermost:
            super().__init__(vllm_config=vllm_config, prefix=prefix)
        config = EngineConfig.of(vllm_config) if outermost else None
        # Read by vLLM's loader; without our configuration it loads as usual.
        folder, form = Path(vllm_config.model_config.model), vllm_config.load_config.load_format
        self.allow_patterns_overrides = only_weights(folder, form) if config else None
        self.depth = config.depth if config is not None and config.truncated else math.inf
        self.hooked_with, self.proven = vllm_config, False
        self.tower = attach(self, self.architecture, config, vllm_config) if config is not None else None

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> Any:
        """Loads weights as vLLM does, but skips those of layers that a truncated engine does not have."""
        model: Any = super()
        return model.load_weights(each for each in weights if (layer_of(each[0]) or 0) < self.depth)

    def prove_hooks(self) -> None:
        """Checks the hooks of the loaded model once, if it has any. Raises UnsupportedModel."""
        config, tower = EngineConfig.of(self.hooked_with), self.tower
        if config is not None and tower is not None and not self.proven:
            prove(self, tower, [hook.point for hook in config.hooks], self.hooked_with)
            self.proven = True

    def get_model_state_cls(self) -> type[Any]:
        """The class of the V2 runner's model state, which asks for it when the model is loaded; V1 runners never do."""
        self.prove_hooks()
        from vllm.v1.worker.gpu.model_states.default import DefaultModelState

        return hooked_state(DefaultModelState)


def hooked_class(architecture: str) -> type[Any]:
    """The class of an architecture with hooks. Raises AttributeError where this vLLM has none.

    Args:
        architecture: Its name, as checkpoints' configurations have it.
    """
    if architecture not in MADE:
        known = OWN.get(architecture) or ModelRegistry.models.get(architecture)
        if known is None:
            raise AttributeError(f"this vLLM has no {architecture}")
        own = {"architecture": architecture, "__module__": HOOKED, "__doc__": f"{architecture} with hooks."}
        MADE[architecture] = type(f"{PREFIX}{architecture}", (Hooked, known.load_model_cls()), own)
    return MADE[architecture]
