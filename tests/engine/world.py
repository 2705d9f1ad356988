"""A small world for the hooks without vLLM: two hook points, three SAEs, streams by request and position.

Whatever runs in it runs under the naive reference at the same time.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from msgspec.structs import replace
from torch import Tensor

from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.conditions import Op, Positions
from featurehub.dictionary import Dictionary
from featurehub.edits import Abort, Condition, LatentEdit, Steering, When
from featurehub.engine.config import EngineConfig, HookConfig, SaeConfig
from featurehub.engine.hookset import HookSet, PausedRequest
from featurehub.engine.rows import Batch
from featurehub.features import Mode
from featurehub.report import SteerReport
from featurehub.steering import EditResult, Reference

D_MODEL, D_SAE, K = 16, 24, 6
FIRST, LAST = HookPoint(layer=1), HookPoint(layer=2, site=Site.MLP_OUT)


def make_dictionary(seed: int, gated: bool = False) -> Dictionary:
    """Rows of different lengths, an encoder that is no transpose of them; a gated one has steering vectors too."""
    generator = torch.Generator().manual_seed(seed)
    return Dictionary(
        W_enc=torch.randn(D_SAE, D_MODEL, generator=generator) / 4,
        W_dec=torch.randn(D_SAE, D_MODEL, generator=generator) / 4,
        b_enc=torch.randn(D_SAE, generator=generator) / 4,
        b_dec=torch.randn(D_MODEL, generator=generator) / 4,
        threshold=torch.rand(D_SAE, generator=generator) * (torch.arange(D_SAE) % 2),
        gain=torch.rand(D_SAE, generator=generator) + 0.5 if gated else None,
        offset=torch.randn(D_SAE, generator=generator) / 4 if gated else None,
        W_steer=torch.randn(D_SAE, D_MODEL, generator=generator) / 4 if gated else None,
    )


POINTS = (str(FIRST), str(LAST))
TOKENS, STOP = 1024, 77
Pair = tuple[Tensor, Tensor]

DICTIONARIES: Mapping[str, Mapping[str, Dictionary]] = {
    str(FIRST): {"a": make_dictionary(1), "b": make_dictionary(2, gated=True)},
    str(LAST): {"c": make_dictionary(3)},
}


def hooked(folder: Path, saes: Mapping[HookPoint, Mapping[str, Dictionary]], **fields: int) -> EngineConfig:
    """An engine's configuration with these SAEs, saved under ``folder``."""
    hooks = []
    for point, dictionaries in saes.items():
        for name, dictionary in dictionaries.items():
            (folder / name).mkdir(parents=True)
            dictionary.save(folder / name / "sae.safetensors")
        placed = (SaeConfig(id=name, folder=folder / name, d_sae=d.d_sae) for name, d in dictionaries.items())
        hooks.append(HookConfig(point=point, saes=tuple(placed)))
    return EngineConfig(hooks=tuple(hooks), **fields)


def unit_dictionary(seed: int, d_model: int, d_sae: int, threshold: float) -> Dictionary:
    """Unit decoder rows, and an encoder that is their transpose."""
    generator = torch.Generator().manual_seed(seed)
    W_dec = torch.nn.functional.normalize(torch.randn(d_sae, d_model, generator=generator), dim=-1)
    noise = torch.randn(d_sae, generator=generator) * 0.1
    return Dictionary(W_dec.clone(), W_dec, noise, torch.zeros(d_model), torch.full((d_sae,), threshold))


def make_config(folder: Path) -> EngineConfig:
    """Of the world's engine, with the SAEs saved under ``folder``."""
    return hooked(folder, {point: DICTIONARIES[str(point)] for point in (FIRST, LAST)}, max_edits=K, max_conditions=8)


