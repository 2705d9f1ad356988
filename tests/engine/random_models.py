"""Tiny random models of every architecture that has a row, and the check of one against Hugging Face transformers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.edits import Condition, LatentEdit, Steering, When
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions, Sampling
from featurehub.families import FAMILIES
from featurehub.features import Mode
from featurehub.steering import Reference
from tests.engine.twin import without_shape_checks
from tests.engine.world import hooked, unit_dictionary

D_MODEL, VOCAB, LAYERS, D_SAE = 64, 96, 3, 32
PROMPTS = [[5, 9, 20, 31, 7], [3, 60, 61, 2, 90, 41, 8, 8, 15]]
SAMPLING = Sampling(temperature=0.0, max_tokens=8)
OPTIONS = EngineOptions(max_num_seqs=16, max_model_len=48, skip_tokenizer_init=True)
# Sites by the module of Hugging Face's layer whose output they are (whose input after a "<", a copy of it after ">").
LLAMA = {
    Site.ATTN_IN: ">self_attn",
    Site.Z: "<self_attn.o_proj",
    Site.ATTN_OUT: "self_attn",
    Site.RESID_MID: "<post_attention_layernorm",
    Site.MLP_IN: ">mlp",
    Site.MLP_ACT: "<mlp.down_proj",
    Site.MLP_OUT: "mlp",
}
SPARSE = {site: name for site, name in LLAMA.items() if site is not Site.MLP_ACT}
GEMMA = {
    Site.ATTN_IN: ">self_attn",
    Site.Z: "<self_attn.o_proj",
    Site.ATTN_OUT: "post_attention_layernorm",
    Site.RESID_MID: "<pre_feedforward_layernorm",
    Site.MLP_IN: ">mlp",
    Site.MLP_ACT: "<mlp.down_proj",
    Site.MLP_OUT: "post_feedforward_layernorm",
}
GPT2 = {
    Site.ATTN_IN: ">attn",
    Site.Z: "<attn.c_proj",
    Site.ATTN_OUT: "attn",
    Site.RESID_MID: "<ln_2",
    Site.MLP_IN: ">mlp",
    Site.MLP_ACT: "<mlp.c_proj",
    Site.MLP_OUT: "mlp",
}
NEOX = {
    Site.ATTN_IN: ">attention",
    Site.Z: "<attention.dense",
    Site.ATTN_OUT: "attention",
    Site.MLP_IN: ">mlp",
    Site.MLP_ACT: "<mlp.dense_4h_to_h",
    Site.MLP_OUT: "mlp",
}
OLMO2 = {
    Site.ATTN_IN: ">self_attn",
    Site.Z: "<self_attn.o_proj",
    Site.ATTN_OUT: "post_attention_layernorm",
    Site.RESID_MID: "<mlp",
    Site.MLP_IN: ">mlp",
    Site.MLP_ACT: "<mlp.down_proj",
    Site.MLP_OUT: "post_feedforward_layernorm",
}
PARALLEL = {
    Site.ATTN_IN: ">self_attn",
    Site.Z: "<self_attn.o_proj",
    Site.ATTN_OUT: "self_attn",
    Site.MLP_IN: ">mlp",
    Site.MLP_ACT: "<mlp.down_proj",
    Site.MLP_OUT: "mlp",
}
STARCODER2 = LLAMA | {Site.MLP_ACT: "<mlp.c_proj"}
OPT = {
    Site.ATTN_IN: ">self_attn",
    Site.Z: "<self_attn.out_proj",
    Site.ATTN_OUT: "self_attn",
    Site.RESID_MID: "<final_layer_norm",
    Site.MLP_IN: ">fc1",
    Site.MLP_ACT: "<fc2",
    Site.MLP_OUT: "fc2",
}

COMMON = {
    "vocab_size": VOCAB, "hidden_size": D_MODEL, "num_hidden_layers": LAYERS, "num_attention_heads": 2,
    "intermediate_size": 96, "max_position_embeddings": 64, "initializer_range": 0.3, "bos_token_id": 0,
    "eos_token_id": 95, "pad_token_id": 94, "tie_word_embeddings": False,
}  # fmt: skip
GROUPED = COMMON | {"num_key_value_heads": 1, "head_dim": 32}
# Their heads together are wider than the stream.
WIDE = GROUPED | {"head_dim": 64}
TIED = WIDE | {"query_pre_attn_scalar": 32, "tie_word_embeddings": True}


EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}


class Case:
    """One family: its transformers config, and where its modules lie."""

    def __init__(self, config: str, fields: dict[str, Any], layers: str, sites: dict[Site, str]) -> None:
        self.config = config
        self.fields = fields
        self.layers = layers
        self.sites = {Site.RESID_PRE: "<", **sites, Site.RESID_POST: ""}


CASES = {
    "LlamaForCausalLM": Case("LlamaConfig", GROUPED, "model.layers", LLAMA),
    "MistralForCausalLM": Case("MistralConfig", GROUPED | {"sliding_window": None}, "model.layers", LLAMA),
    "Phi3ForCausalLM": Case("Phi3Config", COMMON | {"num_key_value_heads": 1}, "model.layers", LLAMA),
    "Qwen2ForCausalLM": Case("Qwen2Config", COMMON | {"num_key_value_heads": 1}, "model.layers", LLAMA),
    "Qwen3ForCausalLM": Case("Qwen3Config", WIDE, "model.layers", LLAMA),
    "Gemma2ForCausalLM": Case("Gemma2Config", TIED, "model.layers", GEMMA),
    "Gemma3ForCausalLM": Case("Gemma3TextConfig", TIED, "model.layers", GEMMA),
    "GPT2LMHeadModel": Case(
        "GPT2Config",
        {"vocab_size": VOCAB, "n_embd": D_MODEL, "n_layer": LAYERS, "n_head": 2, "n_positions": 64,
         "initializer_range": 0.3, "bos_token_id": 0, "eos_token_id": 95},
        "transformer.h", GPT2,
    ),
    "GPTNeoXForCausalLM": Case("GPTNeoXConfig", COMMON, "gpt_neox.layers", NEOX),
    "ArceeForCausalLM": Case("ArceeConfig", GROUPED, "model.layers", LLAMA),
    "CohereForCausalLM": Case(
        "CohereConfig", COMMON | {"num_key_value_heads": 1, "tie_word_embeddings": True}, "model.layers", PARALLEL
    ),
    "Cohere2ForCausalLM": Case("Cohere2Config", GROUPED | {"tie_word_embeddings": True}, "model.layers", PARALLEL),
    "GemmaForCausalLM": Case("GemmaConfig", GROUPED | {"tie_word_embeddings": True}, "model.layers", LLAMA),
    "GlmForCausalLM": Case("GlmConfig", GROUPED, "model.layers", LLAMA),
    "MixtralForCausalLM": Case(
        "MixtralConfig", GROUPED | {"num_local_experts": 4, "num_experts_per_tok": 2}, "model.layers", SPARSE
    ),
    "Olmo2ForCausalLM": Case("Olmo2Config", COMMON, "model.layers", OLMO2),
    "Olmo3ForCausalLM": Case("Olmo3Config", COMMON, "model.layers", OLMO2),
    "OlmoeForCausalLM": Case("OlmoeConfig", COMMON | EXPERTS, "model.layers", SPARSE),
    "Qwen2MoeForCausalLM": Case(
        "Qwen2MoeConfig",
        COMMON | EXPERTS | {"num_key_value_heads": 1, "shared_expert_intermediate_size": 32},
        "model.layers", SPARSE,
    ),
    "Qwen3MoeForCausalLM": Case("Qwen3MoeConfig", GROUPED | EXPERTS, "model.layers", SPARSE),
    "SeedOssForCausalLM": Case("SeedOssConfig", GROUPED, "model.layers", LLAMA),
    "SmolLM3ForCausalLM": Case("SmolLM3Config", GROUPED, "model.layers", LLAMA),
    "Starcoder2ForCausalLM": Case("Starcoder2Config", COMMON | {"num_key_value_heads": 1}, "model.layers", STARCODER2),
    "OPTForCausalLM": Case(
        "OPTConfig",
        COMMON | {"ffn_dim": 96, "word_embed_proj_dim": D_MODEL, "init_std": 0.3},
        "model.decoder.layers", OPT,
    ),
}  # fmt: skip


def save_model(case: Case, folder: Path, **more: Any) -> nn.Module:
    torch.manual_seed(0)
    # Eager attention alone caps attention scores as Gemma 2 wants it.
    config = getattr(transformers, case.config)(**case.fields, **more)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():  # Biases and norms that are all alike would hide a hook in the wrong place.
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    model.eval().save_pretrained(folder)
    return model


class Tapped:
    """The Hugging Face model, with the naive equation at every hook point."""

    def __init__(self, model: nn.Module, case: Case, points: list[HookPoint]) -> None:
        self.model = model
        self.edit: Callable[[str, int, Tensor], Tensor] = lambda name, position, x: x
        self.seen: dict[str, Tensor] = {}
        layers = model.get_submodule(case.layers)
        for point in reversed(points):  # Of two before one module, the one that is registered last runs first.
            if point.site is Site.FINAL_NORM:
                self.tap(model, FAMILIES[type(model).__name__].final_norm, str(point))
            else:
                self.tap(layers[point.layer], case.sites[point.site], str(point))  # type: ignore[index]

    def tap(self, layer: nn.Module, where: str, name: str) -> None:
        module = layer.get_submodule(where.lstrip("<>"))
        if where.startswith("<"):
            module.register_forward_pre_hook(lambda _, inputs: self.change(name, inputs[0]), prepend=True)
        elif where.startswith(">"):
            module.register_forward_pre_hook(
                lambda _, args, kwargs: self.change_copy(name, args, kwargs), with_kwargs=True, prepend=True
            )
        else:
            module.register_forward_hook(lambda _, inputs, output: self.change(name, output))

    def change(self, name: str, output: Any) -> None:
        """In place, so that whoever holds the same tensor (the residual connection) sees it too."""
        stream = output[0] if isinstance(output, tuple) else output
        rows = stream.view(-1, stream.shape[-1])
        self.seen[name] = rows.clone()
        for position in range(len(rows)):
            rows[position] = self.edit(name, position, rows[position])

    def change_copy(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """What a module is given as others are not."""
        own = (args[0] if args else kwargs["hidden_states"]).clone()
        self.change(name, own)
        return ((own, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": own})

    def streams(self, ids: list[int]) -> dict[str, Tensor]:
        self.logits(ids)
        return dict(self.seen)

    @torch.no_grad()
    @without_shape_checks()
    def logits(self, ids: list[int]) -> Tensor:
        return self.model(torch.tensor([ids]), use_cache=False).logits[0, -1]

    def decode(self, prompt: list[int], steering: Steering, dictionaries: Mapping[str, Any]) -> list[int]:
        ids = list(prompt)
        for _ in range(SAMPLING.max_tokens):
            reference = Reference(steering, dictionaries, len(prompt))
            self.edit = lambda name, position, x, now=reference: now.at(name, position, x).x
            ids.append(int(self.logits(ids).argmax()))
            if ids[-1] == 95:
                break
        self.edit = lambda name, position, x: x
        return ids[len(prompt) :]


def check_against_transformers(architecture: str, folder: Path, model: nn.Module, out: Path, truncated: bool) -> None:
    """At every hook point at once: each is read, and each edited in turn, and all of them under a condition.

    Args:
        architecture: One of ``CASES``.
        folder: Folder of its model.
        model: The same in transformers, from before vLLM has started: it patches classes of transformers.
        out: A folder for SAEs.
        truncated: Whether an engine without the last layer is tried, too.

    Raises:
        AssertionError: A stream or an answer is another.
        UnsupportedModel: It cannot be hooked.
    """
    case = CASES[architecture]
    early = [HookPoint(layer=layer, site=site) for layer in (0, 1) for site in Site if site in case.sites]
    points = [*early, HookPoint(layer=LAYERS - 1, site=Site.FINAL_NORM)]
    tapped = Tapped(model, case, points)
    streams = [tapped.streams(prompt) for prompt in PROMPTS]
    saes = {
        point: {f"sae{seed}": unit_dictionary(seed, streams[0][str(point)].shape[1], D_SAE, 0.2)}
        for seed, point in enumerate(points)
    }
    dictionaries = {str(point): each for point, each in saes.items()}
    # Behind the final norm nothing bounds an edit, and a cap on the logits would make all tokens alike.
    strengths = {name: 10.0 if point.site is Site.FINAL_NORM else 300.0 for point in points for name in saes[point]}
    steerings = list(edits_of(strengths))
    wanted = [[tapped.decode(prompt, steering, dictionaries) for steering in steerings] for prompt in PROMPTS]
    with Engine(folder, hooked(out, saes), OPTIONS) as engine:
        for stream, captured in zip(streams, engine.capture(PROMPTS, *points), strict=True):
            beside = torch.cat([stream[str(point)] for point in points], dim=1)
            torch.testing.assert_close(captured, beside, rtol=1e-3, atol=1e-3)
        for prompt, (plain, *steered) in zip(PROMPTS, wanted, strict=True):
            answers = engine.generate([prompt] * len(steerings), steerings, SAMPLING)
            assert [answer.token_ids for answer in answers] == [plain, *steered]
            assert sum(tokens != plain for tokens in steered) > len(steered) / 3
    if truncated:
        with Engine(folder, EngineConfig.capturing(early[-1], truncated=True), OPTIONS) as engine:
            assert engine.llm.model_config.hf_text_config.num_hidden_layers == 2 < LAYERS
            for stream, captured in zip(streams, engine.capture(PROMPTS), strict=True):
                torch.testing.assert_close(captured, stream[str(early[-1])], rtol=1e-3, atol=1e-3)


def edits_of(strengths: Mapping[str, float]) -> Iterator[Steering]:
    """None at all, then one by each SAE, of its strength, then several under a condition."""
    yield Steering()
    for i, (sae, value) in enumerate(strengths.items()):
        yield Steering(edits=(LatentEdit(sae=sae, latent=i, mode=Mode.NUDGE, value=value),), dose_max=10.0)
    first, *_, last = strengths
    either = (Condition(sae=first, latent=2, value=0.3), Condition(sae=last, latent=3, value=0.3))
    when = When(conditions=either, any=True)
    pin = LatentEdit(sae=last, latent=5, mode=Mode.PIN, value=strengths[last], when=when)
    yield Steering(edits=(pin, LatentEdit(sae=first, latent=1, mode=Mode.ABLATE)), dose_max=10.0)
