"""Tiny SAEs, written as other projects write theirs, with those projects' formulas."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from featurehub.artifacts.manifest import HookPoint, Site

D_MODEL, D_SAE, K = 12, 40, 6
NORM = 9.0


def x_of(seed: int = 5, tokens: int = 200) -> Tensor:
    return torch.randn(tokens, D_MODEL, generator=torch.Generator().manual_seed(seed)) * 2


class Weights(NamedTuple):
    """W_enc [d_model, d_sae], W_dec [d_sae, d_model]"""

    W_enc: Tensor
    W_dec: Tensor
    b_enc: Tensor
    b_dec: Tensor
    threshold: Tensor


def weights(dtype: torch.dtype = torch.float32) -> Weights:
    g = torch.Generator().manual_seed(3)
    return Weights(
        torch.randn(D_MODEL, D_SAE, generator=g).to(dtype),
        torch.randn(D_SAE, D_MODEL, generator=g).to(dtype),
        torch.randn(D_SAE, generator=g).to(dtype),
        torch.randn(D_MODEL, generator=g).to(dtype),
        torch.rand(D_SAE, generator=g).to(dtype) * 3,
    )


class Written(NamedTuple):
    """Files on disk, and the formulas of the project that they are of: x ↦ a, and a ↦ x̂."""

    path: Path
    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]
    hook: HookPoint | None
    model: str = ""
    k: float | None = None


def dump(path: Path, values: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


def store(path: Path, tensors: dict[str, Tensor]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(tensors, path) if path.suffix == ".safetensors" else torch.save(tensors, path)
    return path


def jump(z: Tensor, theta: Tensor | float) -> Tensor:
    return torch.relu(z) * (z > theta)


def snapshot(cache: Path, repository: str) -> Path:
    """The folder in which the hub's cache keeps a repository's only commit."""
    home, commit = cache / f"models--{repository.replace('/', '--')}", "0123456789abcdef" * 2 + "01234567"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    (home / "snapshots" / commit).mkdir(parents=True)
    return home / "snapshots" / commit


def gemma_scope(root: Path) -> Written:
    w, folder = weights(), root / "gemma-scope-2b-pt-mlp" / "layer_20" / "width_16k" / "average_l0_71"
    folder.mkdir(parents=True)
    np.savez(folder / "params.npz", **{name: each.numpy() for name, each in w._asdict().items()})
    hook = HookPoint(layer=20, site=Site.MLP_OUT)
    return Written(folder, lambda x: jump(x @ w.W_enc + w.b_enc, w.threshold), lambda a: a @ w.W_dec + w.b_dec, hook,
                   "gemma-2-2b", 71)  # fmt: skip


def gemma_scope_2(root: Path) -> Written:
    w, folder = weights(), root / "resid_post" / "layer_17_width_16k_l0_big"
    config = {
        "width": D_SAE, "model_name": "google/gemma-3-4b-pt", "architecture": "jump_relu", "l0": 150,
        "affine_connection": False, "hf_hook_point_in": "model.layers.17.output",
        "hf_hook_point_out": "model.layers.17.output", "type": "sae",
    }  # fmt: skip
    dump(folder / "config.json", config)
    store(folder / "params.safetensors", {name.lower(): tensor for name, tensor in w._asdict().items()})
    return Written(folder, lambda x: jump(x @ w.W_enc + w.b_enc, w.threshold), lambda a: a @ w.W_dec + w.b_dec,
                   HookPoint(layer=17), "google/gemma-3-4b-pt", 150)  # fmt: skip


def goodfire(root: Path) -> Written:
    w = weights(torch.bfloat16)
    path = store(
        root / "Llama-3.1-8B-Instruct-SAE-l19.pth",
        {
            "encoder_linear.weight": w.W_enc.T,
            "encoder_linear.bias": w.b_enc,
            "decoder_linear.weight": w.W_dec.T,
            "decoder_linear.bias": w.b_dec,
        },
    )
    return Written(path, lambda x: torch.relu(x @ w.W_enc.float() + w.b_enc), lambda a: a @ w.W_dec.float() + w.b_dec,
                   HookPoint(layer=19), "Llama-3.1-8B-Instruct")  # fmt: skip


def qresearch(root: Path) -> Written:
    w = weights(torch.bfloat16)
    tensors = {"encoder.weight": w.W_enc.T, "encoder.bias": w.b_enc, "decoder.weight": w.W_dec.T}
    path = store(root / "DeepSeek-R1-Distill-Llama-8B-SAE-l19.pt", {**tensors, "decoder.bias": w.b_dec})
    return Written(path, lambda x: torch.relu(x @ w.W_enc.float() + w.b_enc), lambda a: a @ w.W_dec.float() + w.b_dec,
                   HookPoint(layer=19), "DeepSeek-R1-Distill-Llama-8B")  # fmt: skip


def of_heads(root: Path) -> Written:
    w = weights()
    name = "gpt2-small_L5_Hcat_z_lr1.20e-03_l11.00e+00_ds49152_bs4096_dc1.00e-06_rsanthropic_rie25000_nr4_v9"
    dump(root / f"{name}_cfg.json", {"act_name": "blocks.5.attn.hook_z", "act_size": D_MODEL, "dict_size": D_SAE})
    tensors = {"W_enc": w.W_enc, "W_dec": w.W_dec, "b_enc": w.b_enc, "b_dec": w.b_dec}
    return Written(store(root / f"{name}.pt", tensors), lambda x: torch.relu((x - w.b_dec) @ w.W_enc + w.b_enc),
                   lambda a: a @ w.W_dec + w.b_dec, HookPoint(layer=5, site=Site.Z), "gpt2-small")  # fmt: skip


def qwen_scope(root: Path) -> Written:
    w = weights()
    dump(root / "config.json", {"model_type": "topk_sae", "base_model": "Qwen/Qwen3-1.7B-Base", "d_model": D_MODEL,
                                "d_sae": D_SAE, "k": K, "hook_point": "resid_post"})  # fmt: skip
    tensors = {"W_enc": w.W_enc.T, "W_dec": w.W_dec.T, "b_enc": w.b_enc, "b_dec": w.b_dec}
    path = store(root / "layer5.sae.pt", tensors)
    return Written(path, lambda x: torch.relu(x @ w.W_enc + w.b_enc), lambda a: a @ w.W_dec + w.b_dec,
                   HookPoint(layer=5), "Qwen/Qwen3-1.7B-Base", K)  # fmt: skip


def sparsify(root: Path) -> Written:
    w, folder = weights(torch.bfloat16), root / "run" / "layers.3.mlp"
    dump(root / "run" / "config.json", {"model": "EleutherAI/pythia-70m", "sae": {}})
    dump(folder / "cfg.json", {"activation": "topk", "expansion_factor": 32, "normalize_decoder": True,
                               "num_latents": D_SAE, "k": K, "multi_topk": False, "d_in": D_MODEL})  # fmt: skip
    tensors = {"encoder.weight": w.W_enc.T, "encoder.bias": w.b_enc, "W_dec": w.W_dec, "b_dec": w.b_dec}
    store(folder / "sae.safetensors", tensors)
    return Written(folder, lambda x: torch.relu((x - w.b_dec) @ w.W_enc.float() + w.b_enc),
                   lambda a: a @ w.W_dec.float() + w.b_dec, HookPoint(layer=3, site=Site.MLP_OUT),
                   "EleutherAI/pythia-70m", K)  # fmt: skip


def llama_scope(root: Path, **other: Any) -> Written:
    """Both sides of x ↦ x̂ are scaled by the norms; a and θ as lm-saes has them when an SAE is ready for use."""
    w, folder, s = weights(torch.bfloat16), root / "Llama3_1-8B-Base-L15M-8x", math.sqrt(D_MODEL) / NORM
    config = {
        "hook_point_in": "blocks.15.hook_mlp_out", "hook_point_out": "blocks.15.hook_mlp_out", "d_model": D_MODEL,
        "d_sae": D_SAE, "use_decoder_bias": True, "apply_decoder_bias_to_pre_encoder": False, "act_fn": "jumprelu",
        "jump_relu_threshold": 1.5, "norm_activation": "dataset-wise", "top_k": 50, "use_glu_encoder": False,
        "dataset_average_activation_norm": {"in": NORM, "out": NORM}, "sparsity_include_decoder_norm": True,
    }  # fmt: skip
    dump(folder / "hyperparams.json", config | other)
    tensors = {"encoder.weight": w.W_enc.T, "encoder.bias": w.b_enc, "decoder.weight": w.W_dec.T}
    store(folder / "checkpoints" / "final.safetensors", {**tensors, "decoder.bias": w.b_dec})
    return Written(folder, lambda x: jump(x @ w.W_enc.float() + w.b_enc.float() / s, 1.5),
                   lambda a: (s * a @ w.W_dec.float() + w.b_dec) / s, HookPoint(layer=15, site=Site.MLP_OUT),
                   k=50)  # fmt: skip


def llama_scope_r1(root: Path) -> Written:
    w, folder, s = weights(), root / "L15R", math.sqrt(D_MODEL) / NORM
    config = {
        "hook_point_in": "blocks.15.hook_resid_post", "hook_point_out": "blocks.15.hook_resid_post",
        "d_model": D_MODEL, "expansion_factor": 8, "act_fn": "jumprelu", "norm_activation": "dataset-wise",
        "apply_decoder_bias_to_pre_encoder": False, "use_decoder_bias": True, "sparsity_include_decoder_norm": False,
    }  # fmt: skip
    dump(folder / "config.json", config)
    tensors = {"encoder.weight": w.W_enc.T, "encoder.bias": w.b_enc, "decoder.weight": w.W_dec.T}
    tensors |= {"decoder.bias": w.b_dec, "log_jumprelu_threshold": (w.threshold + 0.1).log()}
    norms = {f"dataset_average_activation_norm.{side}": torch.tensor(NORM) for side in ("in", "out")}
    store(folder / "sae_weights.safetensors", tensors | norms)
    return Written(folder, lambda x: jump(s * x @ w.W_enc + w.b_enc, w.threshold + 0.1) / s,
                   lambda a: (s * a @ w.W_dec + w.b_dec) / s, HookPoint(layer=15))  # fmt: skip


def dictionary_learning(root: Path, dict_class: str) -> Written:
    """As its ``training.py`` saves a trainer's config and state dict."""
    w, lengths, r_mag, b_mag = weights(), weights().W_dec.norm(dim=-1), weights().b_enc / 3, weights().threshold - 1
    linear = {"encoder.weight": w.W_enc.T, "encoder.bias": w.b_enc, "decoder.weight": w.W_dec.T}
    plain = {"W_enc": w.W_enc, "b_enc": w.b_enc, "W_dec": w.W_dec, "b_dec": w.b_dec}
    count = {"k": torch.tensor(K, dtype=torch.int), "threshold": torch.tensor(1.25)}
    z = lambda x: (x - w.b_dec) @ w.W_enc  # noqa: E731
    tensors, encode = {
        "AutoEncoder": ({**linear, "bias": w.b_dec}, lambda x: torch.relu(z(x) + w.b_enc)),
        "AutoEncoderNew": ({**linear, "decoder.bias": w.b_dec}, lambda x: torch.relu(x @ w.W_enc + w.b_enc)),
        "AutoEncoderTopK": ({**linear, "b_dec": w.b_dec, **count}, lambda x: jump(z(x) + w.b_enc, 1.25)),
        "BatchTopKSAE": ({**linear, "b_dec": w.b_dec, **count}, lambda x: jump(z(x) + w.b_enc, 1.25)),
        "MatryoshkaBatchTopKSAE": (
            {**plain, **count, "group_sizes": torch.tensor([10, 30])}, lambda x: jump(z(x) + w.b_enc, 1.25),
        ),
        "JumpReluAutoEncoder": (
            {**plain, "threshold": w.threshold}, lambda x: lengths * jump(x @ w.W_enc + w.b_enc, w.threshold),
        ),
        "GatedAutoEncoder": (
            {"encoder.weight": w.W_enc.T, "decoder.weight": w.W_dec.T, "decoder_bias": w.b_dec, "r_mag": r_mag,
             "gate_bias": w.b_enc, "mag_bias": b_mag},
            lambda x: lengths * (z(x) + w.b_enc > 0) * torch.relu(r_mag.exp() * z(x) + b_mag),
        ),
    }[dict_class]  # fmt: skip
    folder = root / "resid_post_layer_3" / "trainer_1"
    trainer = {"dict_class": dict_class, "activation_dim": D_MODEL, "dict_size": D_SAE, "layer": 3,
               "lm_name": "EleutherAI/pythia-70m-deduped", "submodule_name": "resid_post_layer_3"}  # fmt: skip
    counted = dict_class.endswith(("TopK", "TopKSAE"))
    dump(folder / "config.json", {"trainer": trainer | ({"k": K} if counted else {}), "buffer": {"ctx_len": 128}})
    store(folder / "ae.pt", tensors)
    scaled = dict_class in ("JumpReluAutoEncoder", "GatedAutoEncoder")
    return Written(folder, encode, lambda a: (a / lengths if scaled else a) @ w.W_dec + w.b_dec, HookPoint(layer=3),
                   "EleutherAI/pythia-70m-deduped", K if counted else None)  # fmt: skip


DICTIONARY_CLASSES = (
    "AutoEncoder", "AutoEncoderNew", "AutoEncoderTopK", "BatchTopKSAE", "MatryoshkaBatchTopKSAE",
    "JumpReluAutoEncoder", "GatedAutoEncoder",
)  # fmt: skip
WRITERS: dict[str, Callable[[Path], Written]] = {
    "Gemma Scope": gemma_scope,
    "Gemma Scope 2": gemma_scope_2,
    "Goodfire": goodfire,
    "qresearch": qresearch,
    "Qwen Scope": qwen_scope,
    "sparsify": sparsify,
    "Llama Scope": llama_scope,
    "Llama Scope R1": llama_scope_r1,
    **{f"dictionary_learning {name}": lambda root, name=name: dictionary_learning(root, name)
       for name in DICTIONARY_CLASSES},
}  # fmt: skip
