"""torch.compile: the op must be in the compiled graph, also when the compile cache was filled without it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.engine

RUN = """
import sys
from featurehub.edits import LatentEdit, Steering
from featurehub.demo.bundle import bundled_model
from featurehub.artifacts.manifest import HookPoint
from featurehub.engine.config import EngineConfig, HookConfig, SaeConfig
from featurehub.engine.offline import Engine, EngineOptions, Sampling
from featurehub.features import Mode

artifact, *modes = sys.argv[1:]
sae = SaeConfig(id="test", folder=artifact, d_sae=512)
config = EngineConfig(hooks=(HookConfig(point=HookPoint(layer=3), saes=(sae,)),))
for mode in modes:
    options = EngineOptions(enforce_eager=mode == "eager", max_num_seqs=8)
    with Engine(bundled_model(), config, options) as engine:
        prompt = engine.tokenizer("tell me something about banking .")["input_ids"]
        steering = Steering(edits=(LatentEdit(latent=3, mode=Mode.NUDGE, value=40.0),))
        answers = engine.generate([prompt, prompt], [None, steering], Sampling(temperature=0.0, max_tokens=16))
        for answer in answers:
            print("TOKENS", answer.token_ids, answer.report.steered_tokens if answer.report else None)
"""


def run(artifact: Path, cache: Path, *modes: str) -> list[str]:
    """Two lines for each mode: the answer without steering, and with it."""
    environment = {**os.environ, "VLLM_CACHE_ROOT": str(cache)}
    command = [sys.executable, "-c", RUN, str(artifact), *modes]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-2000:]
    return [line for line in done.stdout.splitlines() if line.startswith("TOKENS")]


def test_compiled_steers_as_eager_does_with_a_cold_and_a_warm_cache(artifact: Path, tmp_path: Path) -> None:
    plain, steered, *cold = run(artifact, tmp_path, "eager", "compiled")
    assert plain != steered
    assert cold == [plain, steered]
    warm = run(artifact, tmp_path, "compiled")
    assert warm == [plain, steered]
