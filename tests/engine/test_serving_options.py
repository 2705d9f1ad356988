"""Which of an operator's options may make another function of the model that is served."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from featurehub.artifacts.manifest import HookPoint
from featurehub.demo.bundle import bundled_model
from featurehub.engine.config import EngineConfig
from featurehub.engine.loading import as_fingerprinted, only_weights
from featurehub.engine.overrides import resolved
from featurehub.errors import InvalidInput
from featurehub.settings import FRONTEND

pytest.importorskip("vllm", reason="the options are vLLM's")
# vLLM's imports warn of others' deprecations.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VLLM_PLUGINS", "VLLM_CPU_KVCACHE_SPACE", "VLLM_NO_USAGE_STATS"):
        monkeypatch.setenv(name, "")


def overrides(*extra: str) -> tuple[str, ...]:
    from featurehub.engine.server import ServeOptions, prepare

    return prepare(bundled_model(), ServeOptions(extra=extra)).overrides


def test_a_float32_model_is_served_in_float32_and_nothing_is_overridden() -> None:
    from featurehub.engine.server import ServeOptions, prepare

    launch = prepare(bundled_model(), ServeOptions(served_model_name="demo"))
    assert (launch.args.dtype, launch.args.load_format, launch.args.config_format) == ("float32", "safetensors", "hf")
    assert (launch.overrides, launch.names) == ((), ("demo",))


@pytest.mark.parametrize(
    "extra",
    [
        ("--dtype", "bfloat16"),
        ("--quantization", "fp8"),
        ("--hf-overrides", '{"rms_norm_eps": 0.1}'),
        ("--chat-template", "{{ other }}"),
        ("--trust-request-chat-template",),
        ("--default-chat-template-kwargs", '{"a": 1}'),
        ("--load-format", "pt"),
        ("--tokenizer", "elsewhere"),
        ("--tokenizer-mode", "slow"),
        ("--revision", "main"),
        ("--kv-cache-dtype", "fp8"),
        ("--config-format", "mistral"),
        ("--model-impl", "transformers"),
        ("--hf-config-path", "elsewhere"),
        ("--disable-sliding-window",),
        ("--logits-processors", "some.module:Processor"),
    ],
    ids=lambda extra: extra[0],
)
def test_what_may_change_the_function_is_named(extra: tuple[str, ...]) -> None:
    assert overrides(*extra) == (extra[0],)


@pytest.mark.parametrize(
    "extra",
    [
        ("--max-model-len", "256"),
        ("--dtype", "float32"),
        ("--block-size", "32", "--enable-prompt-tokens-details"),
        ("--enable-lora", "--max-lora-rank", "8", "--lora-modules", "ft=/somewhere"),
        ("--served-model-name", "a", "b"),
        ("--api-key", "secret", "--gpu-memory-utilization", "0.5"),
    ],
)
def test_what_leaves_the_function_alone_is_not(extra: tuple[str, ...]) -> None:
    assert overrides(*extra) == ()


def test_random_weights_are_refused() -> None:
    with pytest.raises(InvalidInput, match="random weights"):
        overrides("--load-format", "dummy")


@pytest.mark.parametrize("extra", [("--model", "other"), ("--additional-config", '{"a": 1}'), ("stray",)])
def test_what_serve_says_itself_is_refused(extra: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput, match=extra[0]):
        overrides(*extra)


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("VLLM_USE_MODELSCOPE", "1", "VLLM_USE_MODELSCOPE"),
        ("VLLM_PLUGINS", "featurehub,other", "the vLLM plugin other"),
        ("VLLM_USE_MODELSCOPE", "0", None),
        ("VLLM_SERVER_DEV_MODE", "1", None),
    ],
)
def test_the_environment_counts_too(monkeypatch: pytest.MonkeyPatch, name: str, value: str, named: str | None) -> None:
    monkeypatch.setenv(name, value)
    assert overrides() == ((named,) if named else ())


def test_what_only_the_frontend_needs_is_no_part_of_what_the_compile_cache_hashes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another database, or another answer to stale features, compiles nothing anew."""
    from vllm.config import VllmConfig

    from featurehub.engine.server import ServeOptions, prepare, serve

    monkeypatch.setattr("uvloop.run", lambda server: server.close())
    monkeypatch.setenv(FRONTEND, "")
    hashes, told = [], []
    for frontend in ('{"store": "a.db", "on_stale": "refuse"}', '{"store": "b.db", "on_stale": "warn"}'):
        launch = prepare(bundled_model(), ServeOptions())
        serve(launch, EngineConfig.capturing(HookPoint(layer=1)), frontend)
        hashes.append(VllmConfig(additional_config=launch.args.additional_config).compute_hash())
        told.append(os.environ[FRONTEND])
    assert hashes[0] == hashes[1]
    assert told[0] != told[1]


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ((), ()),
        (("--dtype", "bfloat16"), ("the precision bfloat16, not the checkpoint's float32",)),
        (("--hf-overrides", '{"rms_norm_eps": 0.5}'), ("an overridden configuration",)),
    ],
    ids=["own", "dtype", "hf-overrides"],
)
def test_vllm_s_own_configuration_says_the_same(extra: tuple[str, ...], named: tuple[str, ...]) -> None:
    from vllm.engine.arg_utils import AsyncEngineArgs

    from featurehub.engine.server import ServeOptions, prepare

    args = prepare(bundled_model(), ServeOptions(extra=extra)).args
    assert resolved(AsyncEngineArgs.from_cli_args(args).create_engine_config(), "float32") == named


@pytest.mark.parametrize(("dtype", "wanted"), [("float32", "float32"), ("bfloat16", "auto"), ("float16", "auto")])
def test_engines_load_what_was_fingerprinted(tmp_path: Path, dtype: str, wanted: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"torch_dtype": dtype}))
    assert as_fingerprinted(tmp_path) == {
        "dtype": wanted, "load_format": "safetensors", "config_format": "hf", "tokenizer_mode": "hf"
    }  # fmt: skip


def test_without_an_index_the_model_s_own_file_alone_is_loaded(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "part.safetensors")
    assert only_weights(tmp_path) is None
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    assert only_weights(tmp_path, "dummy") is None
    assert only_weights(tmp_path) == ["model.safetensors"]
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "part.safetensors"}}')
    assert only_weights(tmp_path) is None
