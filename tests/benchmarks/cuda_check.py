"""What can only be seen on a GPU, in this order; a check that fails ends itself alone, and one table comes last.

    a  it loads and steers             eager; steered requests move, all others keep every token
    b  torch.compile and CUDA graphs   the same, and the graph's counter at sizes that are captured and that are not
    c  cost                            of a decoding step and of a request, beside plain vLLM (``cuda_cost.py``)
    d  the kernel                      against the naive reference in every dtype and size; then bytes over time
    e  harvest                         tokens per second against Hugging Face hooks that stop at the layer
    f  preemption, one-token chunks    the same tokens and counts as without pressure
    g  the loop                        build, steer by name, drift checks on the planted model (``cuda_loop.py``)

More of cost is ``tests/benchmarks/throughput.py``. No network, and no tokenizer but the planted model's: models are
made here, with random weights. Every engine is closed, and after each check little memory may be taken that was free
before.

    python tests/benchmarks/cuda_check.py --out RESULTS [--only a,b] [--limit SECONDS] [--device cpu]

``--device cpu`` runs the same script where there is no GPU, to see that the script itself is right. Results lie in
``results.json`` as soon as a check has ended, and what went wrong in ``<check>.txt``.
"""

import argparse
import json
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from cuda_cost import check_cost
from cuda_kernel import MIXED, check_kernel
from cuda_loop import check_loop
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table
from torch import Tensor

from featurehub.artifacts.manifest import HookPoint
from featurehub.conditions import Positions
from featurehub.dictionary import Dictionary
from featurehub.edits import LatentEdit, Steering
from featurehub.engine.config import EngineConfig, HookConfig, SaeConfig
from featurehub.engine.offline import Engine, EngineOptions, Generation, Sampling
from featurehub.features import Mode

D_MODEL, LAYERS, LAYER, D_SAE, VOCAB = 256, 6, 3, 512, 1024
ZERO = Steering(edits=(LatentEdit(latent=0, mode=Mode.NUDGE, value=0.0),))
STEERED = Steering(edits=MIXED, dose_max=2.0)
Results = dict[str, Any]


