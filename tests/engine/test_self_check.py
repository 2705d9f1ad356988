"""The check at boot: it passes for every architecture as vLLM builds it, and refuses a hook that stands elsewhere."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import nn
from vllm.config import LoRAConfig

from featurehub.artifacts.fingerprint import width_at
from featurehub.artifacts.manifest import GIVEN, TAKEN, HookPoint, Site
from featurehub.engine import families, self_check
from featurehub.engine.config import EngineConfig
from featurehub.engine.hookset import install
from featurehub.engine.options import refuse_parts
from featurehub.engine.tower import Tower, argument_of, tower_of
from featurehub.errors import UnsupportedModel
from featurehub.families import FAMILIES, Norm
from tests.engine.tiny_models import ENDS, built, save_config, tiny_config

pytestmark = [
    pytest.mark.engine,
    # A model's end comes when memory is collected, which may be while another's experts are being compiled.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <function CPUDNNLGEMMHandler"),
]

BEHIND = HookPoint(layer=2, site=Site.FINAL_NORM)
DENSE = [site for site in Site if site not in (Site.ROUTER, Site.FINAL_NORM)]
INSIDE = (*(HookPoint(layer=1, site=site) for site in DENSE), BEHIND)
OWN_COPIES = tuple(HookPoint(layer=1, site=site) for site in Site if site in GIVEN)
# Dense and with experts, MLA, sliding and chunked attention, sandwich norms, side by side, multipliers, attention and
# state in turns: what needs neither a GPU nor a package that we do without.
DIFFERENT = (
    "ApertusForCausalLM", "ArceeForCausalLM", "BloomForCausalLM", "Cohere2MoeForCausalLM", "CohereForCausalLM",
    "DeepseekV3ForCausalLM", "Ernie4_5ForCausalLM", "Ernie4_5_MoeForCausalLM", "Exaone4ForCausalLM",
    "FalconForCausalLM", "GPT2LMHeadModel", "GPTJForCausalLM", "GPTNeoXForCausalLM", "Gemma2ForCausalLM",
    "Gemma3ForCausalLM", "Gemma4ForCausalLM", "Glm4ForCausalLM", "Glm4MoeForCausalLM", "GptOssForCausalLM",
    "GraniteForCausalLM", "GraniteMoeForCausalLM", "InternLM2ForCausalLM", "LlamaForCausalLM", "MiniCPM3ForCausalLM",
    "MiniCPMForCausalLM", "MixtralForCausalLM", "NemotronForCausalLM", "OPTForCausalLM", "Olmo2ForCausalLM",
    "OlmoeForCausalLM", "Phi3ForCausalLM", "Qwen2MoeForCausalLM", "Qwen3MoeForCausalLM", "Qwen3NextForCausalLM",
    "SeedOssForCausalLM", "StableLmForCausalLM",
)  # fmt: skip
WRAPPERS = (
    "AriaForConditionalGeneration", "Idefics3ForConditionalGeneration", "PaddleOCRVLForConditionalGeneration",
    "PaliGemmaForConditionalGeneration", "SmolVLMForConditionalGeneration",
)  # fmt: skip
"""Multimodal models around some of these."""
STREAM_AND_NONE = ("Gemma4ForCausalLM", "MiniCPM3ForCausalLM", "MiniCPMForCausalLM")
"""Their layers take and hand on a residual, which is None: the sum of a pair and the stream are the same."""


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Builds a model with hooks."""

    def model(architecture: str, *points: HookPoint) -> Any:
        save_config(architecture, tiny_config(architecture), tmp_path)
        return built(architecture, tmp_path, EngineConfig.capturing(*points))

    yield model
    install(None)


@pytest.mark.parametrize("architecture", [*DIFFERENT, *WRAPPERS])
def test_hooks_pass_in_the_model_as_vllm_builds_it(architecture: str, make: Callable[..., Any]) -> None:
    """At both ends of every layer, where attention and MLP are given what they read, and behind the final norm."""
    points = [*sorted([*ENDS, *OWN_COPIES], key=lambda point: point.order), BEHIND]
    make(architecture, *points).prove_hooks()
    at = {each.point for each in self_check.FOUND}
    assert at == {"", *map(str, points)}
    assert all(each.passes for each in self_check.FOUND)


class Shifted(Tower):
    """Hooks stand in the layer before."""

    def layer(self, point: HookPoint) -> nn.Module:
        return self.layers[max(point.layer - 1, 0)]


class Flipped(Tower):
    """A pair is taken for a stream, and a stream for a pair."""

    def pair(self, layer: int) -> bool:
        return not super().pair(layer)


def mistaken(monkeypatch: pytest.MonkeyPatch, change: Callable[[Tower], Tower]) -> None:
    monkeypatch.setattr(families, "tower_of", lambda *about: change(tower_of(*about)))


