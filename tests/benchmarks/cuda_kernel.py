"""Check d of ``cuda_check.py``: the kernel against the naive equation, and bytes over time."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from msgspec.structs import replace

from featurehub.artifacts.manifest import HookPoint
from featurehub.dictionary import Dictionary
from featurehub.edits import LatentEdit, Steering
from featurehub.engine.config import EngineConfig, HookConfig, SaeConfig
from featurehub.engine.hookset import HookSet
from featurehub.engine.rows import batch_of
from featurehub.features import Mode
from featurehub.steering import steer_token

__all__ = ["MIXED", "check_kernel"]

MIXED = tuple(
    LatentEdit(latent=i, mode=mode, value=value)
    for i, (mode, value) in enumerate([(Mode.NUDGE, 40.0), (Mode.PIN, 30.0), (Mode.MUL, -3.0), (Mode.ABLATE, 0.0)])
)


def check_kernel(device: str) -> dict[str, Any]:
    worst = 0.0
    for d_model in (64, 65, 576, 2048, 4096, 8192):
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            worst = max(worst, kernel_error(d_model, dtype, device))
    return {"largest error / bound of one rounding": round(worst, 3), "bandwidth": bandwidth(device)}


def kernel_hook(d_model: int, tokens: int, edits: tuple[LatentEdit, ...], device: str) -> tuple[Any, Dictionary]:
    rows = torch.nn.functional.normalize(torch.randn(32, d_model), dim=-1)
    dictionary = Dictionary(rows, rows, torch.zeros(32), torch.zeros(d_model), torch.full((32,), 0.1))
    folder = Path(tempfile.mkdtemp())
    dictionary.save(folder / "sae.safetensors")
    hook = HookConfig(point=HookPoint(layer=0), saes=(SaeConfig(id="k", folder=folder, d_sae=32),))
    hooks = HookSet(EngineConfig(hooks=(hook,)), 8, tokens, d_model, device=device, graphs=True)
    row = hooks.admit(Steering(edits=edits, dose_max=0.5), tokens)
    hooks.begin_step(batch_of([(row, 0, tokens, 0)]), torch.zeros(tokens, dtype=torch.long, device=device))
    return hooks.hooks[0], dictionary


def kernel_error(d_model: int, dtype: torch.dtype, device: str) -> float:
    """Largest difference from the naive equation, as a share of half a unit in the last place of the largest value."""
    hook, dictionary = kernel_hook(d_model, 16, MIXED, device)
    hidden, residual = (torch.randn(16, d_model, device=device).to(dtype) for _ in range(2))
    x = hidden.float() + residual.float()
    hook.run(hidden, residual)
    named = [replace(edit, sae="k") for edit in MIXED]
    wanted = torch.stack([steer_token(row, {"k": dictionary}, named, 0.5).x for row in x.cpu()])
    error = float((residual.cpu().float() - wanted).abs().max())
    bound = float(wanted.abs().max()) * max(torch.finfo(dtype).eps, 1e-5)
    assert error <= bound, f"d_model {d_model}, {dtype}: {error} is beyond {bound}"
    return error / bound


def bandwidth(device: str) -> str:
    """Bytes of stream read and written per second, steered by one nudge, beside a plain copy."""
    if device == "cpu":
        return "not measured"
    tokens, d_model = 8192, 4096
    hook, _ = kernel_hook(d_model, tokens, MIXED[:1], device)
    hidden, residual = (torch.randn(tokens, d_model, device=device, dtype=torch.bfloat16) for _ in range(2))
    moved = 4 * tokens * d_model * 2
    rates = {"op": moved / seconds(lambda: hook.run(hidden, residual)), "copy": moved / 2 / seconds(hidden.clone)}
    return ", ".join(f"{name} {rate / 1e12:.2f} TB/s" for name, rate in rates.items())


def seconds(work: Callable[[], Any], repeats: int = 20) -> float:
    work()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(repeats):
        work()
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / repeats
