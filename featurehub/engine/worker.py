"""What a frontend may ask of a worker, through vLLM's ``collective_rpc``. Mixed into vLLM's worker class by
``worker_extension_cls``.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from featurehub.engine.hookset import current

__all__ = ["EXTENSION", "HookWorker"]

EXTENSION = "featurehub.engine.worker.HookWorker"


class HookWorker:
    def featurehub_ready(self) -> bool:
        """Whether this worker's model carries the hooks."""
        return current() is not None

    def featurehub_report(self, key: str) -> dict[str, Any] | None:
        """Takes the ``SteerReport`` of the request with this key, as JSON types; None where nothing is known of it."""
        hooks = current()
        report = hooks.report(key) if hooks is not None else None
        return report.to_wire() if report is not None else None

    def featurehub_captured(self, keys: Sequence[str], point: str) -> list[Tensor]:
        """Takes the streams captured at a hook point, one [tokens, d_model] float32 tensor per key. Raises KeyError."""
        hooks = current()
        return [hooks.captured(key, point) for key in keys] if hooks is not None else []
