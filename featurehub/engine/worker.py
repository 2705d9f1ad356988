"""What a frontend may ask of a worker, through vLLM's ``collective_rpc``. Mixed into vLLM's worker class by
``worker_extension_cls``.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from featurehub.engine.hook import HOOKS, RESID_POST

__all__ = ["EXTENSION", "HookWorker"]

EXTENSION = "featurehub.engine.worker.HookWorker"


class HookWorker:
    def featurehub_ready(self) -> bool:
        """Whether this worker's model carries the hook."""
        return RESID_POST in HOOKS

    def featurehub_report(self, key: str) -> dict[str, Any] | None:
        """Takes the ``SteerReport`` of the request with this key, as JSON types; None where nothing is known of it."""
        hook = HOOKS.get(RESID_POST)
        report = hook.report(key) if hook is not None else None
        return report.to_wire() if report is not None else None

    def featurehub_captured(self, keys: Sequence[str]) -> list[Tensor]:
        """Takes the captured streams, one [tokens, d_model] float32 tensor per key. Raises KeyError."""
        return [torch.cat(HOOKS[RESID_POST].captured.pop(key)) for key in keys]
