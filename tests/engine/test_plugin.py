"""How featurehub comes into every vLLM of its environment: beside others, and where it cannot, without harm."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from vllm.config import VllmConfig
from vllm.engine.arg_utils import EngineArgs
from vllm.model_executor.models.llama import LlamaForCausalLM
from vllm.v1.engine.input_processor import InputProcessor

from featurehub.demo.bundle import bundled_model
from featurehub.engine import families, hooked, plugin
from featurehub.engine.config import EngineConfig
from featurehub.engine.wrapping import run_after
from featurehub.errors import UnsupportedModel

UNKNOWN = "process_inputs that featurehub does not know"


class Made:
    """Stands for a class of vLLM."""

    def make(self, params: int) -> int:
        return params + 1


def foreign(method: Callable[..., Any]) -> Callable[..., Any]:
    """What tracers and other plugins do."""

    @wraps(method)
    def traced(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    return traced


@pytest.fixture
def owner() -> type[Made]:
    return type("Made", (), {"make": Made.make})  # type: ignore[return-value]


def known(parameters: list[str]) -> bool:
    return "params" in parameters


def test_wrappers_of_others_above_and_below_leave_ours_in_its_place(owner: type[Made]) -> None:
    seen: list[tuple[int, int]] = []
    owner.make = foreign(owner.make)
    for _ in range(2):
        run_after(owner, "make", known, lambda self, result, params: seen.append((result, params)))
        owner.make = foreign(owner.make)
    assert owner().make(4) == 5
    assert seen == [(5, 4)]


@pytest.mark.parametrize("name", ["make", "strange"])
def test_a_method_that_is_not_the_known_one_is_refused(owner: type[Made], name: str) -> None:
    with pytest.raises(UnsupportedModel, match=f"{name} that featurehub does not know"):
        run_after(owner, name, lambda parameters: False, print)


@pytest.fixture
def unknown_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose frontends make requests otherwise."""
    monkeypatch.delattr(InputProcessor, "_featurehub_around_process_inputs", raising=False)
    monkeypatch.setattr(InputProcessor, "process_inputs", lambda self, strange: None)


@pytest.mark.usefixtures("unknown_vllm")
def test_an_unknown_vllm_is_warned_of_and_refused_only_where_hooks_are_wanted(
    caplog: pytest.LogCaptureFixture, world_config: EngineConfig, vllm_config: VllmConfig
) -> None:
    logger = logging.getLogger("vllm.featurehub")
    logger.addHandler(caplog.handler)
    caplog.set_level(logging.WARNING, logger.name)  # whatever earlier engines of this process asked of vLLM's loggers
    plugin.register()
    logger.removeHandler(caplog.handler)
    assert UNKNOWN in caplog.text
    with pytest.raises(UnsupportedModel, match=UNKNOWN):
        families.attach(SimpleNamespace(), "LlamaForCausalLM", world_config, vllm_config)  # type: ignore[arg-type]


def test_classes_that_cannot_be_hooked_are_vllms_own_and_refuse_to_be(
    monkeypatch: pytest.MonkeyPatch, world_config: EngineConfig
) -> None:
    plugin.register_models()
    monkeypatch.setitem(sys.modules, hooked.FAMILIES, None)
    monkeypatch.setitem(hooked.OWN, "LlamaForCausalLM", SimpleNamespace(load_model_cls=lambda: LlamaForCausalLM))
    unhooked = hooked.HookedLlamaForCausalLM
    assert issubclass(unhooked, LlamaForCausalLM)
    wanting = SimpleNamespace(additional_config=world_config.to_additional_config())
    with pytest.raises(UnsupportedModel, match="cannot put hooks into LlamaForCausalLM"):
        unhooked(vllm_config=wanting)
    with pytest.raises(AttributeError):
        hooked.HookedStrangeForCausalLM  # noqa: B018


@pytest.fixture
def vllm_config() -> VllmConfig:
    return EngineArgs(model=str(bundled_model()), dtype="float32").create_engine_config()