GIB = 1 << 30
LEFT_BEHIND = 1.0
"""GiB of the GPU that a check may leave taken: kernels, and the workspaces of libraries, but no KV cache."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="a,b,c,d,e,f,g")
    parser.add_argument("--limit", type=int, default=240, help="Seconds for each check.")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    check = Check(arguments.out, arguments.device)
    results: Results = {}
    for name in arguments.only.split(","):
        results[name] = outcome(CHECKS[name], check, arguments.limit, arguments.out / f"{name}.txt")
        (arguments.out / "results.json").write_text(json.dumps(results, indent=2))
        print(name, json.dumps(results[name]), flush=True)
    show(results)
    sys.exit(any("failed" in result for result in results.values()))


def outcome(run: "Callable[[Check], Results]", check: "Check", limit: int, log: Path) -> Results:
    """What the check found, or why it failed: none may cost the others."""
    started, taken = time.perf_counter(), taken_gib()
    try:
        with limited(limit):
            result = run(check)
        result["GiB left behind"] = round(taken_gib() - taken, 2)
        assert result["GiB left behind"] < LEFT_BEHIND, f"{result['GiB left behind']} GiB are not free again"
    except Exception as error:  # noqa: BLE001
        log.write_text(traceback.format_exc())
        result = {"failed": f"{type(error).__name__}: {str(error)[:600]}"}
    return result | {"seconds": round(time.perf_counter() - started, 1)}


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raises TimeoutError when the time is over."""

    def late(*_: Any) -> None:
        raise TimeoutError(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def taken_gib() -> float:
    """Of the GPU, by whoever; 0 where there is none."""
    if not torch.cuda.is_available():
        return 0.0
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    return (total - free) / GIB


class Check:
    """The model and the SAE that all checks share."""

    def __init__(self, out: Path, device: str) -> None:
        from transformers import LlamaConfig, LlamaForCausalLM

        self.out, self.device = out, device
        self.model = out / "model"
        torch.manual_seed(0)
        config = LlamaConfig(
            hidden_size=D_MODEL, num_hidden_layers=LAYERS, num_attention_heads=4, num_key_value_heads=2,
            intermediate_size=512, vocab_size=VOCAB, max_position_embeddings=2048, initializer_range=0.1,
        )  # fmt: skip
        LlamaForCausalLM(config).save_pretrained(self.model)
        rows = torch.nn.functional.normalize(torch.randn(D_SAE, D_MODEL), dim=-1)
        self.dictionary = Dictionary(rows, rows, torch.zeros(D_SAE), torch.zeros(D_MODEL), torch.full((D_SAE,), 0.1))
        (out / "sae").mkdir(exist_ok=True)
        self.dictionary.save(out / "sae" / "sae.safetensors")
        sae = SaeConfig(id="check", folder=out / "sae", d_sae=D_SAE)
        self.config = EngineConfig(hooks=(HookConfig(point=HookPoint(layer=LAYER), saes=(sae,)),))

    def engine(self, **options: Any) -> Engine:
        given = {
            "max_num_seqs": 64,
            "max_model_len": 256,
            "skip_tokenizer_init": True,
            "dtype": "bfloat16",
            "kv_cache_gib": 2,
        }
        engine = Engine(self.model, self.config, EngineOptions(**(given | options)))
        if self.device == "cuda":
            runner = engine.llm.llm_engine.engine_core.engine_core.model_executor.driver_worker.worker.model_runner
            module = type(runner).__module__
            assert module == "vllm.v1.worker.gpu.model_runner", f"the runner is {module}, not V2"
        return engine


def ask(engine: Engine, steerings: list[Steering | None], tokens: int = 24) -> list[Generation]:
    prompts = [[(7 * i + 3 * j) % VOCAB for j in range(5 + i % 9)] for i in range(len(steerings))]
    return list(engine.generate(prompts, steerings, Sampling(temperature=0.0, max_tokens=tokens)))


def halves_apart(engine: Engine, batch: int) -> Results:
    """Every second request steered, against the same batch with weight 0: shapes are equal, so bits must be."""
    mixed = ask(engine, [STEERED if i % 2 else None for i in range(batch)])
    zero = ask(engine, [ZERO if i % 2 else None for i in range(batch)])
    kept = [a.token_ids == b.token_ids for a, b in zip(mixed[::2], zero[::2], strict=True)]
    moved = [a.token_ids != b.token_ids for a, b in zip(mixed[1::2], zero[1::2], strict=True)]
    assert all(kept), f"{kept.count(False)} of {len(kept)} unsteered requests changed at batch {batch}"
    assert not moved or sum(moved) > len(moved) / 2, f"only {sum(moved)} of {len(moved)} steered requests changed"
    for i, answer in list(enumerate(mixed))[1::2]:
        assert answer.report is not None
        wanted = 5 + i % 9 + len(answer.token_ids) - 1
        counts = answer.report.seen_tokens, answer.report.steered_tokens
        assert counts == (wanted, wanted), f"request {i} of {batch}: {counts} counted, {wanted} computed"
    return {"batch": batch, "steered requests that changed": f"{sum(moved)} of {len(moved)}"}


def check_eager(check: Check) -> Results:
    with check.engine(enforce_eager=True) as engine:
        return halves_apart(engine, 16)


def check_graphs(check: Check) -> Results:
    """Sizes 1, 2, 4, 8, 16, 32 are captured by default, 3, 7, 13 and 41 are padded to the next."""
    with check.engine(enforce_eager=False) as engine:
        rows = [halves_apart(engine, batch) for batch in (2, 3, 4, 7, 8, 13, 16, 32, 41, 64)]
    return {f"batch {row['batch']}": row["steered requests that changed"] for row in rows}


def check_harvest(check: Check) -> Results:
    """The same documents of mixed lengths; padding does not count."""
    documents = [[(i + j) % VOCAB for j in range(32 + 11 * (i % 17))] for i in range(256)]
    tokens = sum(map(len, documents))
    with check.engine(enforce_eager=True) as engine:
        engine.capture(documents[:8])
        started = time.perf_counter()
        streams = engine.capture(documents)
        ours = tokens / (time.perf_counter() - started)
    assert sum(map(len, streams)) == tokens
    return {"tokens/s": round(ours), "of Hugging Face hooks": round(ours / hugging_face(check, documents), 2)}


def hugging_face(check: Check, documents: list[list[int]]) -> float:
    """Tokens per second with hooks that stop at the layer, in batches of equal length."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(check.model, dtype=torch.bfloat16).to(check.device).eval()
    model.model.layers = model.model.layers[: LAYER + 1]
    ordered = sorted(documents, key=len)
    started = time.perf_counter()
    with torch.no_grad():
        for start in range(0, len(ordered), 32):
            part = ordered[start : start + 32]
            width = max(map(len, part))
            ids = torch.tensor([each + [0] * (width - len(each)) for each in part], device=check.device)
            stream: Tensor = model.model(ids, use_cache=False).last_hidden_state.float().cpu()
            assert len(stream) == len(part)
    return sum(map(len, documents)) / (time.perf_counter() - started)


def check_pressure(check: Check) -> Results:
    steerings = [replace(STEERED, positions=Positions.GENERATED)] * 12
    with check.engine(enforce_eager=True) as engine:
        roomy = ask(engine, list(steerings), tokens=64)
    pressed = {"max_num_seqs": 6, "max_num_batched_tokens": 7, "num_gpu_blocks_override": 8, "block_size": 32}
    with check.engine(enforce_eager=True, max_model_len=128, **pressed) as engine:
        tight = ask(engine, list(steerings), tokens=64)
    again = sum(answer.report.recomputed_tokens for answer in tight if answer.report is not None)
    assert again > 0, "nothing was preempted: give fewer blocks"
    same = [a.token_ids == b.token_ids for a, b in zip(roomy, tight, strict=True)]
    counted = (
        [a.report and a.report.steered_tokens for a in roomy],
        [a.report and a.report.steered_tokens for a in tight],
    )
    assert counted[0] == counted[1] or not all(same), f"steered tokens differ: {counted}"
    return {"recomputed tokens": again, "equal answers": f"{sum(same)} of {len(same)}"}


CHECKS: dict[str, Callable[[Check], Results]] = {
    "a": check_eager, "b": check_graphs, "c": lambda check: check_cost(check.device),
    "d": lambda check: check_kernel(check.device), "e": check_harvest, "f": check_pressure,
    "g": lambda check: check_loop(check.out),
}  # fmt: skip


def show(results: Results) -> None:
    table = Table("check", "figure", "value")
    for name, figures in results.items():
        for figure, value in figures.items():
            table.add_row(name, figure, str(value))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
