"""What the hook costs: tokens per second without featurehub, with the idle hook, and with every request steered.

Two processes hold a vLLM each, one with no plugin at all (``VLLM_PLUGINS=""``), one with the hook; the arms take turns,
so that the machine's moods hit all of them. Prints the ratios of medians with their spread; absolute figures mean
little.

    python tests/benchmarks/throughput.py [--rounds 7]
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ARMS = {"plain": "plain", "idle": "hooked", "1 edit": "hooked", "8 edits": "hooked"}
BATCH, TOKENS, LAYER, D_SAE, D_MODEL = 64, 64, 3, 768, 192


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--worker", choices=("plain", "hooked"))
    arguments = parser.parse_args()
    if arguments.worker:
        work(hooked=arguments.worker == "hooked")
    else:
        compare(arguments.rounds)


def compare(rounds: int) -> None:
    workers = {name: start(name) for name in ("plain", "hooked")}
    rates: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for _ in range(rounds):
        for arm, worker in ARMS.items():
            rates[arm].append(ask(workers[worker], arm))
    for process in workers.values():
        process.communicate("")
    plain = median(rates["plain"])
    for arm, measured in rates.items():
        spread = f"{min(measured) / plain:.3f} to {max(measured) / plain:.3f}"
        print(f"{arm:8} {median(measured) / plain:.3f} of plain   ({spread}; {median(measured):.0f} tokens/s)")


def start(name: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "VLLM_PLUGINS": "" if name == "plain" else "featurehub"}
    command = [sys.executable, __file__, "--worker", name]
    pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=quiet, text=True, env=environment)
    ask(process, "plain" if name == "plain" else "idle")
    return process


def ask(process: "subprocess.Popen[str]", arm: str) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    print(arm, file=process.stdin, flush=True)
    for line in process.stdout:
        if line.startswith("RATE "):
            return float(line.split()[1])
    raise SystemExit(f"the {arm} worker ended")


def work(hooked: bool) -> None:
    """Answers each line on standard input, an arm's name, with that arm's rate."""
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    from vllm import LLM, SamplingParams, TokensPrompt

    from featurehub.demo.bundle import bundled_model

    options = hooked_options() if hooked else {}
    llm = LLM(
        str(bundled_model()),
        dtype="float32",
        enforce_eager=True,
        enable_prefix_caching=False,
        max_num_seqs=BATCH,
        disable_log_stats=True,
        **options,
    )
    prompts = [TokensPrompt(prompt_token_ids=list(range(10, 42))) for _ in range(BATCH)]
    for line in sys.stdin:
        params = SamplingParams(temperature=0.7, max_tokens=TOKENS, ignore_eos=True, extra_args=carried(line.strip()))
        started = time.perf_counter()
        llm.generate(prompts, params, use_tqdm=False)
        print(f"RATE {BATCH * TOKENS / (time.perf_counter() - started)}", flush=True)


def hooked_options() -> dict:
    import tempfile

    import torch

    from featurehub.dictionary import Dictionary
    from featurehub.engine.config import EngineConfig
    from featurehub.engine.worker import EXTENSION

    folder = Path(tempfile.mkdtemp())
    rows, zeros = torch.nn.functional.normalize(torch.randn(D_SAE, D_MODEL), dim=-1), torch.zeros(D_SAE)
    Dictionary(rows, rows, zeros, torch.zeros(D_MODEL), zeros).save(folder / "sae.safetensors")
    config = EngineConfig(layer=LAYER, artifact=folder, d_sae=D_SAE)
    return {"additional_config": config.to_additional_config(), "worker_extension_cls": EXTENSION}


def carried(arm: str) -> dict | None:
    from featurehub.features import LatentEdit, Mode, Steering

    count = {"1 edit": 1, "8 edits": 8}.get(arm, 0)
    modes = [Mode.NUDGE, Mode.PIN, Mode.MUL, Mode.ABLATE]
    edits = tuple(LatentEdit(latent=i, mode=modes[i % 4], value=20.0) for i in range(count))
    return {"featurehub": Steering(hook="benchmark", edits=edits).to_json()} if count else None


if __name__ == "__main__":
    main()
