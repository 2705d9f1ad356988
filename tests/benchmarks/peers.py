"""Those who steer besides featurehub, as contenders of ``throughput.py``, each asked in its own way.

What they offer is a nudge along a vector: edits are decoder rows, added to the stream after the layer with the hook.

    vllm-lens        a plugin of vLLM's; reading, it returns the stream, which the client encodes; never compiled
    hotwire          a plugin of vLLM's; one vector for a layer and a request, and no reading; made for a GPU: on a CPU
                     vLLM has a runner of its own, in which the plugin is not installed, and answers come unsteered
    mia              IBM's vLLM-Hook, a plugin of vLLM's; one vector for a request, and an engine that steers does not
                     read; for vLLM's V2 runner alone, which is to say a GPU
    hooks            transformers with a forward hook, batched ``generate``
    transformerlens  sae-lens' way of steering: hooks on a TransformerLens model while it generates

The plugins run where they lie on PYTHONPATH. Where one takes a single vector, its edits are summed.
"""

import json
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from shapes import CONTEXT, PROMPT, VOCABULARY, Asked, Contender, Load, Shape
from vllm_alone import generate, prompts, tokens_of, vllm_engine

__all__ = ["PEERS", "PEER_PLUGINS", "READERS"]

DOSE, MOST_EDITS = 20.0, 8


def vllm_lens(shape: Shape, folder: Path, compiled: bool) -> Contender:
    steering_vector = import_module("vllm_lens").SteeringVector
    llm, sae = vllm_engine(shape, folder, compiled), dictionary(folder)

    def answer(asked: Asked) -> list[list[int]]:
        vectors = [
            steering_vector(activations=DOSE * sae.W_dec[[k]], layer_indices=[shape.layer], scale=1.0)
            for k in range(asked.edits)
        ]
        wanted: dict[str, Any] = {"apply_steering_vectors": vectors} if vectors else {}
        if asked.top_k:
            wanted["output_residual_stream"] = [shape.layer]
        outputs = generate(llm, asked, [dict(wanted) for _ in range(asked.batch)])
        for output in outputs if asked.top_k else ():
            sae.encode(output.activations["residual_stream"][0].float()).topk(asked.top_k)
        return tokens_of(outputs)

    return answer


def hotwire(shape: Shape, folder: Path, compiled: bool) -> Contender:
    """It takes its vectors from a folder when it starts. Of a request's entries for a layer only the last counts."""
    import torch

    import_module("hotwire")  # where it is missing, vLLM would run without it, and say nothing
    vectors = folder / "hotwire"
    vectors.mkdir()
    for edits, vector in sums(folder).items():
        torch.save(vector, vectors / f"{edits}.pt")
    os.environ["HOTWIRE_VECTORS"] = str(vectors)
    llm = vllm_engine(shape, folder, compiled)

    def answer(asked: Asked) -> list[list[int]]:
        spec = json.dumps({"id": str(asked.edits), "layer": shape.layer, "scale": DOSE})
        return tokens_of(generate(llm, asked, [{"hotwire": spec} if asked.edits else None] * asked.batch))

    return answer


def mia(shape: Shape, folder: Path, compiled: bool) -> Contender:
    """Each request names the file of its vector. Compiled, it has to be told before it loads, or would run eagerly."""
    import torch

    os.environ["MIA_ALLOW_CUDAGRAPH"] = str(int(compiled))
    import_module("mia.workers.steer_worker")
    for edits, vector in sums(folder).items():
        torch.save({"dir": vector}, folder / f"mia-{edits}.pt")
    options: dict[str, Any] = {"compilation_config": {"cudagraph_mode": "FULL"}} if compiled else {}
    worker = "mia.workers.steer_worker.SteerWorker"
    llm = vllm_engine(shape, folder, compiled, worker_extension_cls=worker, **options)

    def answer(asked: Asked) -> list[list[int]]:
        steer = {"method": "add_vector", "coefficient": DOSE, "optimal_layer": shape.layer}
        steer |= {"vector_path": str(folder / f"mia-{asked.edits}.pt")}
        return tokens_of(generate(llm, asked, [{"steer": steer} if asked.edits else None] * asked.batch))

    return answer


