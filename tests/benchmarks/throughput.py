"""What the hook costs: tokens per second without featurehub, with idle hooks, and with every request steered or read.

Two processes hold a vLLM each, one with no plugin at all (``VLLM_PLUGINS=""``), one with the hook; the arms take turns,
so that the machine's moods hit all of them. Prints the ratios of medians with their spread; absolute figures mean
little. A prompt of 32 tokens and an answer of 16 per request, sampled.

    python tests/benchmarks/throughput.py [--model demo|wide] [--rounds 5] [--compiled]

demo: the bundled model, d_model 192;  wide: 30 layers of d_model 576 with random weights, bf16, 8 × 576 latents.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

BATCHES = (1, 8, 32, 64)
PROMPT, TOKENS = 32, 16
CROWD = 256


class Arm(NamedTuple):
    """What every request of a batch asks for. distinct: whether each asks for edits of its own"""

    name: str
    worker: str = "hooked"
    edits: int = 0
    distinct: bool = False
    top_k: int = 0


PLAIN = Arm("plain", "plain")
ARMS = (PLAIN, Arm("idle"), Arm("1 edit", edits=1), Arm("8 edits", edits=8), Arm("top-8 read", top_k=8))
EQUAL, DISTINCT = Arm("256 equal sets", edits=8), Arm("256 distinct sets", edits=8, distinct=True)


class Setting(NamedTuple):
    layer: int
    d_model: int
    d_sae: int
    dtype: str


SETTINGS = {"demo": Setting(3, 192, 768, "float32"), "wide": Setting(15, 576, 8 * 576, "bfloat16")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=SETTINGS, default="demo")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--worker", choices=("plain", "hooked"))
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.model, arguments.folder, arguments.worker == "hooked", arguments.compiled)
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(arguments.model, Path(folder))
        compare(arguments.model, Path(folder), arguments.rounds, arguments.compiled)


def prepare(model: str, folder: Path) -> None:
    """The SAE, and the model where it is not the bundled one."""
    import torch

    from featurehub.dictionary import Dictionary

    setting = SETTINGS[model]
    rows = torch.nn.functional.normalize(torch.randn(setting.d_sae, setting.d_model), dim=-1)
    zeros = torch.zeros(setting.d_sae)
    Dictionary(rows, rows, zeros, torch.zeros(setting.d_model), zeros).save(folder / "sae.safetensors")
    if model == "wide":
        from transformers import LlamaConfig, LlamaForCausalLM

        config = LlamaConfig(
            hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
            intermediate_size=1536, vocab_size=8192, max_position_embeddings=2048,
        )  # fmt: skip
        LlamaForCausalLM(config).bfloat16().save_pretrained(folder / "model")


def compare(model: str, folder: Path, rounds: int, compiled: bool) -> None:
    workers = {name: start(name, model, folder, compiled) for name in ("plain", "hooked")}
    for batch in BATCHES:
        show(batch, PLAIN, measure(workers, ARMS, batch, rounds))
    show(CROWD, EQUAL, measure(workers, (PLAIN, EQUAL, DISTINCT), CROWD, rounds))
    for process in workers.values():
        process.communicate("")


def measure(workers: dict[str, Any], arms: tuple[Arm, ...], batch: int, rounds: int) -> dict[Arm, list[float]]:
    """The first round warms up, and is not counted."""
    rates: dict[Arm, list[float]] = {arm: [] for arm in arms}
    for turn in range(rounds + 1):
        for arm in arms:
            rate = ask(workers[arm.worker], arm, batch)
            if turn:
                rates[arm].append(rate)
    return rates


def show(batch: int, baseline: Arm, rates: dict[Arm, list[float]]) -> None:
    base = median(rates[baseline])
    for arm, measured in rates.items():
        spread = f"{min(measured) / base:.3f} to {max(measured) / base:.3f}"
        ratio = f"{median(measured) / base:.3f} of {baseline.name}"
        print(f"batch {batch:3}  {arm.name:18} {ratio}   ({spread}; {median(measured):.0f} tokens/s)", flush=True)


def start(name: str, model: str, folder: Path, compiled: bool) -> "subprocess.Popen[str]":
    environment = {**os.environ, "VLLM_PLUGINS": "" if name == "plain" else "featurehub"}
    command = [sys.executable, __file__, "--worker", name, "--model", model, "--folder", str(folder)]
    pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
    process = subprocess.Popen(
        command + ["--compiled"] * compiled, stdin=pipe, stdout=pipe, stderr=quiet, text=True, env=environment
    )
    ask(process, PLAIN if name == "plain" else ARMS[1], 1)
    return process


def ask(process: "subprocess.Popen[str]", arm: Arm, batch: int) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    print(arm.edits, int(arm.distinct), arm.top_k, batch, file=process.stdin, flush=True)
    for line in process.stdout:
        if line.startswith("RATE "):
            return float(line.split()[1])
    raise SystemExit(f"the worker of {arm.name!r} ended")


def work(model: str, folder: Path, hooked: bool, compiled: bool) -> None:
    """Answers each line on standard input, what a batch asks for, with the batch's rate."""
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_LOGGING_LEVEL": "ERROR"}
    from vllm import LLM, SamplingParams, TokensPrompt

    from featurehub.demo.bundle import bundled_model

    llm = LLM(
        str(folder / "model" if model == "wide" else bundled_model()),
        dtype=SETTINGS[model].dtype,
        enforce_eager=not compiled,
        enable_prefix_caching=False,
        max_num_seqs=CROWD,
        max_model_len=256,
        skip_tokenizer_init=True,
        disable_log_stats=True,
        **(hooked_options(model, folder) if hooked else {}),
    )
    for line in sys.stdin:
        edits, distinct, top_k, batch = map(int, line.split())
        prompts = [TokensPrompt(prompt_token_ids=[10 + (7 * i + j) % 400 for j in range(PROMPT)]) for i in range(batch)]
        carried = [asked(i if distinct else 0, edits, top_k, i) for i in range(batch)]
        params = [
            SamplingParams(temperature=0.7, max_tokens=TOKENS, ignore_eos=True, extra_args=each, detokenize=False)
            for each in carried
        ]
        started = time.perf_counter()
        llm.generate(prompts, params, use_tqdm=False)
        rate = batch * TOKENS / (time.perf_counter() - started)
        if edits or top_k:
            check(llm, batch)
        print(f"RATE {rate}", flush=True)