@pytest.mark.parametrize(
    ("architecture", "mistake"),
    [
        *((each, Shifted) for each in (*DIFFERENT, *WRAPPERS)),
        *((each, Flipped) for each in (*DIFFERENT, *WRAPPERS) if each not in STREAM_AND_NONE),
    ],
)
def test_a_wrong_layer_and_a_wrong_convention_are_refused(
    architecture: str, mistake: type[Tower], make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    mistaken(monkeypatch, lambda tower: mistake(*tower))
    with pytest.raises((UnsupportedModel, AttributeError), match=r"fails featurehub's check|does not return"):
        make(architecture, HookPoint(layer=1)).prove_hooks()


@pytest.mark.parametrize(
    ("architecture", "fields", "site", "named"),
    [
        # What stands behind attention or MLP and before the stream: a norm, or a factor.
        ("Gemma2ForCausalLM", {"attn_out": "self_attn"}, Site.ATTN_OUT, "sum of what its layer adds"),
        ("Gemma2ForCausalLM", {"mlp_out": "mlp"}, Site.MLP_OUT, "sum of what its layer adds"),
        ("Olmo2ForCausalLM", {"attn_out": "self_attn"}, Site.ATTN_OUT, "sum of what its layer adds"),
        ("Gemma2ForCausalLM", {"mid": "post_attention_layernorm"}, Site.RESID_MID, "edit|adds"),
        ("LlamaForCausalLM", {"mid": "input_layernorm"}, Site.RESID_MID, "edit|adds"),
        ("LlamaForCausalLM", {"z": "self_attn.qkv_proj"}, Site.Z, "what its module makes of it"),
        ("GPT2LMHeadModel", {"z": "attn.c_attn"}, Site.Z, "what its module makes of it"),
        ("LlamaForCausalLM", {"mlp_act": "mlp.gate_up_proj"}, Site.MLP_ACT, "what its module makes of it"),
        ("GPTNeoXForCausalLM", {"mlp_act": "mlp.dense_h_to_4h"}, Site.MLP_ACT, "what its module makes of it"),
        # What attention or the MLP is given: a norm in their place, the one in the other's, and what is behind it.
        ("LlamaForCausalLM", {"attn_in": "input_layernorm"}, Site.ATTN_IN, "norm of the stream"),
        ("GPT2LMHeadModel", {"attn_in": "ln_1"}, Site.ATTN_IN, "norm of the stream"),
        ("GPT2LMHeadModel", {"mlp_in": "ln_2"}, Site.MLP_IN, "norm of the stream"),
        ("LlamaForCausalLM", {"attn_in": "mlp"}, Site.ATTN_IN, "adds under an edit|norm of the stream"),
        ("LlamaForCausalLM", {"mlp_in": "self_attn"}, Site.MLP_IN, "what attention adds under an edit"),
        ("CohereForCausalLM", {"attn_in": "mlp"}, Site.ATTN_IN, "what attention adds under an edit is off by inf"),
        ("CohereForCausalLM", {"mlp_in": "self_attn"}, Site.MLP_IN, "what attention adds under an edit"),
        ("Gemma2ForCausalLM", {"mlp_in": "post_feedforward_layernorm"}, Site.MLP_IN, "norm of the stream"),
        ("Gemma2ForCausalLM", {"attn_in": "post_attention_layernorm"}, Site.ATTN_IN, "norm of the stream"),
        ("LlamaForCausalLM", {"norm": Norm.RMS_OFFSET}, Site.RESID_POST, "final norm"),
        ("Gemma2ForCausalLM", {"norm": Norm.RMS}, Site.RESID_POST, "final norm"),
        ("GPT2LMHeadModel", {"norm": Norm.RMS}, Site.RESID_POST, "final norm"),
    ],
)
def test_a_wrong_row_is_refused(
    architecture: str, fields: dict[str, Any], site: Site, named: str,
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    mistaken(monkeypatch, lambda tower: tower._replace(row=FAMILIES[architecture]._replace(**fields)))
    with pytest.raises(UnsupportedModel, match=named):
        make(architecture, HookPoint(layer=1, site=site)).prove_hooks()


SPARSE = ("DeepseekV3ForCausalLM", "MixtralForCausalLM", "GptOssForCausalLM")
TAKING = tuple(HookPoint(layer=1, site=site) for site in Site if site in TAKEN)


@pytest.mark.parametrize(
    "architecture",
    ["LlamaForCausalLM", "Gemma2ForCausalLM", "GPT2LMHeadModel", "DeepseekV3ForCausalLM", "FalconForCausalLM",
     "GPTJForCausalLM", "GraniteForCausalLM", "MixtralForCausalLM", "PaliGemmaForConditionalGeneration"],
)  # fmt: skip
def test_what_a_projection_takes_passes_and_in_the_layer_before_it_does_not(
    architecture: str, make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not the architecture has a row, and whatever stands between attention and the stream."""
    sites = [Site.Z, Site.MLP_ACT] if architecture not in SPARSE else [Site.Z]
    make(architecture, *(HookPoint(layer=1, site=site) for site in sites)).prove_hooks()
    assert all(each.passes for each in self_check.FOUND)
    mistaken(monkeypatch, lambda tower: Shifted(*tower))
    for site in sites:
        with pytest.raises(
            UnsupportedModel, match=rf"layers\.1\.{site} of .* the stream before its layer under an edit"
        ):
            make(architecture, HookPoint(layer=1, site=site)).prove_hooks()


@pytest.mark.parametrize("architecture", ["LlamaForCausalLM", "CohereForCausalLM", "GPTJForCausalLM"])
@pytest.mark.parametrize("point", OWN_COPIES, ids=str)
def test_what_a_part_is_given_in_the_layer_before_is_refused(
    architecture: str, point: HookPoint, make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    mistaken(monkeypatch, lambda tower: Shifted(*tower))
    with pytest.raises(UnsupportedModel, match=rf"{point} of .* the stream before its layer under an edit"):
        make(architecture, point).prove_hooks()


@pytest.mark.parametrize("point", OWN_COPIES, ids=str)
def test_an_edit_that_reaches_others_who_are_given_the_same_tensor_is_refused(
    point: HookPoint, make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Side by side, attention and MLP read one tensor."""

    def hook_all(module: nn.Module, name: str) -> None:
        families.hook_before(module, name, argument_of(module), None)

    monkeypatch.setattr(families, "hook_given", hook_all)
    make("LlamaForCausalLM", point).prove_hooks()
    if point.site is Site.MLP_IN:  # Attention has run by then.
        make("CohereForCausalLM", point).prove_hooks()
        return
    with pytest.raises(UnsupportedModel, match="the stream under an edit"):
        make("CohereForCausalLM", point).prove_hooks()


@pytest.mark.parametrize("site", [Site.MLP_IN, Site.MLP_OUT])
def test_an_adapter_in_the_place_of_a_hooked_projection_is_refused(site: Site, make: Callable[..., Any]) -> None:
    """In OPT's layers the MLP is two projections of their own, in others it is a module, which adapters leave there."""
    for architecture in ("OPTForCausalLM", "LlamaForCausalLM"):
        model = make(architecture, HookPoint(layer=1))
        with_adapters = copy.deepcopy(model.hooked_with)
        with_adapters.lora_config = LoRAConfig(max_lora_rank=8)
        if architecture == "LlamaForCausalLM":
            families.put(HookPoint(layer=1, site=site), model.tower, with_adapters)
            continue
        with pytest.raises(UnsupportedModel, match=rf"layers\.1\.{site} cannot be hooked with --enable-lora"):
            families.put(HookPoint(layer=1, site=site), model.tower, with_adapters)


def test_heads_of_another_size_in_some_layers_are_as_wide_as_the_configuration_says(tmp_path: Path) -> None:
    """Gemma 4: in layers that see all tokens."""
    config = {name: each for name, each in tiny_config("Gemma4ForCausalLM").items() if name != "per_layer_config"}
    save_config("Gemma4ForCausalLM", config | {"global_head_dim": 64}, tmp_path)
    points = [HookPoint(layer=layer, site=Site.Z) for layer in range(2)]
    model = built("Gemma4ForCausalLM", tmp_path, EngineConfig.capturing(*points))
    model.prove_hooks()
    widths = [model.tower.width(point) for point in points]
    assert widths == [width_at(tmp_path, point) for point in points]
    assert widths == [64, 128]
    install(None)


@pytest.mark.parametrize("architecture", SPARSE)
def test_a_layer_of_experts_has_no_neurons_and_says_so(architecture: str, make: Callable[..., Any]) -> None:
    with pytest.raises(UnsupportedModel, match=r"layers\.1\.mlp_act: .*experts have neurons of their own. It has"):
        make(architecture, HookPoint(layer=1, site=Site.MLP_ACT))


ROUTED = (*SPARSE, "Cohere2MoeForCausalLM", "Ernie4_5_MoeForCausalLM",
          "Glm4MoeForCausalLM", "GraniteMoeForCausalLM", "OlmoeForCausalLM", "Qwen2MoeForCausalLM",
          "Qwen3MoeForCausalLM", "Qwen3NextForCausalLM")  # fmt: skip
ROUTER = HookPoint(layer=1, site=Site.ROUTER)


@pytest.mark.parametrize("architecture", ROUTED)
def test_a_router_passes_and_in_the_layer_behind_it_does_not(
    architecture: str, make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make(architecture, ROUTER)
    model.prove_hooks()
    assert model.tower.width(ROUTER) == 4

    class Later(Tower):
        def router(self, point: HookPoint) -> Any:
            return super().router(HookPoint(layer=point.layer + 1, site=Site.ROUTER))

    mistaken(monkeypatch, lambda tower: Later(*tower))
    with pytest.raises(UnsupportedModel, match=r"layers\.1\.router of .* under an edit"):
        make(architecture, ROUTER).prove_hooks()


def test_a_dense_layer_has_no_router_and_says_so(make: Callable[..., Any]) -> None:
    with pytest.raises(UnsupportedModel, match=r"layers\.1\.router: .*among experts. Its MLP is a \w*MLP"):
        make("LlamaForCausalLM", ROUTER)


def test_a_layer_without_heads_has_no_z_and_says_what_it_has(make: Callable[..., Any]) -> None:
    """Of its layers, every fourth has attention."""
    with pytest.raises(UnsupportedModel, match=r"layers\.0\.z: this layer has no attention.*linear_attn \(QwenGated"):
        make("Qwen3NextForCausalLM", HookPoint(layer=0, site=Site.Z))
    make("Qwen3NextForCausalLM", HookPoint(layer=1, site=Site.Z)).prove_hooks()


@pytest.mark.parametrize("point", TAKING, ids=str)
def test_what_is_split_or_passed_by_is_refused_by_the_option(point: HookPoint, make: Callable[..., Any]) -> None:
    built_with = copy.deepcopy(make("LlamaForCausalLM", HookPoint(layer=1)).hooked_with)
    refuse_parts(point, built_with)
    built_with.parallel_config.tensor_parallel_size = 2
    with pytest.raises(UnsupportedModel, match=rf"{point} is split over the 2 ranks of --tensor-parallel-size"):
        refuse_parts(point, built_with)
    built_with.parallel_config.tensor_parallel_size, built_with.lora_config = 1, LoRAConfig(max_lora_rank=8)
    with pytest.raises(UnsupportedModel, match=rf"{point} cannot be hooked with --enable-lora"):
        refuse_parts(point, built_with)


def test_what_a_norm_adds_to_a_small_stream_is_no_error(tmp_path: Path) -> None:
    save_config("LlamaForCausalLM", tiny_config("LlamaForCausalLM") | {"rms_norm_eps": 0.3}, tmp_path)
    points = [*OWN_COPIES, BEHIND]
    built("LlamaForCausalLM", tmp_path, EngineConfig.capturing(*points)).prove_hooks()
    assert all(each.passes for each in self_check.FOUND)
    install(None)


def test_another_norm_in_the_place_of_the_final_one_is_refused(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Inner(Tower):
        def final_norm(self, point: HookPoint) -> nn.Module:
            return self.layers[point.layer].get_submodule("input_layernorm")

    mistaken(monkeypatch, lambda tower: Inner(*tower))
    with pytest.raises(UnsupportedModel, match=r"layers\.2\.final_norm of .*norm of the stream"):
        make("LlamaForCausalLM", BEHIND).prove_hooks()


def test_the_final_norm_is_at_the_last_layer_alone(make: Callable[..., Any]) -> None:
    with pytest.raises(
        UnsupportedModel, match=r"layers\.1\.final_norm: the final norm stands behind the last layer, 2"
    ):
        make("LlamaForCausalLM", HookPoint(layer=1, site=Site.FINAL_NORM))


def test_a_hook_that_never_runs_is_refused(make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "put", lambda *about: None)
    with pytest.raises(UnsupportedModel, match="number of times that its hook runs is off by 1"):
        make("LlamaForCausalLM", HookPoint(layer=1)).prove_hooks()


@pytest.mark.parametrize("architecture", ["GraniteForCausalLM", "MiniCPMForCausalLM"])
def test_what_is_added_with_a_factor_is_no_site(architecture: str, make: Callable[..., Any]) -> None:
    """Their attention and MLP are multiplied on the way into the stream."""
    with pytest.raises(UnsupportedModel, match=r"attn_out of this Hooked\w+ fails.*sum of what its layer adds"):
        make(architecture, HookPoint(layer=1, site=Site.ATTN_OUT)).prove_hooks()


@pytest.mark.parametrize(
    "architecture", ["LlamaForCausalLM", "Gemma3ForCausalLM", "OPTForCausalLM", "Olmo2ForCausalLM"]
)
def test_every_site_inside_a_layer_passes(architecture: str, make: Callable[..., Any]) -> None:
    make(architecture, *INSIDE).prove_hooks()
    assert {each.point for each in self_check.FOUND} == {"", *map(str, INSIDE)}
