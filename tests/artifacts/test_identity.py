"""What makes another function of a checkpoint, beside its weights, and what provably does not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from featurehub.artifacts import checkpoint
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint, ModelIdentity, Part
from featurehub.demo.bundle import bundled_model
from featurehub.errors import InvalidInput

HOOK = HookPoint(layer=3)
Json = dict[str, Any]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return shutil.copytree(bundled_model(), tmp_path / "model")


@pytest.fixture
def first(model: Path) -> ModelIdentity:
    return identify(model, HOOK)


def rewrite(path: Path, change: Callable[[Json], object]) -> None:
    values = json.loads(path.read_text()) if path.is_file() else {}
    change(values)
    path.write_text(json.dumps(values, indent=4))


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["rope_parameters"].update(rope_theta=500_000.0),
        lambda c: c["rope_parameters"].update(rope_type="yarn", factor=4.0),
        lambda c: c.update(rope_scaling={"rope_type": "linear", "factor": 2.0}),
        lambda c: c.update(rms_norm_eps=1e-2),
        lambda c: c.update(final_logit_softcapping=30.0),
        lambda c: c.update(sliding_window=64),
        lambda c: c.update(num_attention_heads=3),
        lambda c: c.update(num_key_value_heads=3),
        lambda c: c.update(hidden_act="gelu"),
        lambda c: c.update(tie_word_embeddings=False),
        lambda c: c.update(quantization_config={"quant_method": "fp8", "dtype": "float8"}),
        lambda c: c.update(text_config={"rope_theta": 1.0}),
        lambda c: c.update(nobody_has_heard_of_this=1),
    ],
)
def test_a_configuration_that_may_change_the_function_is_another(
    model: Path, first: ModelIdentity, change: Callable[[Json], object]
) -> None:
    rewrite(model / "config.json", change)
    now = identify(model, HOOK)
    assert first.differences(now) == (Part.CONFIGURATION,)
    assert now.function != first.function


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(transformers_version="4.0.0", _name_or_path="/elsewhere", use_cache=False),
        lambda c: c.update(torch_dtype=c.pop("dtype")),
        lambda c: c.update(dict(reversed(c.items()))),
        lambda c: c.update(attention_dropout=0.1, initializer_range=0.5, pad_token_id=0),
    ],
    ids=["origin", "dtype's old name", "order", "training alone"],
)
def test_what_leaves_the_function_alone_is_no_difference(
    model: Path, first: ModelIdentity, change: Callable[[Json], object]
) -> None:
    rewrite(model / "config.json", change)
    assert first.same_function(identify(model, HOOK))


def test_the_precision_is_a_part_of_its_own(model: Path, first: ModelIdentity) -> None:
    """The bundled weights are kept in 16 bits; loaded as bfloat16 they are other numbers too."""
    rewrite(model / "config.json", lambda c: c.update(dtype="bfloat16"))
    assert first.differences(identify(model, HOOK)) == (Part.WEIGHTS, Part.PRECISION)


def test_quantization_in_a_file_of_its_own(model: Path, first: ModelIdentity) -> None:
    (model / "hf_quant_config.json").write_text('{"quantization": {"quant_algo": "FP8"}}')
    assert first.differences(identify(model, HOOK)) == (Part.CONFIGURATION,)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("tokenizer_config.json", lambda c: c.update(add_bos_token=True)),
        ("tokenizer_config.json", lambda c: c.update(bos_token="</s>")),
        ("special_tokens_map.json", lambda c: c.update(cls_token="<s>")),
        ("tokenizer.json", lambda c: c["model"]["vocab"].update(version=9999)),
        ("tokenizer.json", lambda c: c.update(normalizer={"type": "NFD"})),
    ],
)
def test_other_rules_or_settings_are_another_tokenizer(
    model: Path, first: ModelIdentity, name: str, change: Callable[[Json], object]
) -> None:
    rewrite(model / name, change)
    assert first.differences(identify(model, HOOK)) == (Part.TOKENIZER,)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("tokenizer_config.json", lambda c: c.update(model_max_length=64, padding_side="left")),
        ("tokenizer.json", lambda c: c.update(truncation={"max_length": 64}, padding={"strategy": "BatchLongest"})),
        ("special_tokens_map.json", lambda c: c.update(bos_token="<s>")),
    ],
)
def test_what_only_bounds_and_pads_batches_is_the_same_tokenizer(
    model: Path, first: ModelIdentity, name: str, change: Callable[[Json], object]
) -> None:
    rewrite(model / name, change)
    assert first.same_function(identify(model, HOOK))


@pytest.mark.transformers
def test_a_model_that_transformers_saved_again_is_the_same_function(
    model: Path, first: ModelIdentity, tmp_path: Path
) -> None:
    """In shards, in the precision that the configuration names, with the tokenizer's files as it writes them."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    again = tmp_path / "again"
    AutoModelForCausalLM.from_pretrained(model).save_pretrained(again, max_shard_size="2MB")
    AutoTokenizer.from_pretrained(model).save_pretrained(again)
    assert len(list(again.glob("*.safetensors"))) > 2
    assert first.differences(identify(again, HOOK)) == ()