def check(llm: Any, batch: int) -> None:
    """Fetches the reports, outside of the measured time: a server does it while it goes on."""
    for i in range(batch):
        [report] = llm.collective_rpc("featurehub_report", args=(f"r{i}",))
        assert report is not None


def hooked_options(model: str, folder: Path) -> dict[str, Any]:
    from featurehub.artifacts.manifest import HookPoint
    from featurehub.engine.config import EngineConfig, HookConfig, SaeConfig
    from featurehub.engine.worker import EXTENSION

    setting = SETTINGS[model]
    sae = SaeConfig(id="benchmark", folder=folder, d_sae=setting.d_sae)
    config = EngineConfig(hooks=(HookConfig(point=HookPoint(layer=setting.layer), saes=(sae,)),))
    return {"additional_config": config.to_additional_config(), "worker_extension_cls": EXTENSION}


def asked(which: int, edits: int, top_k: int, key: int) -> dict[str, str] | None:
    from featurehub.edits import LatentEdit, Read, Steering
    from featurehub.features import Mode

    modes = list(Mode)
    steering = Steering(
        edits=tuple(
            LatentEdit(latent=8 * (which % 90) + i, mode=modes[i % 4], value=20.0 + which) for i in range(edits)
        ),
        reads=(Read(top_k=top_k),) if top_k else (),
        report=f"r{key}",
    )
    return None if steering.is_nothing else {"featurehub": steering.to_json()}


if __name__ == "__main__":
    main()
