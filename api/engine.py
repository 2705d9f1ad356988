"""The seam to the engine: what the routes ask of it, and a fake of it for tests."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from api.told import LEAST_LOGPROB, DeviceWeights, Overhead, Tokens
from featurehub.artifacts.artifact import Artifact
from featurehub.edits import Steering
from featurehub.errors import EngineUnavailable
from featurehub.input_drift.sample import Sample
from featurehub.report import Wire
from featurehub.token_ids import Message

__all__ = ["LEAST_LOGPROB", "DeviceWeights", "FakeEngine", "Overhead", "SteeringEngine", "Tokens"]


class SteeringEngine(Protocol):
    """The running engine. ``api.vllm_engine.VllmEngine`` implements it on vLLM's client."""

    @property
    def context(self) -> int:
        """How many tokens a prompt and its answer can have together."""
        ...

    async def report(self, key: str) -> Sequence[Wire]:
        """Takes the reports that a worker kept under ``key``, of each request that ran under it, in any order.

        Raises:
            EngineUnavailable: The engine is gone.
        """
        ...

    async def alive(self) -> bool:
        """Whether the engine can still answer."""
        ...

    async def overhead(self) -> Overhead:
        """What our part of its steps has cost so far.

        Raises:
            EngineUnavailable: The engine is gone.
        """
        ...

    async def sampled(self, share: float) -> tuple[Sequence[Sample], float]:
        """Takes the samples of what the model reads; from the first call on some are made.

        Args:
            share: The share of time that this may take, in (0, 1).

        Returns:
            The samples since the last call, and the seconds that all have taken so far.

        Raises:
            EngineUnavailable: The engine is gone.
        """
        ...

    async def weights(self) -> DeviceWeights:
        """The weights that the engine computes with now. Raises EngineUnavailable."""
        ...

    async def identity(self) -> str:
        """The identity of these weights alone. Raises EngineUnavailable."""
        ...

    def renew(self, salt: str) -> None:
        """Makes KV blocks from now on others than those with another salt."""
        ...

    def pieces(self, token_ids: Sequence[int]) -> list[str]:
        """The text that each token adds to those before it. It may take long, so call it outside the event loop."""
        ...

    def tokens(self, text: str | Sequence[Message], *, to_continue: bool = False) -> Tokens:
        """A text or a chat as the model reads it. It may take long, so call it outside the event loop.

        Args:
            text: The text, or the messages of the chat.
            to_continue: Whether the model is to write on: a chat then ends where the assistant's turn begins or, if its
                last message is the assistant's, where that message ends.

        Raises:
            InvalidInput: It cannot be rendered, or is longer than the engine reads.
        """
        ...

    def token_ids(self, text: str) -> list[int]:
        """The tokens of a piece of text, with no special tokens around it. Raises InvalidInput."""
        ...

    async def generate(
        self, token_ids: Sequence[int], steering: Steering, *, tokens: int, temperature: float, seed: int
    ) -> list[int]:
        """What the model goes on with under a steering: at most so many tokens, and the one that ends it.

        Raises:
            InvalidEdit: The engine cannot do what the steering asks.
            EngineUnavailable: The engine is gone.
        """
        ...

    async def likelihoods(self, token_ids: Sequence[int], start: int) -> list[float]:
        """The log-probability of each token from ``start`` (at least 1) on, given those before it, unsteered.

        Raises:
            SteeringUnsupported: The engine was started so that it returns no such log-probabilities.
            EngineUnavailable: The engine is gone.
        """
        ...

    async def run(
        self, token_ids: Sequence[int], steering: Steering, *, top: int = 0, chosen: int | None = None
    ) -> Mapping[int, float]:
        """Lets the model read these tokens under a steering, whose report can be taken afterwards.

        Args:
            token_ids: The tokens, at least one.
            steering: What is done meanwhile.
            top: Of how many of the likeliest next tokens the log-probability is returned.
            chosen: A token whose log-probability is returned too, however likely it is.

        Returns:
            Natural logarithms of probabilities by token, of the model's whole distribution (temperature 1): that of
            ``chosen``, and those of the ``top`` likeliest, likeliest first.

        Raises:
            InvalidEdit: The engine cannot do what the steering asks.
            InvalidInput: ``top`` is more than the engine returns, or no token has the id ``chosen``.
            SteeringUnsupported: The engine was started so that it returns no such log-probabilities.
            EngineUnavailable: The engine is gone.
        """
        ...

    async def add(self, artifacts: Sequence[Artifact]) -> None:
        """Holds these SAEs too. Requests for them are not admitted yet.

        Raises:
            InvalidConfig: An SAE lies at a hook point that the engine does not have, or cannot be loaded.
            SteeringUnsupported: The engine cannot exchange its SAEs while it runs.
            EngineUnavailable: The engine is gone.
        """
        ...

    def admit_only(self, saes: Collection[str]) -> None:
        """Admits requests for the SAEs with these ids, of those that it holds, and refuses those for others."""
        ...

    async def keep_only(self, saes: Collection[str]) -> None:
        """Lets go of all SAEs but those with these ids. Raises what ``add`` raises."""
        ...


