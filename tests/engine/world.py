"""A small world for the hooks without vLLM: two hook points, three SAEs, streams by request and position."""

from collections.abc import Mapping
from pathlib import Path

import torch
from hypothesis import strategies as st
from torch import Tensor

from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.conditions import Op, Positions
from featurehub.dictionary import Dictionary
from featurehub.edits import Abort, Condition, LatentEdit, Steering, When
from featurehub.engine.config import EngineConfig, HookConfig, SaeConfig
from featurehub.features import Mode

D_MODEL, D_SAE, K = 16, 24, 6
FIRST, LAST = HookPoint(layer=1), HookPoint(layer=2, site=Site.MLP_OUT)


def make_dictionary(seed: int, gated: bool = False) -> Dictionary:
    """Decoder rows of different lengths, an encoder that is not their transpose, thresholds at 0 and above."""
    generator = torch.Generator().manual_seed(seed)
    return Dictionary(
        W_enc=torch.randn(D_SAE, D_MODEL, generator=generator) / 4,
        W_dec=torch.randn(D_SAE, D_MODEL, generator=generator) / 4,
        b_enc=torch.randn(D_SAE, generator=generator) / 4,
        b_dec=torch.randn(D_MODEL, generator=generator) / 4,
        threshold=torch.rand(D_SAE, generator=generator) * (torch.arange(D_SAE) % 2),
        gain=torch.rand(D_SAE, generator=generator) + 0.5 if gated else None,
        offset=torch.randn(D_SAE, generator=generator) / 4 if gated else None,
    )


DICTIONARIES: Mapping[str, Mapping[str, Dictionary]] = {
    str(FIRST): {"a": make_dictionary(1), "b": make_dictionary(2, gated=True)},
    str(LAST): {"c": make_dictionary(3)},
}


def make_config(folder: Path) -> EngineConfig:
    """With the SAEs saved under ``folder``."""
    hooks = []
    for point in (FIRST, LAST):
        for name, dictionary in DICTIONARIES[str(point)].items():
            (folder / name).mkdir()
            dictionary.save(folder / name / "sae.safetensors")
        saes = tuple(SaeConfig(id=name, folder=folder / name, d_sae=D_SAE) for name in DICTIONARIES[str(point)])
        hooks.append(HookConfig(point=point, saes=saes))
    return EngineConfig(hooks=tuple(hooks), max_edits=K, max_conditions=8)


def stream(request: int, position: int, hook: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Hidden and residual of one token, [d_model] each."""
    generator = torch.Generator().manual_seed(1 + request * 10_007 + position * 101 + hook)
    hidden, residual = torch.randn(2, D_MODEL, generator=generator).unbind()
    return (hidden * 3).to(dtype), (residual * 10).to(dtype)


VALUES = st.one_of(st.sampled_from([0.0, 1.0, -1.0]), st.floats(-20, 20, width=32))
LATENTS = st.integers(0, D_SAE - 1)


def conditions(saes: str) -> st.SearchStrategy[When]:
    condition = st.builds(
        Condition,
        sae=st.sampled_from(saes),
        latent=LATENTS,
        op=st.sampled_from(Op),
        value=st.floats(-1, 5, width=16),
        so_far=st.booleans(),
    )
    return st.builds(When, conditions=st.lists(condition, min_size=1, max_size=3).map(tuple), any=st.booleans())


def edits(sae: str, readable: str) -> st.SearchStrategy[LatentEdit]:
    return st.builds(
        LatentEdit,
        sae=st.just(sae),
        latent=LATENTS,
        mode=st.sampled_from(Mode),
        value=VALUES,
        when=st.one_of(st.none(), conditions(readable)),
    )


ABORTS = st.builds(
    Abort, event=st.sampled_from(["one", "two"]), when=conditions("abc"), positions=st.sampled_from(Positions)
)
STEERINGS = st.builds(
    Steering,
    edits=st.lists(st.one_of(edits("a", "ab"), edits("b", "ab"), edits("c", "abc")), max_size=K).map(tuple),
    positions=st.sampled_from(Positions),
    dose_max=st.sampled_from([0.01, 0.3, 1.0, 1000.0]),
    aborts=st.one_of(st.just(()), st.lists(ABORTS, max_size=2).map(tuple)),
).filter(lambda steering: len(set(steering.conditions())) <= 8)
