"""Contenders of ``training.py``, which asks for a number of documents of 128 tokens, each trained on once:

train            featurehub harvests them through vLLM into shards, then trains one SAE with sae-lens' trainer
train-from-disk  the same on shards that are there already
runner           sae-lens' own runner: TransformerLens reads them into its buffer while the same SAE is trained
"""

import tempfile
from pathlib import Path
from typing import Any

from shapes import Asked, Contender, Shape

LENGTH, BATCH, K, BUFFER = 128, 2048, 12, 65_536


def documents(count: int) -> list[list[int]]:
    return [[10 + (7 * i + (1 + i % 5) * j) % 4000 for j in range(LENGTH)] for i in range(count)]


def featurehub_trainer(shape: Shape, folder: Path, compiled: bool, from_disk: bool = False) -> Contender:
    from featurehub.artifacts.fingerprint import identify
    from featurehub.artifacts.manifest import HookPoint
    from featurehub.engine.config import EngineConfig
    from featurehub.engine.offline import Engine, EngineOptions
    from saes.documents import Document
    from saes.harvest import HarvestConfig, harvest_documents
    from saes.recipes import Recipe
    from saes.run import TrainConfig
    from saes.stream import Stream, StreamConfig
    from saes.train import train

    hook = HookPoint(layer=shape.layer)
    identity = identify(folder / "model", hook)
    options = EngineOptions(dtype=shape.dtype, max_model_len=256, skip_tokenizer_init=True)
    engine = Engine(folder / "model", EngineConfig.capturing(hook, truncated=True), options)
    kept = tempfile.mkdtemp(dir=folder)

    def answer(asked: Asked) -> int:
        texts = [Document(ids, 1) for ids in documents(asked.batch)]
        with tempfile.TemporaryDirectory() as fresh:
            shards = Path(kept) / str(asked.batch) if from_disk else Path(fresh)
            harvest = harvest_documents(engine, texts, (), shards, identity, [hook], HarvestConfig())
            config = TrainConfig(tokens=asked.batch * LENGTH, batch_tokens=BATCH)
            stream = Stream(harvest, StreamConfig(buffer_tokens=BUFFER, batch_tokens=BATCH))
            train(stream, shape.hidden_size, [Recipe(d_sae=shape.d_sae, k=K)], config)
        return config.steps * BATCH

    return answer


def trainer_from_disk(shape: Shape, folder: Path, compiled: bool) -> Contender:
    return featurehub_trainer(shape, folder, compiled, from_disk=True)


def runner(shape: Shape, folder: Path, compiled: bool) -> Contender:
    from datasets import Dataset
    from sae_lens import LanguageModelSAERunnerConfig, LanguageModelSAETrainingRunner
    from sae_lens.config import LoggingConfig
    from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAEConfig

    model = transformerlens_model(shape, folder)

    def answer(asked: Asked) -> int:
        steps = max(1, asked.batch * LENGTH // BATCH)
        sae = BatchTopKTrainingSAEConfig(
            d_in=shape.hidden_size, d_sae=shape.d_sae, k=K, normalize_activations="expected_average_only_in"
        )
        config = LanguageModelSAERunnerConfig(
            sae=sae, model_name="llama", hook_name=f"blocks.{shape.layer}.hook_resid_post", context_size=LENGTH,
            training_tokens=steps * BATCH, train_batch_size_tokens=BATCH, store_batch_size_prompts=16,
            n_batches_in_buffer=BUFFER // (16 * LENGTH), n_batches_for_norm_estimate=20, prepend_bos=False,
            lr=2e-3, lr_scheduler_name="cosineannealing", lr_warm_up_steps=min(50, steps // 10), dead_feature_window=20,
            device="cpu", checkpoint_path=None, output_path=None, verbose=False,
            logger=LoggingConfig(log_to_wandb=False),
        )  # fmt: skip
        # Twice the text, since the scale is measured on some of it before.
        data = Dataset.from_dict({"tokens": documents(max(1024, 2 * asked.batch))})
        LanguageModelSAETrainingRunner(config, override_dataset=data, override_model=model).run()
        return steps * BATCH

    return answer


def transformerlens_model(shape: Shape, folder: Path) -> Any:
    """With the weights in ``folder``."""
    import torch
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions import convert_llama_weights
    from transformers import AutoModelForCausalLM

    dtype = getattr(torch, shape.dtype)
    config = HookedTransformerConfig(
        n_layers=shape.layers, d_model=shape.hidden_size, n_ctx=256, d_head=shape.hidden_size // shape.heads,
        n_heads=shape.heads, n_key_value_heads=shape.kv_heads, d_mlp=shape.intermediate_size, d_vocab=8192,
        act_fn="silu", normalization_type="RMS", positional_embedding_type="rotary", gated_mlp=True,
        rotary_dim=shape.hidden_size // shape.heads, dtype=dtype, device="cpu",
        original_architecture="LlamaForCausalLM", final_rms=True,
    )  # fmt: skip
    model = HookedTransformer(config).eval()
    theirs = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=dtype)
    model.load_state_dict(convert_llama_weights(theirs, config), strict=False)
    return model
