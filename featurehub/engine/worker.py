"""What a frontend may ask of a worker, through vLLM's ``collective_rpc``.

vLLM mixes the class into its worker's by ``worker_extension_cls``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.engine.config import EngineConfig
from featurehub.engine.exchange import Prepared, exchange, prepare
from featurehub.engine.hookset import current
from featurehub.engine.overhead import METER
from featurehub.engine.sampler import SAMPLER
from featurehub.engine.self_check import FOUND
from featurehub.errors import FeaturehubError
from featurehub.report import Wire

__all__ = ["EXTENSION", "HookWorker"]

EXTENSION = "featurehub.engine.worker.HookWorker"
"""The value of vLLM's ``worker_extension_cls``."""

PREPARED: list[Prepared] = []
"""What this worker has loaded and not put in place yet."""


class HookWorker:
    """Methods that vLLM's worker has besides its own."""

    def featurehub_findings(self) -> Sequence[Sequence[Any]] | None:
        """What the check at boot found (``featurehub.engine.self_check.Finding``); None if no model carries hooks."""
        return [tuple(each) for each in FOUND] if current() is not None else None

    def featurehub_weights(self) -> tuple[str, Mapping[str, str]]:
        """The identity of the loaded weights, and their checksums by name; none while they are being replaced."""
        hooks = current()
        if hooks is None:
            return "", {}
        if not hooks.weights.identity:
            hooks.weights.look(self.model_runner.get_model())  # type: ignore[attr-defined]
        return hooks.weights.identity, hooks.weights.sums

    def featurehub_identity(self) -> str:
        """The identity of the loaded weights; "" if nobody has asked for their checksums yet."""
        hooks = current()
        return hooks.weights.identity if hooks is not None else ""

    def featurehub_weights_changed(self, complete: bool) -> None:
        """Notes that the weights may have been replaced, or that they are being replaced if that is not complete."""
        if (hooks := current()) is not None:
            hooks.weights.change(self.model_runner.get_model(), complete)  # type: ignore[attr-defined]

    def featurehub_examine(self, points: Sequence[tuple[int, str]]) -> Sequence[Sequence[Any]]:
        """What the checks find at any hook points. Not while requests run.

        Args:
            points: Layer and site of each hook point.
        """
        from featurehub.engine.families import examine

        model = self.model_runner.get_model()  # type: ignore[attr-defined]
        return [tuple(each) for each in examine(model, [HookPoint(layer=at, site=Site(site)) for at, site in points])]

    def featurehub_reports(self, keys: Sequence[str]) -> list[list[Wire]]:
        """Takes the reports of requests.

        Args:
            keys: The report keys of the requests' steerings.

        Returns:
            For each key a ``SteerReport`` of each of its requests, or several of one that was preempted; nothing where
            no request is known.
        """
        hooks = current()
        with METER.host:
            return hooks.wires(keys) if hooks is not None else [[] for _ in keys]

    def featurehub_captured(self, keys: Sequence[str], point: str) -> list[Tensor]:
        """Takes the streams captured at a hook point.

        Args:
            keys: The report keys of the requests' steerings.
            point: Name of the hook point.

        Returns:
            A float32 tensor [tokens, d_model] for each key.

        Raises:
            KeyError: Nothing was captured under one of the keys.
            SteeringLost: The first tokens of a stream were dropped.
        """
        hooks = current()
        with METER.host:
            return [hooks.captured(key, point) for key in keys] if hooks is not None else []

    def featurehub_overhead(self) -> dict[str, float]:
        """What our part of the steps has cost so far.

        Returns:
            The sums of ``featurehub.engine.overhead.Seconds`` under their names, and under ``reading`` how many
            requests read activations now.
        """
        hooks = current()
        return {**METER.counted._asdict(), "reading": hooks.rows.reading_now() if hooks is not None else 0}

    def featurehub_sampled(self, share: float) -> tuple[list[Wire], float]:
        """Takes the samples of what the model reads; from the first call on, some are made.

        Args:
            share: The share of time that this may take, in (0, 1).

        Returns:
            The samples (``featurehub.input_drift.sample.Sample.wire``), and the seconds that they have taken in all.
            None of a worker that is not the first: it reads what the first does.
        """
        hooks = current()
        if hooks is None or getattr(self, "rank", 0):
            return [], 0.0
        with METER.host:
            return SAMPLER.look(hooks, share)

    def featurehub_prepare(self, config: Mapping[str, Any]) -> str:
        """Loads the SAEs of another configuration with the same hook points; nothing changes yet.

        Args:
            config: The ``EngineConfig`` as JSON types.

        Returns:
            Why it cannot be had; "" where it can.
        """
        hooks = current()
        if hooks is None:
            return "this worker has no hooks"
        try:
            PREPARED[:] = [prepare(hooks, EngineConfig.model_validate(config))]
        except FeaturehubError as error:
            return error.message
        return ""

    def featurehub_exchange(self) -> None:
        """Puts what was prepared in place."""
        hooks = current()
        assert hooks is not None
        exchange(hooks, PREPARED.pop())