def hooks(shape: Shape, folder: Path, compiled: bool) -> Contender:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder / "model")
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, shape.dtype)).to(device()).eval()
    sae = dictionary(folder, device())

    def answer(asked: Asked) -> list[list[int]]:
        edit = edit_of(sae, asked)
        handle = model.model.layers[shape.layer].register_forward_hook(lambda module, inputs, x: edit(x))
        options: dict[str, Any] = {"max_new_tokens": asked.tokens, "min_new_tokens": asked.tokens}
        with torch.no_grad():
            ids = torch.tensor(prompts(asked.batch), device=device())
            generated = model.generate(ids, do_sample=not asked.greedy, pad_token_id=0, **options)
        handle.remove()
        return generated[:, PROMPT:].tolist()

    return answer


def transformerlens(shape: Shape, folder: Path, compiled: bool) -> Contender:
    import torch
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    config = HookedTransformerConfig(
        n_layers=shape.layers, d_model=shape.hidden_size, n_ctx=CONTEXT, d_head=shape.hidden_size // shape.heads,
        n_heads=shape.heads, n_key_value_heads=shape.kv_heads, d_mlp=shape.intermediate_size, d_vocab=VOCABULARY,
        act_fn="silu", normalization_type="RMS", positional_embedding_type="rotary", gated_mlp=True,
        rotary_dim=shape.hidden_size // shape.heads, dtype=getattr(torch, shape.dtype), device=device(),
    )  # fmt: skip
    model, sae = HookedTransformer(config).eval(), dictionary(folder, device())
    point = f"blocks.{shape.layer}.hook_resid_post"

    def answer(asked: Asked) -> list[list[int]]:
        edit = edit_of(sae, asked)
        with torch.no_grad(), model.hooks(fwd_hooks=[(point, lambda x, hook: edit(x))]):
            ids = torch.tensor(prompts(asked.batch), device=device())
            options = {"max_new_tokens": asked.tokens, "stop_at_eos": False, "temperature": 0.7, "verbose": False}
            generated: Any = model.generate(ids, do_sample=not asked.greedy, **options)
        return generated[:, PROMPT:].tolist()

    return answer


def edit_of(sae: Any, asked: Asked) -> Callable[[Any], Any]:
    """What a user of hooks writes: the same edits for the whole batch."""

    def edit(x: Any) -> Any:
        if asked.top_k:
            sae.encode(x.flatten(0, 1).float()).topk(asked.top_k)
        for k in range(asked.edits):
            x = x + DOSE * sae.W_dec[k].to(x.dtype)
        return x

    return edit


def sums(folder: Path) -> dict[int, Any]:
    """By the number of edits, their vectors in one, [d_model], for those who take one vector."""
    rows = dictionary(folder).W_dec[:MOST_EDITS]
    return {edits: rows[:edits].sum(0) for edits in range(1, MOST_EDITS + 1)}


def dictionary(folder: Path, device: str = "cpu") -> Any:
    from featurehub.dictionary import Dictionary

    loaded = Dictionary.load(folder / "sae.safetensors")
    return Dictionary._make(None if tensor is None else tensor.to(device) for tensor in loaded)


def device() -> str:
    """Where peers without vLLM run."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


PEERS: dict[str, Load] = {
    "vllm-lens": vllm_lens,
    "hotwire": hotwire,
    "mia": mia,
    "hooks": hooks,
    "transformerlens": transformerlens,
}
PEER_PLUGINS = {"vllm-lens": "activations", "hotwire": "hotwire", "mia": "mia"}
READERS = {"vllm-lens", "hooks", "transformerlens"}
"""Peers that read as well, in the engine that steers."""
