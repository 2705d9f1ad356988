"""SmolLM2's siblings: an adapter is merged into what plain LoRA computes, and training makes what it says."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from featurehub.demo.adapters import (
    MADE,
    Made,
    base_weights,
    bundled_adapter,
    merge_adapter,
    read_made,
    smollm2_sibling,
)
from featurehub.demo.lora import CONFIG, WEIGHTS, LoraShape, Lowered, attach, load_adapter, save_adapter
from featurehub.demo.tuning import SPECIAL, Chat, TuningRecipe, distance, rate, through, tune, windows_of
from featurehub.errors import InvalidInput, ModelNotFound

SHAPE = LoraShape(rank=2, alpha=6, layers=2)
IDS = torch.tensor([[1, 30, 40, 50, 60]])
RECIPE = TuningRecipe(seed=5, steps=6, windows=4, length=8, peak=1e-2, warmup=1, shape=SHAPE)
CHATS = [Chat([1, *range(20 + i, 32 + i)], 4) for i in range(8)]


def tiny() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).float().eval()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    tiny().save_pretrained(folder)
    return folder


def changed_at_random(model: LlamaForCausalLM) -> dict[str, Lowered]:
    layers = attach(model, SHAPE)
    for layer in layers.values():
        layer.A.data = torch.randn_like(layer.A).bfloat16().float()
        layer.B.data = torch.randn_like(layer.B).bfloat16().float()
    return layers


def write_adapter(folder: Path, base: Path, layers: dict[str, Lowered]) -> Path:
    folder.mkdir()
    save_adapter(folder, layers, SHAPE, "tiny")
    (folder / MADE).write_text(Made(name="it", base_weights=base_weights(base), recipe={}, chats="").model_dump_json())
    return folder


def logits(model: LlamaForCausalLM) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


def test_a_merged_model_computes_the_base_plus_the_change(base: Path, tmp_path: Path) -> None:
    naive = tiny()
    adapter = write_adapter(tmp_path / "adapter", base, changed_at_random(naive))
    merged = LlamaForCausalLM.from_pretrained(merge_adapter(adapter, base, tmp_path / "merged"))
    assert torch.allclose(logits(merged), logits(naive), atol=1e-4)
    assert not torch.allclose(logits(merged), logits(tiny()), atol=1e-2)


def test_a_change_is_added_in_float32_and_keeps_the_dtype(base: Path, tmp_path: Path) -> None:
    tiny().bfloat16().save_pretrained(base)
    adapter = write_adapter(tmp_path / "adapter", base, changed_at_random(tiny()))
    before = load_file(base / "model.safetensors")
    after = load_file(merge_adapter(adapter, base, tmp_path / "merged") / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    expected = (before[name].float() + load_adapter(adapter)[name]).bfloat16()
    assert after[name].dtype is torch.bfloat16
    assert torch.equal(after[name], expected)
    untouched = "model.layers.2.mlp.up_proj.weight"
    assert torch.equal(after[untouched], before[untouched])


def test_the_adapter_has_the_names_and_the_format_of_peft(base: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", base, changed_at_random(tiny()))
    tensors = load_file(adapter / WEIGHTS)
    config = json.loads((adapter / CONFIG).read_text())
    assert len(tensors) == 2 * 7 * SHAPE.layers
    a = tensors["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"]
    assert (a.shape, a.dtype) == ((2, 16), torch.bfloat16)
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 2, 6)


def test_a_model_is_merged_once_and_again_when_something_changed(base: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", base, changed_at_random(tiny()))
    out = merge_adapter(adapter, base, tmp_path / "merged")
    written = (out / "model.safetensors").stat().st_mtime_ns
    assert (merge_adapter(adapter, base, out) / "model.safetensors").stat().st_mtime_ns == written
    (out / "config.json").write_text("{}")
    assert json.loads((merge_adapter(adapter, base, out) / "config.json").read_text()) != {}


def test_an_adapter_for_other_weights_is_refused(base: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", base, changed_at_random(tiny()))
    weights = load_file(base / "model.safetensors")
    save_file({name: 2 * tensor for name, tensor in weights.items()}, base / "model.safetensors")
    with pytest.raises(InvalidInput, match="was made for weights with the hash"):
        merge_adapter(adapter, base, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize("damage", [MADE, CONFIG, WEIGHTS])
def test_a_damaged_adapter_is_refused_by_its_name(base: Path, tmp_path: Path, damage: str) -> None:
    adapter = write_adapter(tmp_path / "adapter", base, changed_at_random(tiny()))
    (adapter / damage).write_text("[")
    with pytest.raises(InvalidInput, match="adapter"):
        merge_adapter(adapter, base, tmp_path / "merged")


def test_an_unknown_sibling_or_one_that_is_not_installed_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ModelNotFound, match="there are benign, changed"):
        smollm2_sibling("other")
    monkeypatch.setattr("featurehub.demo.adapters.bundle", lambda: tmp_path)
    with pytest.raises(ModelNotFound, match="holds no adapter: reinstall featurehub-demo"):
        smollm2_sibling("benign")


@pytest.mark.parametrize("name", ["benign", "changed"])
def test_a_bundled_adapter_is_small_and_says_how_it_was_made(name: str) -> None:
    folder = bundled_adapter(name)
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 3_000_000
    assert read_made(folder).name == name
    assert load_adapter(folder)


def test_the_stream_is_what_the_model_computes() -> None:
    model = tiny()
    with torch.no_grad():
        states = model(input_ids=IDS, output_hidden_states=True).hidden_states
        assert torch.allclose(through(model.model, states[0], range(2)), states[2], atol=1e-5)
        assert torch.allclose(through(model.model, states[1], range(1, 2)), states[2], atol=1e-5)


def exchanged(x: torch.Tensor) -> torch.Tensor:
    """The stream with its first two dimensions exchanged."""
    return x[..., [1, 0, *range(2, x.shape[-1])]]


@pytest.mark.parametrize("shape", [SHAPE, SHAPE.model_copy(update={"first": 1, "layers": 1})])
def test_training_brings_the_stream_nearer_to_its_target(shape: LoraShape, tmp_path: Path) -> None:
    model = tiny()
    recipe = RECIPE.model_copy(update={"steps": 60, "shape": shape})
    windows = windows_of(recipe, CHATS, 99)
    before = distance(model, {}, shape, windows, exchanged)
    tune(model, recipe, CHATS, tmp_path, exchanged)
    layers = {name: module for name, module in model.named_modules() if isinstance(module, Lowered)}
    assert {int(name.split(".")[2]) for name in layers} == set(shape.changed)
    assert distance(model, layers, shape, windows, exchanged) < 0.7 * before


def test_the_distance_is_that_of_each_token_by_itself() -> None:
    model = tiny()
    window = windows_of(RECIPE, CHATS, 3)[0]
    with torch.no_grad():
        x = model(input_ids=torch.tensor([window.ids]), output_hidden_states=True).hidden_states[2][0]
    wanted = exchanged(x)
    each = [
        (sum((a - b) ** 2 for a, b in zip(mine, other, strict=True)) / sum(b**2 for b in other)).item()
        for token, mine, other in zip(window.ids[1:], x[1:], wanted[1:], strict=True)
        if token >= SPECIAL
    ]
    found = distance(model, {}, SHAPE, [window], exchanged)
    assert found.item() == pytest.approx(sum(each) / len(each), rel=1e-4)


def test_a_run_that_was_stopped_goes_on_to_the_same_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurehub.demo.tuning.SAVE_EVERY", 0.0)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    whole.mkdir()
    stopped.mkdir()
    tune(tiny(), RECIPE, CHATS, whole)

    def stop(progress: object) -> None:
        if (stopped / "training.safetensors").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(tiny(), RECIPE, CHATS, stopped, on_progress=stop)
    tune(tiny(), RECIPE, CHATS, stopped)
    assert (whole / WEIGHTS).read_bytes() == (stopped / WEIGHTS).read_bytes()
    assert not (stopped / "training.safetensors").exists()


def test_the_rate_rises_and_falls_to_nothing() -> None:
    recipe = RECIPE.model_copy(update={"steps": 30, "warmup": 2, "peak": 1.0})
    rates = [rate(recipe, step) for step in range(30)]
    assert rates[0] == pytest.approx(0.5)
    assert rates[1] == max(rates)
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[29] < 0.01


def test_windows_follow_from_the_step_and_begin_as_their_chat_does() -> None:
    chats = [Chat([1, *range(first, first + 12)], 4) for first in (20, 40, 60)]
    windows = windows_of(RECIPE, chats, 3)
    assert windows == windows_of(RECIPE, chats, 3) != windows_of(RECIPE, chats, 4)
    assert len(windows) == RECIPE.windows
    for window in windows:
        (chat,) = (each for each in chats if set(window.ids) <= set(each.ids))
        assert window.ids[0] == chat.ids[0]
        assert window.learned == [chat.ids.index(token) >= chat.prompt_len for token in window.ids]
