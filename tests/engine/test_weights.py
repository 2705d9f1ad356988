"""Weights that are replaced while an engine runs: seen, summed and said, and no KV block of the old ones is read."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import replace
from safetensors.torch import load_file, save_file

from featurehub.artifacts.manifest import HookPoint
from featurehub.artifacts.parts import reads_hook
from featurehub.demo.bundle import bundled_model
from featurehub.edits import LatentEdit, Steering
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions, Sampling
from featurehub.engine.updates import HARMLESS, may_replace
from featurehub.features import Mode
from tests.engine.conftest import LAYER

pytestmark = pytest.mark.engine

STEERED = Steering(edits=(LatentEdit(sae="test", latent=3, mode=Mode.NUDGE, value=2.0),))


def retrained(folder: Path, layer: int) -> Path:
    """The bundled model with one tensor of a layer changed."""
    model = shutil.copytree(bundled_model(), folder)
    weights = load_file(model / "model.safetensors")
    name = next(each for each in weights if f"layers.{layer}." in each and "down_proj" in each)
    weights[name] = weights[name] + 0.2 * torch.randn(weights[name].shape, generator=torch.Generator().manual_seed(1))
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    return model


@pytest.fixture(scope="module")
def own(config: EngineConfig) -> Iterator[Engine]:
    with Engine(bundled_model(), config, EngineOptions(enable_prefix_caching=True, block_size=32)) as engine:
        yield engine


def weights(engine: Engine) -> tuple[str, dict[str, str]]:
    [(identity, sums)] = engine.llm.collective_rpc("featurehub_weights")
    return identity, dict(sums)


def reload(engine: Engine, folder: Path) -> None:
    engine.llm.collective_rpc("reload_weights", kwargs={"weights_path": str(folder)})


def answer(engine: Engine, prompt: list[int], steering: Steering | None = None) -> Any:
    [found] = engine.generate([prompt], [steering], Sampling(temperature=0.0, max_tokens=8))
    return found


def test_weights_that_are_reloaded_are_summed_by_name_and_those_that_come_back_are_the_same(
    own: Engine, tmp_path: Path
) -> None:
    first, sums = weights(own)
    assert len(sums) > 40
    reload(own, retrained(tmp_path / "later", LAYER + 1))
    second, changed = weights(own)
    assert second != first
    differing = {name for name in sums if sums[name] != changed[name]}
    assert sums.keys() == changed.keys()
    assert [reads_hook(name, HookPoint(layer=LAYER)) for name in differing] == [False]
    reload(own, bundled_model())
    assert weights(own) == (first, sums)


def test_a_change_below_the_hook_point_is_told_from_one_behind_it(own: Engine, tmp_path: Path) -> None:
    _, sums = weights(own)
    reload(own, retrained(tmp_path / "early", LAYER - 1))
    _, changed = weights(own)
    assert [reads_hook(name, HookPoint(layer=LAYER)) for name in sums if sums[name] != changed[name]] == [True]
    reload(own, bundled_model())


def test_no_block_of_the_old_weights_is_read_by_anybody(own: Engine, tmp_path: Path) -> None:
    """The same prompt of several blocks, before and after: as in an engine that never had the old weights."""
    prompt = list(range(20, 100))
    before = answer(own, prompt).token_ids
    reload(own, retrained(tmp_path / "other", 0))
    cached, plain = answer(own, prompt), answer(own, prompt, STEERED)
    own.llm.reset_prefix_cache()
    anew, steered = answer(own, prompt), answer(own, prompt, STEERED)
    assert (cached.token_ids, plain.token_ids) == (anew.token_ids, steered.token_ids)
    assert cached.token_ids != before
    reload(own, bundled_model())
    assert answer(own, prompt).token_ids == before


def test_a_request_says_which_weights_computed_it(own: Engine, tmp_path: Path) -> None:
    """Over a change in the middle of its answer, under which it is preempted and computed anew, both."""
    from vllm import SamplingParams, TokensPrompt

    first, _ = weights(own)
    engine = own.llm.llm_engine
    params = SamplingParams(
        max_tokens=12, ignore_eos=True, extra_args={"featurehub": replace(STEERED, report="change").to_request()}
    )
    engine.add_request("change", TokensPrompt(prompt_token_ids=list(range(20, 60))), params)
    for _ in range(4):
        engine.step()
    reload(own, retrained(tmp_path / "middle", 1))
    outputs: list[Any] = []
    while engine.has_unfinished_requests():
        outputs += engine.step()
    second, _ = weights(own)
    [report] = own.reports([replace(STEERED, report="change")])
    assert report is not None
    assert report.weights == (first, second)
    assert report.complete
    assert report.recomputed_tokens > 0
    assert len(outputs[-1].outputs[0].token_ids) == 12
    reload(own, bundled_model())


def test_functions_and_unknown_methods_may_replace_weights() -> None:
    assert may_replace(lambda worker: None)
    assert may_replace("reset_weights")
    assert may_replace("some_future_update")
    assert not may_replace("featurehub_reports")


def test_the_harmless_methods_touch_no_weights(own: Engine) -> None:
    """Every one that this vLLM's worker has is named in it: a name that is gone would hide what came in its place."""
    worker = type(own.llm.llm_engine.engine_core.engine_core.model_executor.driver_worker.worker)
    known = {name for name in HARMLESS if hasattr(worker, name)}
    assert {"add_lora", "compute_weight_checksums", "init_weight_transfer_engine", "profile"} <= known
