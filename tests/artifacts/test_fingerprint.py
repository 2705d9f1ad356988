"""The fingerprint changes with what the stream at the hook point depends on, and with nothing else."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from featurehub.artifacts.fingerprint import identify, width_at
from featurehub.artifacts.manifest import HookPoint, ModelIdentity, Site
from featurehub.artifacts.parts import reads_hook
from featurehub.errors import InvalidInput, ModelNotFound

HOOK = HookPoint(layer=1)


def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    names = ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"]
    names += [f"model.layers.{i}.{part}.weight" for i in range(4) for part in ("self_attn.q_proj", "mlp.up_proj")]
    return {name: torch.randn(4, 4, generator=generator) for name in names}


def write(folder: Path, weights: dict[str, Tensor], shards: int = 1) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    config = {"architectures": ["LlamaForCausalLM"], "hidden_size": 4, "num_hidden_layers": 4, "torch_dtype": "float32"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text('{"model": {}}')
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    names = sorted(weights)
    for i in range(shards):
        save_file({n: weights[n] for n in names[i::shards]}, folder / f"model-{i + 1:05}-of-{shards:05}.safetensors")
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(tmp_path / "model", tensors())


def changed(tmp_path: Path, name: str) -> ModelIdentity:
    weights = tensors()
    weights[name] = weights[name].clone()
    weights[name][3, 3] += 1e-6
    return identify(write(tmp_path / "changed", weights), HOOK)


def test_the_identity_says_what_the_configuration_says(model: Path) -> None:
    identity = identify(model, HOOK)
    assert (identity.name, identity.architecture, identity.d_model) == ("model", "LlamaForCausalLM", 4)
    assert (identity.layers, identity.dtype) == (4, "float32")
    assert identity.reads != identity.whole
    assert identity == identify(model, HOOK)


@pytest.mark.parametrize(
    "name",
    [
        "model.embed_tokens.weight",
        "model.layers.0.mlp.up_proj.weight",
        "model.layers.1.self_attn.q_proj.weight",
    ],
)
def test_a_change_up_to_the_hook_changes_both_fingerprints(model: Path, tmp_path: Path, name: str) -> None:
    before, after = identify(model, HOOK), changed(tmp_path, name)
    assert after.reads != before.reads
    assert after.whole != before.whole


@pytest.mark.parametrize("name", ["model.layers.2.mlp.up_proj.weight", "lm_head.weight", "model.norm.weight"])
def test_a_change_after_the_hook_changes_only_the_whole(model: Path, tmp_path: Path, name: str) -> None:
    before, after = identify(model, HOOK), changed(tmp_path, name)
    assert after.reads == before.reads
    assert after.whole != before.whole


@pytest.mark.parametrize(
    ("config", "width"),
    [
        ({"hidden_size": 64, "num_attention_heads": 4}, 64),
        ({"hidden_size": 64, "num_attention_heads": 4, "head_dim": None}, 64),
        ({"hidden_size": 64, "num_attention_heads": 4, "head_dim": 32}, 128),
        ({"n_embd": 48, "n_head": 3}, 48),
        ({"hidden_size": 64, "num_attention_heads": 4, "head_dim": 16, "v_head_dim": 24}, 96),
        (
            {
                "hidden_size": 64,
                "num_attention_heads": 4,
                "head_dim": 16,
                "layer_types": ["full_attention"],
                "global_head_dim": 32,
            },
            128,
        ),
        (
            {
                "hidden_size": 64,
                "num_attention_heads": 4,
                "head_dim": 16,
                "layer_types": ["sliding_attention"],
                "global_head_dim": 32,
            },
            64,
        ),
        ({"hidden_size": 64, "num_attention_heads": 4, "head_dim": 16, "per_layer_config": {"0": {"head_dim": 8}}}, 32),
        ({"hidden_size": 64, "num_attention_heads": 4, "num_attention_heads_per_layer": [2, 4], "head_dim": 16}, 32),
        ({"hidden_size": 9, "text_config": {"hidden_size": 64, "num_attention_heads": 4, "head_dim": 32}}, 128),
    ],
)
def test_z_is_as_wide_as_all_heads_together(config: dict[str, Any], width: int, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert width_at(tmp_path, HookPoint(layer=0, site=Site.Z)) == width
    stream = config.get("text_config", config)
    assert width_at(tmp_path, HookPoint(layer=0)) == stream.get("hidden_size", stream.get("n_embd"))


@pytest.mark.parametrize(
    ("config", "width"),
    [
        ({"hidden_size": 64, "intermediate_size": 200}, 200),
        ({"hidden_size": 64, "intermediate_size": [200, 300]}, 300),
        ({"n_embd": 48, "n_inner": None}, 192),
        (
            {
                "hidden_size": 64,
                "intermediate_size": 200,
                "use_double_wide_mlp": True,
                "num_hidden_layers": 2,
                "num_kv_shared_layers": 1,
            },
            400,
        ),
        (
            {
                "hidden_size": 64,
                "intermediate_size": 200,
                "use_double_wide_mlp": True,
                "num_hidden_layers": 3,
                "num_kv_shared_layers": 1,
            },
            200,
        ),
        ({"hidden_size": 64, "ffn_dim": 100}, 100),
    ],
)
def test_mlp_act_is_as_wide_as_there_are_neurons(config: dict[str, Any], width: int, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert width_at(tmp_path, HookPoint(layer=1, site=Site.MLP_ACT)) == width


def test_a_later_hook_reads_more(model: Path) -> None:
    fingerprints = {identify(model, HookPoint(layer=layer)).reads for layer in range(4)}
    assert len(fingerprints) == 4


@pytest.mark.parametrize(
    ("name", "layer", "reads"),
    [
        ("model.layers.10.mlp.weight", 1, False),
        ("model.layers.1.mlp.weight", 10, True),
        ("transformer.h.3.attn.weight", 3, True),
        ("transformer.wte.weight", 0, True),
        ("transformer.wpe.weight", 0, True),
        ("transformer.ln_f.weight", 5, False),
        ("gpt_neox.embed_in.weight", 0, True),
        ("embed_out.weight", 5, False),
        # Images become tokens before the first layer, whatever layers that takes.
        ("vision_tower.vision_model.encoder.layers.20.mlp.fc1.weight", 0, True),
        ("visual.blocks.30.attn.qkv.weight", 0, True),
        ("model.multi_modal_projector.linear_1.weight", 0, True),
        ("model.language_model.layers.20.mlp.up_proj.weight", 1, False),
    ],
)
def test_names_of_other_architectures_are_told_apart(name: str, layer: int, reads: bool) -> None:
    assert reads_hook(name, HookPoint(layer=layer)) is reads


@pytest.mark.parametrize(
    ("config", "experts"),
    [({"num_local_experts": 8}, 8), ({"n_routed_experts": 64, "num_experts_per_tok": 6}, 64), ({}, 0)],
)
def test_a_router_is_as_wide_as_there_are_experts(config: dict[str, int], experts: int, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 64, "num_attention_heads": 4} | config))
    assert width_at(tmp_path, HookPoint(layer=0, site=Site.ROUTER)) == experts


@pytest.mark.parametrize(
    ("name", "reads"),
    [("model.norm.weight", True), ("transformer.ln_f.bias", True), ("model.language_model.norm.weight", True),
     ("lm_head.weight", False), ("model.layers.3.input_layernorm.weight", True)],
)  # fmt: skip
def test_the_final_norm_counts_behind_it_alone(name: str, reads: bool) -> None:
    assert reads_hook(name, HookPoint(layer=5, site=Site.FINAL_NORM)) is reads
    assert reads_hook(name, HookPoint(layer=5)) is (reads and ".layers." in name)


@pytest.mark.parametrize("shards", [2, 5])
def test_how_a_checkpoint_is_sharded_does_not_matter(model: Path, tmp_path: Path, shards: int) -> None:
    one, many = identify(model, HOOK), identify(write(tmp_path / "sharded", tensors(), shards), HOOK)
    assert (one.reads, one.whole) == (many.reads, many.whole)


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w.update({"lm_head.weight": w["lm_head.weight"].reshape(2, 8)}),
        lambda w: w.update({"lm_head.weight": w["lm_head.weight"].view(torch.int32)}),
        lambda w: w.update({"extra.weight": torch.zeros(1)}),
        lambda w: w.pop("lm_head.weight"),
    ],
    ids=["shape", "dtype", "one more", "one less"],
)
def test_equal_bytes_under_another_shape_type_or_set_of_names_are_another_function(
    model: Path, tmp_path: Path, change: Callable[[dict[str, Tensor]], object]
) -> None:
    weights = tensors()
    change(weights)
    assert identify(write(tmp_path / "other", weights), HOOK).whole != identify(model, HOOK).whole


def test_tokenizer_and_template_have_hashes_of_their_own(model: Path, tmp_path: Path) -> None:
    before = identify(model, HOOK)
    (model / "tokenizer.json").write_text('{"model": {"vocab": {"a": 0}}}')
    tokenizer = identify(model, HOOK)
    assert tokenizer.tokenizer != before.tokenizer
    assert before.differences(tokenizer) == ("tokenizer",)
    (model / "tokenizer_config.json").write_text('{"chat_template": "{{ other }}"}')
    assert identify(model, HOOK).chat_template not in ("", before.chat_template)
    (model / "chat_template.jinja").write_text("{{ a file }}")
    in_file = identify(model, HOOK).chat_template
    (model / "tokenizer_config.json").unlink()
    assert identify(model, HOOK).chat_template == in_file
    (model / "chat_template.jinja").unlink()
    assert identify(model, HOOK).chat_template == ""


def test_a_truncated_file_is_named(model: Path) -> None:
    path = next(model.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InvalidInput, match=path.name):
        identify(model, HOOK)


@pytest.mark.parametrize("content", [b"", b"\x01", b"not safetensors at all, but long enough", b"\xff" * 64])
def test_a_file_that_is_no_safetensors_is_named(model: Path, content: bytes) -> None:
    path = next(model.glob("*.safetensors"))
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=path.name):
        identify(model, HOOK)


def test_what_is_missing_is_named(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"nowhere.*config\.json"):
        identify(tmp_path / "nowhere", HOOK)
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(model / "config.json", bare)
    with pytest.raises(ModelNotFound, match=r"no \*\.safetensors"):
        identify(bare, HOOK)
    (model / "config.json").write_text("{")
    with pytest.raises(InvalidInput, match=r"config\.json is not JSON"):
        identify(model, HOOK)


def test_a_hook_beyond_the_last_layer_is_refused(model: Path) -> None:
    with pytest.raises(InvalidInput, match="layers 0 to 3"):
        identify(model, HookPoint(layer=4))


COMMIT = "5" * 40


def test_a_snapshot_in_the_hugging_face_cache_has_a_name_and_a_revision(tmp_path: Path) -> None:
    snapshot = write(tmp_path / "hub" / "models--org--small-2b" / "snapshots" / COMMIT, tensors())
    linked = tmp_path / "linked"
    linked.symlink_to(snapshot)
    for folder in (snapshot, linked):
        identity = identify(folder, HOOK)
        assert (identity.name, identity.revision) == ("org/small-2b", COMMIT)
    plain = identify(write(tmp_path / "models--org--small-2b" / "copy", tensors()), HOOK)
    assert (plain.name, plain.revision) == ("copy", "")
    assert plain == identity.model_copy(update={"name": "copy", "revision": ""})


def test_a_folder_is_named_after_itself_however_it_is_written(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model)
    assert identify(Path(), HOOK).name == "model"


def test_an_identity_from_before_there_were_revisions_opens(model: Path) -> None:
    known = identify(model, HOOK).model_dump()
    known.pop("revision")
    assert ModelIdentity.model_validate(known) == identify(model, HOOK)
