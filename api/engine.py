"""The seam to the engine: what the routes ask of it, and a fake of it for tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from featurehub.errors import EngineUnavailable

__all__ = ["FakeEngine", "SteeringEngine"]


class SteeringEngine(Protocol):
    """The running engine. ``api.serving.VllmEngine`` implements it on vLLM's client."""

    async def report(self, key: str) -> Mapping[str, Any] | None:
        """Takes the counts that a worker kept under ``key``; None where no worker has any.

        Raises:
            EngineUnavailable: The engine is gone.
        """
        ...

    async def alive(self) -> bool:
        """Whether the engine can still answer."""
        ...

    def pieces(self, token_ids: Sequence[int]) -> list[str]:
        """The text that each token adds to those before it. It may take long, so call it outside the event loop."""
        ...


@dataclass
class FakeEngine:
    """An engine without a model: it hands out the reports that a test put into it.

    Attributes:
        reports: The reports by key; each is handed out once.
        default: The report of every key that has none of its own.
        running: Whether the engine is alive; ``report`` raises EngineUnavailable where it is not.
        taken: The keys that were asked for, in order.
    """

    reports: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    default: Mapping[str, Any] | None = None
    running: bool = True
    taken: list[str] = field(default_factory=list)

    async def report(self, key: str) -> Mapping[str, Any] | None:
        """The report of ``key``, else the default. Raises EngineUnavailable where the engine is not running."""
        if not self.running:
            raise EngineUnavailable("the engine is gone")
        self.taken.append(key)
        return self.reports.pop(key, self.default)

    async def alive(self) -> bool:
        """Whether the engine is running."""
        return self.running

    def pieces(self, token_ids: Sequence[int]) -> list[str]:
        """A made-up text for each token: its id in angle brackets."""
        return [f"<{token_id}>" for token_id in token_ids]
