"""Engines of other shapes than the shared one, one after the other: a process holds one at a time."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from featurehub.artifacts.manifest import HookPoint
from featurehub.conditions import Positions
from featurehub.demo.bundle import bundled_model
from featurehub.dictionary import Dictionary
from featurehub.edits import LatentEdit, Steering
from featurehub.engine.config import EngineConfig, HookConfig, SaeConfig
from featurehub.engine.loading import own_dtype
from featurehub.engine.offline import Engine, EngineOptions, Sampling
from featurehub.errors import EngineError, IncompatibleArtifact, UnsupportedModel
from featurehub.features import Mode

pytestmark = pytest.mark.engine

SAMPLINGS = (Sampling(temperature=0.0, max_tokens=16), Sampling(temperature=0.7, max_tokens=16, seed=3))
EDITS = (LatentEdit(latent=3, mode=Mode.NUDGE, value=40.0), LatentEdit(latent=7, mode=Mode.PIN, value=60.0))
STEERINGS = (None, *(Steering(edits=EDITS, positions=positions) for positions in Positions))


def answers(config: EngineConfig, options: EngineOptions, steerings: Sequence[Steering | None] = STEERINGS) -> list:
    """Of one engine: greedy and seeded answers under each steering, one request at a time."""
    with Engine(bundled_model(), config, options) as engine:
        prompt = engine.tokenizer("please tell me about banking like a pirate .")["input_ids"]
        return [
            answer.token_ids
            for sampling in SAMPLINGS
            for steering in steerings
            for answer in engine.generate([prompt], [steering], sampling)
        ]


def test_one_token_prefill_chunks_steer_alike_seeded_or_not(config: EngineConfig) -> None:
    """Seeded requests in chunks would end vLLM's CPU engine without ``featurehub.engine.seeds``."""
    whole = answers(config, EngineOptions(max_num_seqs=4))
    chunked = answers(config, EngineOptions(max_num_seqs=1, max_num_batched_tokens=2, max_model_len=128))
    assert chunked == whole
    assert whole[1] != whole[0]


def test_bf16_streams_are_steered(config: EngineConfig) -> None:
    plain, everywhere, *_ = answers(config, EngineOptions(max_num_seqs=4, dtype="bfloat16"))
    assert everywhere != plain


def test_a_model_that_reads_more_than_the_cache_holds_is_read_as_far_as_it_does(tmp_path: Path) -> None:
    """The models that people have read 131,072 tokens at once; harvests and calibrations need a few hundred."""
    for path in bundled_model().iterdir():
        (tmp_path / path.name).symlink_to(path)
    config = json.loads((bundled_model() / "config.json").read_text())
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 10**6}))
    reading = EngineConfig.capturing(HookPoint(layer=1))
    with Engine(tmp_path, reading) as engine:
        assert 10_000 < engine.longest < 10**6
        [long] = engine.capture([[5, 6, 7, 8]])
    with Engine(bundled_model(), reading) as engine:
        assert engine.longest == config["max_position_embeddings"] - 1
        assert engine.llm.model_config.dtype is torch.float32
        assert torch.equal(engine.capture([[5, 6, 7, 8]])[0], long)


@pytest.mark.parametrize(
    ("config", "dtype"),
    [
        ({"dtype": "bfloat16"}, "auto"),
        ({"torch_dtype": "float16"}, "auto"),
        ({"dtype": "float32"}, "float32"),
        ({}, "float32"),
    ],
)
def test_a_model_runs_in_its_checkpoints_precision(config: dict[str, str], dtype: str, tmp_path: Path) -> None:
    """vLLM would round one of float32 to 16 bits, and SAEs of a 16-bit one are of the stream as it is served."""
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert own_dtype(tmp_path) == dtype


def test_a_second_engine_is_refused_while_one_is_open(config: EngineConfig) -> None:
    with Engine(bundled_model(), config, EngineOptions()), pytest.raises(EngineError, match="close"):
        Engine(bundled_model(), config, EngineOptions())


def config_of(folder: Path, d_sae: int) -> EngineConfig:
    sae = SaeConfig(id="test", folder=folder, d_sae=d_sae)
    return EngineConfig(hooks=(HookConfig(point=HookPoint(layer=3), saes=(sae,)),))


def test_a_wrong_width_is_refused(tmp_path: Path) -> None:
    rows, zeros = torch.nn.functional.normalize(torch.randn(8, 64), dim=-1), torch.zeros(8)
    Dictionary(rows, rows, zeros, torch.zeros(64), zeros).save(tmp_path / "sae.safetensors")
    with pytest.raises(IncompatibleArtifact, match="reads 64 numbers"):
        Engine(bundled_model(), config_of(tmp_path, 8))


def test_a_layer_that_is_not_there_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="layers 0 to 4"):
        Engine(bundled_model(), EngineConfig.capturing(HookPoint(layer=5)))
