"""A hybrid model, which keeps states beside its KV cache: requests share a prefix, and never across steerings."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen3NextConfig

from featurehub.artifacts.manifest import HookPoint
from featurehub.edits import LatentEdit, Steering
from featurehub.engine.offline import Engine, EngineOptions, Sampling
from featurehub.features import Mode
from tests.engine.tiny_models import tiny_config
from tests.engine.world import hooked, unit_dictionary

pytestmark = pytest.mark.engine

# The sizes and the precision that vLLM's linear attention wants on a CPU; blocks have 384 or 640 tokens there, as the
# processor's kernels want it.
SIZES = {"linear_key_head_dim": 128, "linear_value_head_dim": 128, "head_dim": 64, "max_position_embeddings": 2048}
OPTIONS = EngineOptions(
    dtype="bfloat16", max_num_seqs=4, max_model_len=1500, skip_tokenizer_init=True, enable_prefix_caching=True
)
NUDGE = Steering(edits=(LatentEdit(sae="a", latent=3, mode=Mode.NUDGE, value=300.0),), dose_max=10.0)
OTHER = Steering(edits=(LatentEdit(sae="a", latent=7, mode=Mode.NUDGE, value=300.0),), dose_max=10.0)


def save_hybrid(folder: Path) -> None:
    torch.manual_seed(0)
    fields = {**tiny_config("Qwen3NextForCausalLM"), **SIZES, "initializer_range": 0.1}
    config = Qwen3NextConfig(**{name: value for name, value in fields.items() if name != "model_type"})
    AutoModelForCausalLM.from_config(config).to(torch.bfloat16).save_pretrained(folder)


def test_states_are_shared_by_requests_of_one_steering_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_hybrid(tmp_path / "model")
    saes = {HookPoint(layer=1): {"a": unit_dictionary(1, 64, 32, 0.2)}}
    prompt, cached = [7 * i % 90 + 1 for i in range(1400)], []
    with Engine(tmp_path / "model", hooked(tmp_path, saes), OPTIONS) as engine:
        run = engine.run

        def counting(*what: object) -> list[object]:
            outputs = run(*what)  # type: ignore[arg-type]
            cached.extend(each.num_cached_tokens for each in outputs)
            return outputs

        monkeypatch.setattr(engine, "run", counting)
        answers = [
            next(engine.generate([prompt], [steering], Sampling(temperature=0.0, max_tokens=8))).token_ids
            for steering in (Steering(), NUDGE, OTHER, Steering(), NUDGE, OTHER)
        ]
    assert cached[:3] == [0, 0, 0]
    assert min(cached[3:]) > 100
    assert answers[:3] == answers[3:]
    assert len(set(map(tuple, answers))) == 3