@pytest.mark.parametrize("kept", [torch.float16, torch.bfloat16])
def test_weights_are_hashed_as_they_are_loaded(model: Path, kept: torch.dtype) -> None:
    """16 bits that are loaded in 32 are the same numbers."""
    path = model / "model.safetensors"
    weights = {name: tensor.to(kept) for name, tensor in load_file(path).items()}
    save_file(weights, path)
    narrow = identify(model, HOOK)
    save_file({name: tensor.float() for name, tensor in weights.items()}, path)
    assert narrow.differences(identify(model, HOOK)) == ()


def test_rounded_weights_are_others(model: Path, first: ModelIdentity) -> None:
    path = model / "model.safetensors"
    save_file({name: tensor.bfloat16().half() for name, tensor in load_file(path).items()}, path)
    assert first.differences(identify(model, HOOK)) == (Part.WEIGHTS,)


def test_a_template_is_the_same_wherever_it_lies(model: Path, first: ModelIdentity) -> None:
    path = model / "tokenizer_config.json"
    template = json.loads(path.read_text())["chat_template"]
    rewrite(path, lambda c: c.pop("chat_template"))
    assert first.differences(identify(model, HOOK)) == (Part.CHAT_TEMPLATE,)
    (model / "chat_template.jinja").write_text(template)
    assert first.same_function(identify(model, HOOK))


def test_a_model_without_template_is_the_same_as_itself(model: Path) -> None:
    rewrite(model / "tokenizer_config.json", lambda c: c.pop("chat_template"))
    assert identify(model, HOOK).same_function(identify(model, HOOK))


def test_of_what_is_not_recorded_nothing_can_be_said(first: ModelIdentity) -> None:
    """As manifests are that were written before the fields were there."""
    old = ModelIdentity.model_validate(first.model_dump(exclude={"config", "tokenization"}))
    assert old.differences(first) == first.differences(old) == (Part.CONFIGURATION, Part.TOKENIZER)
    assert not old.same_function(old)


ADAPTER = {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": torch.zeros(2, 2)}


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "consolidated.safetensors", "model-00009.safetensors"])
@pytest.mark.parametrize("shards", [1, 3])
def test_files_that_the_engine_does_not_load_change_nothing(
    model: Path, first: ModelIdentity, name: str, shards: int
) -> None:
    if shards > 1:
        shard(model, shards)
    save_file(ADAPTER, model / name)
    beside = identify(model, HOOK)
    assert first.same_function(beside)
    assert beside.reads == first.reads


def shard(folder: Path, shards: int) -> None:
    """As transformers does it."""
    whole = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = {name: f"model-{i % shards + 1:05}-of-{shards:05}.safetensors" for i, name in enumerate(whole)}
    for file in set(names.values()):
        save_file({name: whole[name] for name in whole if names[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))


def test_a_shard_that_is_missing_is_named(model: Path) -> None:
    shard(model, 3)
    (model / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(InvalidInput, match="model-00002-of-00003"):
        identify(model, HOOK)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": "../b.safetensors"}}'])
def test_an_index_that_is_none_is_named(model: Path, text: str) -> None:
    (model / "model.safetensors.index.json").write_text(text)
    with pytest.raises(InvalidInput, match=r"model\.safetensors\.index\.json"):
        identify(model, HOOK)


def test_a_vocabulary_is_parsed_once(model: Path, first: ModelIdentity, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of a hundred thousand tokens takes a second."""
    monkeypatch.setattr("featurehub.artifacts.remembered.SETTLED_NS", -(10**18))
    identify(model, HOOK)
    read: list[str] = []
    monkeypatch.setattr(checkpoint, "read_json", lambda path: read.append(path.name) or json.loads(path.read_text()))
    assert identify(model, HOOK) == first
    assert "tokenizer_config.json" in read
    assert "tokenizer.json" not in read