@dataclass
class FakeEngine:
    """An engine without a model: it hands out the reports that a test put into it.

    Attributes:
        reports: The reports by key, a list where there are several; each is handed out once.
        default: The reports of every key that has none of its own.
        running: Whether the engine is alive; ``report`` raises EngineUnavailable where it is not.
        taken: The keys that were asked for, in order.
        cost: What its steps have cost.
        ran: What it was given to read, in order.
        logprobs: Log-probabilities of the next tokens, whatever was read.
        exchanged: What it was told of its SAEs, in order: the verb, and ids.
        context: How many tokens a prompt and its answer can have together.
        models: The names of models that it answers for; None for all but "unknown".
        loaded: The weights that it claims to compute with.
        salts: The salts that it was given.
        samples: The samples that it hands out, all at the next call.
        shares: The shares of time that it was given for them.
    """

    reports: dict[str, Wire | Sequence[Wire]] = field(default_factory=dict)
    default: Wire | Sequence[Wire] | None = None
    running: bool = True
    taken: list[str] = field(default_factory=list)
    cost: Overhead = field(default_factory=Overhead)
    ran: list[tuple[list[int], Steering]] = field(default_factory=list)
    logprobs: Mapping[int, float] = field(default_factory=dict)
    exchanged: list[tuple[str, set[str]]] = field(default_factory=list)
    context: int = 4096
    models: Collection[str] | None = None
    loaded: DeviceWeights = field(default_factory=DeviceWeights)
    salts: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)

    async def weights(self) -> DeviceWeights:
        """Those that a test put into it."""
        return self.loaded

    async def identity(self) -> str:
        """Their identity."""
        return self.loaded.identity

    def renew(self, salt: str) -> None:
        """Notes the salt."""
        self.salts.append(salt)

    def say(self, prompt: str | Sequence[Message], steering: Steering | None, id: str = "") -> list[str]:
        """The words of the answer to the request ``id``: those of the prompt, or of a chat's last message."""
        return (prompt if isinstance(prompt, str) else str(prompt[-1].get("content"))).split(" ")

    async def report(self, key: str) -> Sequence[Wire]:
        """The reports of ``key``, else the default. Raises EngineUnavailable where the engine is not running."""
        if not self.running:
            raise EngineUnavailable("the engine is gone")
        self.taken.append(key)
        found = self.reports.pop(key, self.default)
        return [found] if isinstance(found, dict) else found or ()

    async def alive(self) -> bool:
        """Whether the engine is running."""
        return self.running

    async def overhead(self) -> Overhead:
        """The cost that a test put into it. Raises EngineUnavailable where the engine is not running."""
        if not self.running:
            raise EngineUnavailable("the engine is gone")
        return self.cost

    async def sampled(self, share: float) -> tuple[Sequence[Sample], float]:
        """Those that a test put into it. Raises EngineUnavailable where the engine is not running."""
        if not self.running:
            raise EngineUnavailable("the engine is gone")
        self.shares.append(share)
        handed, self.samples = self.samples, []
        return handed, 0.25

    def pieces(self, token_ids: Sequence[int]) -> list[str]:
        """A made-up text for each token: its id in angle brackets."""
        return [f"<{token_id}>" for token_id in token_ids]

    def tokens(self, text: str | Sequence[Message], *, to_continue: bool = False) -> Tokens:
        """A token for each word; the first is no content."""
        words = text if isinstance(text, str) else " ".join(str(each["content"]) for each in text)
        ids = self.token_ids(words)
        return Tokens(ids, [at > 0 for at in range(len(ids))])

    def token_ids(self, text: str) -> list[int]:
        """A token for each word."""
        return [sum(word.encode()) for word in text.split()]

    async def generate(
        self, token_ids: Sequence[int], steering: Steering, *, tokens: int, temperature: float, seed: int
    ) -> list[int]:
        """The first of the tokens again. Raises EngineUnavailable where the engine is not running."""
        await self.run(token_ids, steering)
        return list(token_ids[:tokens])

    async def likelihoods(self, token_ids: Sequence[int], start: int) -> list[float]:
        """-1 for each token. Raises EngineUnavailable where the engine is not running."""
        await self.run(token_ids, Steering())
        return [-1.0] * len(token_ids[start:])

    async def run(
        self, token_ids: Sequence[int], steering: Steering, *, top: int = 0, chosen: int | None = None
    ) -> Mapping[int, float]:
        """Notes the tokens and the steering. Raises EngineUnavailable where the engine is not running."""
        if not self.running:
            raise EngineUnavailable("the engine is gone")
        self.ran.append((list(token_ids), steering))
        likeliest = sorted(self.logprobs.items(), key=lambda each: -each[1])[:top]
        return dict(likeliest) | ({} if chosen is None else {chosen: self.logprobs.get(chosen, LEAST_LOGPROB)})

    async def add(self, artifacts: Sequence[Artifact]) -> None:
        """Notes the artifacts."""
        self.exchanged.append(("add", {each.manifest.id for each in artifacts}))

    def admit_only(self, saes: Collection[str]) -> None:
        """Notes the SAEs."""
        self.exchanged.append(("admit only", set(saes)))

    async def keep_only(self, saes: Collection[str]) -> None:
        """Notes the SAEs."""
        self.exchanged.append(("keep only", set(saes)))
