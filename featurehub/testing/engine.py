"""An engine without a model, whose features fire at the words of their labels.

1. A text is one token per word, after a token that begins it.
2. Latent l is active at a token, with activation 1, where the token's word is one of its label's.
3. Of a request, every token of its prompt and its answer is computed, in order. An edit is in force at the request's
   positions where its condition holds; an abort ends the answer with the token at which its own does.
4. The dose of a token is a made-up ``DOSE`` times the sum of the coefficients of the nudges in force there.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from api.engine import FakeEngine, Tokens
from featurehub.activations import NO_LATENT, ActivationBlock, ActivationTotals, PackedActivations
from featurehub.conditions import Op, Positions
from featurehub.edits import Condition, Read, Steering, When
from featurehub.features import Mode
from featurehub.report import Aborted, HookCounts, SteerReport, TokenCounts
from featurehub.token_ids import Message

__all__ = ["DOSE", "WordEngine", "words_of"]

DOSE = 0.3
"""What a nudge with weight 1 moves the stream by, in shares of its length."""
START = ""
"""The text of the token that begins every text."""


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return re.findall(r"\w+", text.lower())


class WordEngine(FakeEngine):
    """The engine of a fake server.

    >>> from openai import InternalServerError
    >>> with fake_server(["pirate"]) as server:
    ...     server.engine.running = False
    ...     try:
    ...         Client(base_url=server.url, max_retries=0).features.inspect("a text")
    ...     except InternalServerError as error:
    ...         error.status_code
    503

    Args:
        labels: The label of each latent, from 0.
        hook: The hook point of the SAE.
        reply: What answers a chat, given its last message, or a completion, given its prompt.
    """

    def __init__(self, labels: Sequence[str], hook: str, reply: Callable[[str], str]) -> None:
        super().__init__()
        self.fires_at = [{*words_of(label)} for label in labels]
        self.hook, self.reply = hook, reply
        self.vocabulary: dict[str, int] = {START: 0}
        self.logprobs = {0: 0.0}

    def token_ids(self, text: str) -> list[int]:
        """A token for each word."""
        return [self.vocabulary.setdefault(word, len(self.vocabulary)) for word in text.split()]

    def tokens(self, text: str | Sequence[Message], *, to_continue: bool = False) -> Tokens:
        """The token that begins a text, then one for each word."""
        said = text if isinstance(text, str) else " ".join(str(each["content"]) for each in text)
        ids = [0, *self.token_ids(said)]
        return Tokens(ids, [at > 0 for at in range(len(ids))])

    def pieces(self, token_ids: Sequence[int]) -> list[str]:
        """The words, each with a space before it."""
        known = list(self.vocabulary)
        return [f" {known[each]}" if each else START for each in token_ids]

    def say(self, prompt: str | Sequence[Message], steering: Steering | None, id: str = "") -> list[str]:
        """See ``FakeEngine.say``: the words of the reply, until an abort ends it."""
        last = prompt if isinstance(prompt, str) else str(prompt[-1]["content"])
        words = self.reply(last).split(" ")
        if steering is None:
            return words
        asked, answer = self.tokens(prompt).ids, [self.token_ids(word) for word in words]
        ids = asked + [id for word in answer for id in word]
        report = self.reported(ids, len(asked), steering)
        before = self.reports.get(steering.report, [])
        assert isinstance(before, list)
        told = report.to_wire() | {"id": id, "requests": (len(before),)}
        self.reports[steering.report] = [*before, told]
        kept = len(ids) if report.aborted is None else report.aborted.position + 1
        ends = np.cumsum([len(asked), *map(len, answer)])[1:]
        return [word for word, end in zip(words, ends, strict=True) if end <= kept]

    def keep(self, key: str, report: SteerReport) -> None:
        """Keeps a report of one more answer, added to those of the others under its key."""
        earlier = [SteerReport.model_validate(self.reports[key])] if key in self.reports else []
        own = report.model_copy(update={"requests": (sum(len(each.requests) for each in earlier),)})
        self.reports[key] = sum(earlier, own).to_wire()

    async def run(
        self, token_ids: Sequence[int], steering: Steering, *, top: int = 0, chosen: int | None = None
    ) -> Mapping[int, float]:
        """Notes a report of these tokens; see ``FakeEngine.run``."""
        found = await super().run(token_ids, steering, top=top, chosen=chosen)
        if steering.report:
            self.reports[steering.report] = self.reported(list(token_ids), len(token_ids), steering).to_wire()
        return found

    def reported(self, ids: list[int], prompt_len: int, steering: Steering) -> SteerReport:
        """What comes of a steering at these tokens."""
        course = Course(self, ids, prompt_len, steering)
        aborted = course.aborted()
        if aborted is not None:
            course = Course(self, ids[: max(prompt_len, aborted.position + 1)], prompt_len, steering)
        everywhere = TokenCounts(seen_tokens=len(course.ids), expected_tokens=len(course.ids))
        return SteerReport(
            hooks={self.hook: course.counts()} if steering.edits else {},
            requests=(0,),
            conditions={self.hook: everywhere} if steering.conditions() else {},
            aborts=everywhere if steering.aborts else None,
            aborted=aborted,
            activations=course.activations() if steering.reads else None,
        )


class Course:
    """The course of one request: its tokens, and the latents that are active at each.

    Args:
        engine: Knows at which words latents are active.
        ids: The tokens of the prompt and the answer.
        prompt_len: How many of them are the prompt's.
        steering: What the request asks for.
    """

    def __init__(self, engine: WordEngine, ids: list[int], prompt_len: int, steering: Steering) -> None:
        self.ids, self.prompt_len, self.steering = ids, prompt_len, steering
        texts = [{*words_of(piece)} for piece in engine.pieces(ids)]
        self.active = np.array([[bool(text & own) for own in engine.fires_at] for text in texts])

    def holds(self, condition: Condition) -> "np.ndarray[Any, np.dtype[np.bool_]]":
        """At which tokens a condition holds."""
        activation = self.active[:, condition.latent].astype(float)
        met = activation > condition.value if condition.op is Op.ABOVE else activation < condition.value
        return np.logical_or.accumulate(met) if condition.so_far else met

    def true(self, when: When | None) -> "np.ndarray[Any, np.dtype[np.bool_]]":
        """At which tokens all or any of some conditions hold; everywhere without any."""
        if when is None:
            return np.ones(len(self.ids), bool)
        return (np.any if when.any else np.all)([self.holds(each) for each in when.conditions], axis=0)

    def within(self, first: int, stop: int) -> "np.ndarray[Any, np.dtype[np.bool_]]":
        """Which tokens lie in a stretch of positions."""
        at = np.arange(len(self.ids))
        return (at >= first) & (at < stop)

    def aborted(self) -> Aborted | None:
        """The first abort whose condition is met."""
        found = [
            Aborted(event=abort.event, index=index, position=int(np.flatnonzero(met)[0]))
            for index, abort in enumerate(self.steering.aborts)
            if (met := self.true(abort.when) & self.within(*abort.positions.bounds(self.prompt_len))).any()
        ]
        return min(found, key=lambda each: each.position, default=None)

    def counts(self) -> HookCounts:
        """At how many tokens the edits were in force, and with which dose."""
        asked = self.within(*self.steering.bounds(self.prompt_len))
        force = np.array([asked & self.true(edit.when) for edit in self.steering.edits])
        moved = np.array([edit.value if edit.mode is Mode.NUDGE else 0.0 for edit in self.steering.edits])
        raw = DOSE * np.abs(moved @ force)
        doses = np.minimum(raw, self.steering.dose_max)
        seen = len(self.ids) if self.steering.positions is not Positions.GENERATED else int(asked.sum())
        return HookCounts(
            seen_tokens=seen,
            expected_tokens=seen,
            steered_tokens=int(force.any(axis=0).sum()),
            dose_sum=float(doses.sum()),
            dose_max=float(doses.max(initial=0.0)),
            clipped=int((raw > doses).sum()),
            in_force={at: int(force[at].sum()) for at, edit in enumerate(self.steering.edits) if edit.when is not None},
        )

    def activations(self) -> PackedActivations:
        """What was read."""
        blocks = tuple(self.block(read) for read in self.steering.reads)
        return PackedActivations(blocks, tuple(self.totals(read) for read in self.steering.reads if read.totals))

    def block(self, read: Read) -> ActivationBlock:
        """The latents of each token that a read asks for."""
        rows = [[*np.flatnonzero(row)[: read.top_k], *read.latents] for row in self.active]
        columns = max(map(len, rows), default=0)
        latents = np.array([row + [NO_LATENT] * (columns - len(row)) for row in rows], int).reshape(len(rows), columns)
        values = np.take_along_axis(self.active, np.maximum(latents, 0), axis=1) * (latents != NO_LATENT)
        return ActivationBlock.pack(
            read.sae, np.arange(len(self.ids)), np.array(self.ids), latents, values.astype(np.float32)
        )

    def totals(self, read: Read) -> ActivationTotals:
        """What the latents did over the stretches that a read asks for."""
        inside = np.any([self.within(*stretch) for stretch in read.totals], axis=0)
        counts = self.active[inside].sum(axis=0)
        latents = np.flatnonzero(counts)
        return ActivationTotals(
            sae=read.sae,
            tokens=int(inside.sum()),
            latents=latents.astype("<i4").tobytes(),
            counts=counts[latents].astype("<i4").tobytes(),
            sums=counts[latents].astype("<f4").tobytes(),
            maxima=np.ones(len(latents), "<f4").tobytes(),
        )
