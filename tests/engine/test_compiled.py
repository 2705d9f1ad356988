"""torch.compile: the op must be in the compiled graph, also when the compile cache was filled without it.

A random model of one layer, since what is tested is the graph, with hooks inside the layer and behind it.
Two processes on one cache folder: vLLM without any plugin, then featurehub with the cache that this leaves (and eager,
to compare with), and once more with its own.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from featurehub.demo.bundle import bundled_model
from featurehub.dictionary import Dictionary

pytestmark = pytest.mark.engine

D_SAE = 16
PLAIN = """
import os, sys
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
from vllm import LLM, SamplingParams, TokensPrompt

model, *_ = sys.argv[1:]
llm = LLM(model, max_num_seqs=8, max_model_len=48, dtype="float32")
params = SamplingParams(temperature=0.0, max_tokens=12, detokenize=False)
prompts = [TokensPrompt(prompt_token_ids=[5, 9, 20, 31])] * 2
for output in llm.generate(prompts, params, use_tqdm=False):
    print("TOKENS", list(output.outputs[0].token_ids), None)
"""
HOOKED = """
import sys
from pathlib import Path

from featurehub.artifacts.manifest import HookPoint
from featurehub.edits import LatentEdit, Steering
from featurehub.engine.config import EngineConfig, HookConfig, SaeConfig
from featurehub.engine.offline import Engine, EngineOptions, Sampling
from featurehub.features import Mode

model, artifact, *modes = sys.argv[1:]
places = {
    "given": "attn_in", "heads": "z", "read": "mlp_in", "neurons": "mlp_act", "test": "resid_post", "last": "final_norm"
}
hooks = (
    HookConfig(point=HookPoint(layer=0, site=site), saes=(SaeConfig(id=id, folder=f"{artifact}/{id}", d_sae=16),))
    for id, site in places.items()
)
config = EngineConfig(hooks=tuple(hooks))
edits = tuple(
    LatentEdit(sae="test", latent=latent, mode=mode, value=value)
    for latent, mode, value in ((3, Mode.NUDGE, 300.0), (5, Mode.PIN, 60.0))
)
inner = [(LatentEdit(sae=sae, latent=2, mode=Mode.NUDGE, value=300.0),) for sae in places if sae != "test"]
asked = [None, *(Steering(edits=each, dose_max=10.0) for each in (edits, *inner))]
for mode in modes:
    options = EngineOptions(enforce_eager=mode == "eager", max_num_seqs=8, max_model_len=48)
    with Engine(Path(model), config, options) as engine:
        answers = engine.generate([[5, 9, 20, 31]] * len(asked), asked, Sampling(temperature=0.0, max_tokens=12))
        for answer in answers:
            print("TOKENS", answer.token_ids, answer.report.steered_tokens if answer.report else None)
"""


BYPASSED = """
import sys
from pathlib import Path

from msgspec.structs import replace

from featurehub.artifacts.manifest import HookPoint
from featurehub.edits import Abort, Condition, LatentEdit, Op, Steering, When
from featurehub.engine import families
from featurehub.engine.config import EngineConfig, HookConfig, SaeConfig
from featurehub.engine.offline import Engine, EngineOptions, Sampling
from featurehub.errors import SteeringLost
from featurehub.features import Mode

# The check at boot runs the layers themselves, which have the op where a stale graph has none.
families.put = families.prove = lambda *arguments: None
model, artifact = sys.argv[1:]
sae = SaeConfig(id="test", folder=f"{artifact}/test", d_sae=16)
config = EngineConfig(hooks=(HookConfig(point=HookPoint(layer=0), saes=(sae,)),))
when = When(conditions=(Condition(latent=1, op=Op.ABOVE, value=1e6),))
nudge = LatentEdit(latent=3, mode=Mode.NUDGE, value=300.0)
asked = {
    "edit": Steering(edits=(nudge,)),
    "conditional": Steering(edits=(replace(nudge, when=when),)),
    "generated": Steering(edits=(nudge,), positions="generated"),
    "abort": Steering(aborts=(Abort(event="e", when=when),)),
    "nothing": None,
}
options = EngineOptions(enforce_eager=False, max_num_seqs=8, max_model_len=48)
with Engine(Path(model), config, options) as engine:
    for name, steering in asked.items():
        try:
            [answer] = engine.generate([[5, 9, 20, 31]], [steering], Sampling(temperature=0.0, max_tokens=12))
            print("TOKENS", name, "answered")
        except SteeringLost as error:
            print("TOKENS", name, error)
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    shutil.copytree(bundled_model(), tmp_path / "model")
    torch.manual_seed(0)
    config = LlamaConfig.from_pretrained(bundled_model(), num_hidden_layers=1, initializer_range=0.3, head_dim=128)
    LlamaForCausalLM(config).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def sae(model: Path, tmp_path: Path) -> Path:
    config = LlamaConfig.from_pretrained(model)
    d_model, heads = config.hidden_size, config.num_attention_heads * config.head_dim
    widths = dict.fromkeys(("given", "heads", "read", "neurons", "test", "last"), d_model)
    widths |= {"heads": heads, "neurons": config.intermediate_size}
    for name, width in widths.items():
        rows, zeros = torch.nn.functional.normalize(torch.randn(D_SAE, width), dim=-1), torch.zeros(D_SAE)
        (tmp_path / "sae" / name).mkdir(parents=True)
        Dictionary(rows, rows, zeros, torch.zeros(width), zeros).save(tmp_path / "sae" / name / "sae.safetensors")
    return tmp_path / "sae"


def run(program: str, cache: Path, *arguments: object, plugins: str = "featurehub") -> list[str]:
    """Lines for each mode: the answer without steering, and with it."""
    # Without a size for the KV cache, vLLM wants nearly all memory of the machine to be free.
    own = {"VLLM_CACHE_ROOT": str(cache), "VLLM_PLUGINS": plugins, "VLLM_CPU_KVCACHE_SPACE": "1"}
    environment = os.environ | own | {"VLLM_LOGGING_LEVEL": "ERROR"}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    return [line for line in done.stdout.splitlines() if line.startswith("TOKENS")]


def test_compiled_steers_as_eager_does_whatever_the_cache_holds(model: Path, sae: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    plain, again = run(PLAIN, cache, model, plugins="")
    assert any((cache / "torch_compile_cache").iterdir())
    lines = run(HOOKED, cache, model, sae, "eager", "compiled", "compiled")
    eager, compiled = lines[:7], lines[7:]
    assert [plain, again] == eager[:1] * 2
    assert len({each.split("]")[0] for each in eager}) == len(eager)
    assert compiled == eager * 2


def test_a_compiled_graph_without_the_op_answers_nothing_that_was_to_be_steered_or_watched(
    model: Path, sae: Path, tmp_path: Path
) -> None:
    """As a stale graph would, or a layer that is passed by."""
    lost = dict(line.split(" ", 2)[1:] for line in run(BYPASSED, tmp_path / "cache", model, sae))
    assert lost["nothing"] == "answered"
    for name in ("edit", "conditional", "generated"):
        assert "the edits at layers.0.resid_post ran over 0 of" in lost[name]
    assert "the conditions at layers.0.resid_post were decided at 0 of" in lost["abort"]
