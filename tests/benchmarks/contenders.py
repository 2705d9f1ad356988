"""Those who answer in ``throughput.py``: vLLM alone, featurehub, and its peers, each in a process of its own.

A contender reads lines from standard input, what a batch asks for, and prints the tokens per second of each. All have
the same shape of model (random weights), the same prompts, the same number of tokens to generate. A peer's edits are
nudges along a decoder row, which is what each of them offers; featurehub's are of all four modes.

    plain            vLLM, no plugin
    control          the same again: how far two equal processes lie apart
    featurehub       vLLM with the hook
    vllm-lens        vLLM with that plugin, which must lie on PYTHONPATH
    hooks            transformers with a forward hook, batched ``generate``
    transformerlens  sae-lens' way of steering: hooks on a TransformerLens model while it generates

Those of ``harvest.py`` stand in ``harvesters.py``, those of ``training.py`` in ``trainers.py``.
"""

import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harvesters import harvest, harvest_to_hook, hooks_to_layer, prefill
from shapes import CONTEXT, CROWD, PROMPT, SHAPES, VOCABULARY, Asked, Contender, Load, Shape
from trainers import featurehub_trainer, runner, trainer_from_disk

GPU_SHARE = "GPU_SHARE"
"""The variable that says to a contender how much of a GPU is its own."""


def prompts(batch: int) -> list[list[int]]:
    return [[10 + (7 * i + j) % 400 for j in range(PROMPT)] for i in range(batch)]


def vllm_engine(shape: Shape, folder: Path, compiled: bool, **options: Any) -> Any:
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_LOGGING_LEVEL": "ERROR"}
    import torch
    from vllm import LLM

    if torch.cuda.is_available():
        options["gpu_memory_utilization"] = float(os.environ[GPU_SHARE])
    return LLM(
        str(folder / "model"),
        load_format="dummy",
        dtype=shape.dtype,
        enforce_eager=not compiled,
        enable_prefix_caching=False,
        max_num_seqs=CROWD,
        max_model_len=CONTEXT,
        skip_tokenizer_init=True,
        disable_log_stats=True,
        **options,
    )


def generate(llm: Any, asked: Asked, extra_args: list[dict[str, Any] | None]) -> list[Any]:
    """extra_args: of each request"""
    from vllm import SamplingParams, TokensPrompt

    params = [
        SamplingParams(temperature=0.7, max_tokens=asked.tokens, ignore_eos=True, extra_args=each, detokenize=False)
        for each in extra_args
    ]
    inputs = [TokensPrompt(prompt_token_ids=prompt) for prompt in prompts(len(params))]
    return llm.generate(inputs, params, use_tqdm=False)


def plain(shape: Shape, folder: Path, compiled: bool) -> Contender:
    llm = vllm_engine(shape, folder, compiled)
    return lambda asked: asked.tokens * len(generate(llm, asked, [None] * asked.batch))


def featurehub(shape: Shape, folder: Path, compiled: bool) -> Contender:
    """Reports are fetched for every answer, as the server does; an answer without one ends the benchmark."""
    from featurehub.artifacts.manifest import HookPoint
    from featurehub.engine.config import EngineConfig, HookConfig, SaeConfig
    from featurehub.engine.worker import EXTENSION

    sae = SaeConfig(id="benchmark", folder=folder, d_sae=shape.d_sae)
    config = EngineConfig(hooks=(HookConfig(point=HookPoint(layer=shape.layer), saes=(sae,)),))
    options = {"additional_config": config.to_additional_config(), "worker_extension_cls": EXTENSION}
    llm = vllm_engine(shape, folder, compiled, **options)

    def answer(asked: Asked) -> int:
        generate(llm, asked, [steering(asked, i) for i in range(asked.batch)])
        keys = [f"r{i}" for i in range(asked.batch if asked.edits or asked.top_k else 0)]
        [reports] = llm.collective_rpc("featurehub_reports", args=(keys,))
        assert None not in reports
        return asked.tokens * asked.batch

    return answer


def steering(asked: Asked, request: int) -> dict[str, str] | None:
    from featurehub.edits import LatentEdit, Read, Steering
    from featurehub.features import Mode

    if not (asked.edits or asked.top_k):
        return None
    modes, which = itertools.cycle(Mode), request if asked.distinct else 0
    edits = tuple(
        LatentEdit(latent=8 * (which % 90) + i, mode=next(modes), value=20.0 + which) for i in range(asked.edits)
    )
    reads = (Read(top_k=asked.top_k),) if asked.top_k else ()
    return {"featurehub": Steering(edits=edits, reads=reads, report=f"r{request}").to_request()}