@pytest.mark.parametrize(
    ("holder", "field", "value", "named"),
    [
        ("model_config", "model_impl", "transformers", "--model-impl transformers"),
        ("parallel_config", "data_parallel_size", 2, "--data-parallel-size 2"),
        ("parallel_config", "pipeline_parallel_size", 3, "--pipeline-parallel-size 3"),
        ("parallel_config", "prefill_context_parallel_size", 2, "--prefill-context-parallel-size 2"),
        ("parallel_config", "enable_dbo", True, "--enable-dbo"),
        ("parallel_config", "ubatch_size", 2, "--ubatch-size 2"),
        ("parallel_config", "enable_batch_sharded_sampling", True, "--enable-batch-sharded-sampling"),
        ("cache_config", "kv_sharing_fast_prefill", True, "--kv-sharing-fast-prefill"),
        ("", "speculative_config", SimpleNamespace(method="ngram"), "--speculative-config: .*rejects"),
        ("", "kv_transfer_config", SimpleNamespace(kv_connector="NixlConnector"), "--kv-transfer-config NixlConnector"),
    ],
)
def test_an_option_under_which_steering_is_wrong_ends_the_boot(
    world_config: EngineConfig, vllm_config: VllmConfig, holder: str, field: str, value: Any, named: str
) -> None:
    """In the frontend, before anything is loaded; and nothing of it where featurehub is not wanted."""
    plugin.register()
    where = getattr(vllm_config, holder) if holder else vllm_config
    assert hasattr(where, field)  # As this vLLM names it.
    object.__setattr__(where, field, value)
    InputProcessor(vllm_config)
    object.__setattr__(vllm_config, "additional_config", world_config.to_additional_config())
    with pytest.raises(UnsupportedModel, match=named):
        InputProcessor(vllm_config)
    with pytest.raises(UnsupportedModel, match=named):
        families.attach(SimpleNamespace(), "LlamaForCausalLM", world_config, vllm_config)  # type: ignore[arg-type]


def test_what_leaves_every_token_to_every_rank_is_no_reason_to_refuse(
    world_config: EngineConfig, vllm_config: VllmConfig
) -> None:
    object.__setattr__(vllm_config, "additional_config", world_config.to_additional_config())
    object.__setattr__(vllm_config.parallel_config, "tensor_parallel_size", 4)
    object.__setattr__(vllm_config, "kv_transfer_config", SimpleNamespace(kv_connector="OffloadingConnector"))
    InputProcessor(vllm_config)


PLAIN_ON_AN_UNKNOWN_VLLM = """
import json, sys
from vllm import LLM, SamplingParams, TokensPrompt
from vllm.v1.engine.input_processor import InputProcessor

sys.modules["featurehub.engine.families"] = None
known = InputProcessor.process_inputs
InputProcessor.process_inputs = lambda self, *args, **kwargs: known(self, *args, **kwargs)
options = dict(dtype="float32", enforce_eager=True, max_num_seqs=4, max_model_len=128, kv_cache_memory_bytes=1 << 28)
llm = LLM(sys.argv[1], **options)
params = SamplingParams(max_tokens=4, ignore_eos=True)
[output] = llm.generate([TokensPrompt(prompt_token_ids=[5, 9, 20])], params, use_tqdm=False)
print("PLAIN", len(output.outputs[0].token_ids), type(llm.llm_engine.model_executor).__name__)
llm.llm_engine.engine_core.shutdown()
try:
    LLM(sys.argv[1], additional_config=json.loads(sys.argv[2]), **options)
except Exception as error:
    print("REFUSED", error)
"""


@pytest.mark.engine
def test_plain_vllm_starts_and_is_plain_where_featurehub_cannot_install_itself(
    world_config: EngineConfig, tmp_path: Path
) -> None:
    """And an engine that is to steer does not."""
    own = {"VLLM_PLUGINS": "featurehub", "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CACHE_ROOT": str(tmp_path)}
    environment = os.environ | own | {"VLLM_CPU_KVCACHE_SPACE": "1"}
    arguments = [str(bundled_model()), world_config.model_dump_json()]
    arguments[1] = '{"featurehub": ' + arguments[1] + "}"
    command = [sys.executable, "-c", PLAIN_ON_AN_UNKNOWN_VLLM, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    assert "PLAIN 4" in done.stdout, done.stderr[-3000:]
    assert "cannot steer with this vLLM" in done.stdout + done.stderr
    [refused] = [line for line in done.stdout.splitlines() if line.startswith("REFUSED")]
    assert "cannot put hooks into LlamaForCausalLM" in refused + done.stderr