def stream(request: int, position: int, hook: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Hidden and residual of one token, [d_model] each."""
    generator = torch.Generator().manual_seed(1 + request * 10_007 + position * 101 + hook)
    hidden, residual = torch.randn(2, D_MODEL, generator=generator).unbind()
    return (hidden * 3).to(dtype), (residual * 10).to(dtype)


VALUES = st.one_of(st.sampled_from([0.0, 1.0, -1.0]), st.floats(-20, 20, width=32))
LATENTS = st.integers(0, D_SAE - 1)


def conditions(saes: str) -> st.SearchStrategy[When]:
    condition = st.builds(
        Condition,
        sae=st.sampled_from(saes),
        latent=LATENTS,
        op=st.sampled_from(Op),
        value=st.floats(-1, 5, width=16),
        so_far=st.booleans(),
    )
    return st.builds(When, conditions=st.lists(condition, min_size=1, max_size=3).map(tuple), any=st.booleans())


def edits(sae: str, readable: str) -> st.SearchStrategy[LatentEdit]:
    return st.builds(
        LatentEdit,
        sae=st.just(sae),
        latent=LATENTS,
        mode=st.sampled_from(Mode),
        value=VALUES,
        when=st.one_of(st.none(), conditions(readable)),
    )


ABORTS = st.builds(
    Abort, event=st.sampled_from(["one", "two"]), when=conditions("abc"), positions=st.sampled_from(Positions)
)
STEERINGS = st.builds(
    Steering,
    edits=st.lists(st.one_of(edits("a", "ab"), edits("b", "ab"), edits("c", "abc")), max_size=K).map(tuple),
    positions=st.sampled_from(Positions),
    within=st.sampled_from([None, None, (0, 3), (1, 2), (4, 1000)]),
    dose_max=st.sampled_from([0.01, 0.3, 1.0, 1000.0]),
    aborts=st.one_of(st.just(()), st.lists(ABORTS, max_size=2).map(tuple)),
).filter(lambda steering: len(set(steering.conditions())) <= 8)


class Chunk(NamedTuple):
    """Tokens of request ``request`` in one step, from ``position`` on."""

    request: int
    position: int
    tokens: int


def token_id(request: int, position: int) -> int:
    return 1000 * request + position


class World:
    """Requests without a model, that run under a hook set and under the naive reference at the same time."""

    def __init__(
        self,
        config: EngineConfig,
        steerings: Sequence[Steering],
        prompt_len: int,
        dtype: torch.dtype,
        graphs: bool = False,
    ) -> None:
        self.hooks = HookSet(config, max(1, len(steerings)), TOKENS, D_MODEL, graphs=graphs)
        self.steerings = [replace(s, report=f"r{i}", stop_token=STOP) for i, s in enumerate(steerings)]
        self.references = [Reference(s, DICTIONARIES, prompt_len) for s in self.steerings]
        self.prompt_len = prompt_len
        self.dtype = dtype
        self.rows: dict[int, int] = {}
        self.computed: Counter[int] = Counter()
        self.reached: Counter[int] = Counter()
        self.parked: dict[int, PausedRequest] = {}
        self.naive: dict[tuple[int, int, str], EditResult] = {}
        self.ids = torch.zeros(TOKENS, dtype=torch.long)

    def step(self, chunks: list[Chunk]) -> None:
        """Between two tokens that are padding."""
        for chunk in chunks:
            self.computed[chunk.request] += chunk.tokens
            self.reached[chunk.request] = max(self.reached[chunk.request], chunk.position + chunk.tokens)
            if chunk.request not in self.rows:
                steering = self.steerings[chunk.request]
                parked = self.parked.pop(chunk.request, None)
                self.rows[chunk.request] = self.hooks.admit(steering, self.prompt_len, parked)
        starts = 1 + np.cumsum([0, *(chunk.tokens for chunk in chunks)])
        columns = [[self.rows[c.request] for c in chunks], starts[:-1], [c.tokens for c in chunks]]
        batch = Batch(*(np.array(each, np.int64) for each in (*columns, [c.position for c in chunks])))
        # One buffer for all steps, as a runner has it: what is read must not look at the next step's tokens.
        self.ids[1 : starts[-1]] = torch.tensor(
            [token_id(c.request, c.position + i) for c in chunks for i in range(c.tokens)]
        )
        self.hooks.begin_step(batch, self.ids)
        for index, hook in enumerate(self.hooks.hooks):
            before = self.streams(chunks, index)
            after = before[0].clone(), before[1].clone()
            hook.run(*after)
            self.compare(chunks, hook.name, before, after)
        sampled = torch.zeros(len(chunks), 1, dtype=torch.long)
        self.hooks.end_step(sampled, {self.rows[chunk.request]: i for i, chunk in enumerate(chunks)})
        ending = {chunk.request for chunk, token in zip(chunks, sampled[:, 0].tolist(), strict=True) if token == STOP}
        assert ending == {chunk.request for chunk in chunks if self.event(chunk.request) is not None}

    def event(self, request: int) -> str | None:
        """Of any token so far, those before a preemption among them."""
        events = (self.references[request].event(position) for position in range(self.reached[request]))
        return next((event for event in events if event is not None), None)

    def streams(self, chunks: list[Chunk], hook: int) -> tuple[Tensor, Tensor]:
        tokens = [(c.request, c.position + i) for c in chunks for i in range(c.tokens)]
        pairs = [stream(request, at, hook, self.dtype) for request, at in [(98, 0), *tokens, (99, 0)]]
        hidden, residual = zip(*pairs, strict=True)
        return torch.stack(hidden), torch.stack(residual)

    def compare(
        self, chunks: list[Chunk], name: str, before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor]
    ) -> None:
        tokens = [(c.request, c.position + i) for c in chunks for i in range(c.tokens)]
        untouched(before, after, 0)
        untouched(before, after, len(tokens) + 1)
        for at, (request, position) in enumerate(tokens, 1):
            x = before[0][at].float() + before[1][at].float()
            steered = self.references[request].at(name, position, x)
            self.naive[request, position, name] = steered
            if not self.is_edited(request, name, position):
                untouched(before, after, at)
            elif torch.equal(steered.x, x):  # Nothing, or too little to be seen in float32.
                assert torch.equal(after[0][at].float() + after[1][at].float(), x) or self.dtype is not torch.float32
            else:
                written(x, steered.x, after, at, self.dtype)

    def is_edited(self, request: int, name: str, position: int) -> bool:
        """Whether an edit that can change anything is in force there."""
        reference, steering = self.references[request], self.steerings[request]
        own = [e for e in steering.edits if e.sae in DICTIONARIES[name] and not e.is_nothing]
        held = any(reference.holds(edit.when, position) for edit in own)
        return held and reference.applies(position)

    def preempt(self, request: int) -> None:
        if request in self.rows:
            self.parked[request] = self.hooks.release(self.rows.pop(request))

    def report(self, request: int) -> SteerReport:
        report = self.hooks.report(f"r{request}")
        assert report is not None
        return report


def untouched(before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor], at: int) -> None:
    assert torch.equal(before[0][at], after[0][at])
    assert torch.equal(before[1][at], after[1][at])


def written(x: Tensor, steered: Tensor, after: tuple[Tensor, Tensor], at: int, dtype: torch.dtype) -> None:
    """The stream lies in the residual alone, rounded to the model's dtype once from what is naive to 1e-5."""
    hidden, residual = after[0][at], after[1][at]
    slack = 2e-5 * float(x.norm() + (steered - x).norm())
    if float((steered - x).abs().max()) <= slack and hidden.any():
        return  # So small a change may come to nothing at all in another order of summation.
    assert not hidden.any()
    assert bool(((steered - slack).to(dtype) <= residual).all())
    assert bool((residual <= (steered + slack).to(dtype)).all())


@st.composite
def schedules(draw: st.DrawFn, requests: int) -> list[list[Chunk] | int]:
    """Steps of chunks, and between them the preemption of a request, some of which is then computed again."""
    done = [0] * requests
    events: list[list[Chunk] | int] = []
    for _ in range(draw(st.integers(1, 6))):
        if draw(st.integers(0, 3)) == 0:
            request = draw(st.integers(0, requests - 1))
            done[request] = draw(st.integers(0, done[request]))
            events.append(request)
        chosen = draw(st.lists(st.integers(0, requests - 1), unique=True, min_size=1))
        chunks = [Chunk(i, done[i], draw(st.integers(1, 4))) for i in chosen]
        for chunk in chunks:
            done[chunk.request] += chunk.tokens
        events.append(chunks)
    return events


def check_report(world: World, request: int) -> None:
    """Every token is counted once, however often it was computed."""
    report, reference, steering = world.report(request), world.references[request], world.steerings[request]
    assert report.complete
    assert not report.lost(steering) or not world.prompt_len  # No real prompt is empty.
    computed = world.computed[request]
    reading = {name for name in POINTS if any(each.sae in DICTIONARIES[name] for each in steering.conditions())}
    assert {name: counts.seen_tokens for name, counts in report.conditions.items()} == dict.fromkeys(reading, computed)
    assert (report.aborts.seen_tokens if report.aborts else None) == (computed if steering.aborts else None)
    for name in POINTS:
        own = [e for e in steering.edits if e.sae in DICTIONARIES[name] and not e.is_nothing]
        assert (name in report.hooks) == bool(own)
        if not own:
            continue
        counts = report.hooks[name]
        at = [p for r, p, n in world.naive if (r, n) == (request, name) and reference.applies(p)]
        steered = [p for p in at if any(reference.holds(edit.when, p) for edit in own)]
        assert counts.steered_tokens == len(steered)
        doses = [world.naive[request, p, name].dose for p in steered]
        assert counts.dose_sum == pytest.approx(sum(doses), rel=1e-3, abs=1e-4)
        assert counts.dose_max == pytest.approx(max(doses, default=0.0), rel=1e-3, abs=1e-5)
        assert counts.dose_max <= steering.dose_max * (1 + 1e-5)
        for index, held in counts.in_force.items():
            assert held == sum(reference.holds(steering.edits[index].when, p) for p in at)
    events = [(p, reference.event(p)) for p in sorted({p for r, p, _ in world.naive if r == request})]
    first = next(((p, event) for p, event in events if event is not None), None)
    assert (report.aborted and (report.aborted.position, report.aborted.event)) == first


def whole_stream(request: int, hook: int, tokens: int) -> Tensor:
    return torch.stack([sum(stream(request, p, hook, torch.float32), torch.zeros(D_MODEL)) for p in range(tokens)])