def vllm_lens(shape: Shape, folder: Path, compiled: bool) -> Contender:
    """Reading: it returns the stream, which the client encodes."""
    from vllm_lens import SteeringVector

    llm, sae = vllm_engine(shape, folder, compiled), dictionary(folder)

    def answer(asked: Asked) -> int:
        vectors = [
            SteeringVector(activations=20.0 * sae.W_dec[[k]], layer_indices=[shape.layer], scale=1.0)
            for k in range(asked.edits)
        ]
        wanted: dict[str, Any] = {"apply_steering_vectors": vectors} if vectors else {}
        if asked.top_k:
            wanted["output_residual_stream"] = [shape.layer]
        for output in generate(llm, asked, [dict(wanted) for _ in range(asked.batch)]):
            if asked.top_k:
                sae.encode(output.activations["residual_stream"][0].float()).topk(asked.top_k)
        return asked.tokens * asked.batch

    return answer


def hooks(shape: Shape, folder: Path, compiled: bool) -> Contender:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder / "model")
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, shape.dtype)).to(device()).eval()
    sae = dictionary(folder, device())
    options: dict[str, Any] = {"do_sample": True, "pad_token_id": 0}

    def answer(asked: Asked) -> int:
        edit = edit_of(sae, asked)
        handle = model.model.layers[shape.layer].register_forward_hook(lambda module, inputs, x: edit(x))
        with torch.no_grad():
            ids = torch.tensor(prompts(asked.batch), device=device())
            model.generate(ids, max_new_tokens=asked.tokens, min_new_tokens=asked.tokens, **options).tolist()
        handle.remove()
        return asked.tokens * asked.batch

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

    def answer(asked: Asked) -> int:
        edit = edit_of(sae, asked)
        with torch.no_grad(), model.hooks(fwd_hooks=[(point, lambda x, hook: edit(x))]):
            ids = torch.tensor(prompts(asked.batch), device=device())
            options = {"max_new_tokens": asked.tokens, "stop_at_eos": False, "temperature": 0.7, "verbose": False}
            generated: Any = model.generate(ids, **options)
            generated.tolist()
        return asked.tokens * asked.batch

    return answer


def edit_of(sae: Any, asked: Asked) -> Callable[[Any], Any]:
    """What a user of hooks writes: the same edits for the whole batch."""

    def edit(x: Any) -> Any:
        if asked.top_k:
            sae.encode(x.flatten(0, 1).float()).topk(asked.top_k)
        for k in range(asked.edits):
            x = x + 20.0 * sae.W_dec[k].to(x.dtype)
        return x

    return edit


def dictionary(folder: Path, device: str = "cpu") -> Any:
    from featurehub.dictionary import Dictionary

    loaded = Dictionary.load(folder / "sae.safetensors")
    return Dictionary._make(None if tensor is None else tensor.to(device) for tensor in loaded)


def device() -> str:
    """Where peers without vLLM run."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


CONTENDERS: dict[str, Load] = {
    "plain": plain,
    "control": plain,
    "featurehub": featurehub,
    "vllm-lens": vllm_lens,
    "hooks": hooks,
    "transformerlens": transformerlens,
    "prefill": prefill,
    "prefill-again": prefill,
    "harvest": harvest,
    "harvest-to-hook": harvest_to_hook,
    "hooks-to-layer": hooks_to_layer,
    "train": featurehub_trainer,
    "train-from-disk": trainer_from_disk,
    "runner": runner,
}
PLUGINS = dict.fromkeys(("featurehub", "harvest", "harvest-to-hook", "train", "train-from-disk"), "featurehub") | {
    "vllm-lens": "activations"
}


@contextmanager
def quiet() -> Iterator[None]:
    """Libraries print while they load; only rates may come out."""
    out = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(out, 1)
        os.close(out)


def serve(name: str, model: str, folder: Path, compiled: bool) -> None:
    """Answers each line of standard input, what a batch asks for, with its tokens per second."""
    with quiet():
        contender = CONTENDERS[name](SHAPES[model], folder, compiled)
    for line in sys.stdin:
        batch, edits, distinct, top_k, tokens = map(int, line.split())
        asked = Asked(batch, edits, bool(distinct), top_k, tokens)
        with quiet():
            started = time.perf_counter()
            tokens = contender(asked)
            seconds = time.perf_counter() - started
        print(f"RATE {tokens / seconds}", flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4:] == ["compiled"])
