"""A request that uses one SAE is answered by an engine with several, bit by bit, as by an engine with that one.

In eager mode, a request at a time, so that the same shapes run.
"""

from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from msgspec.structs import replace
from torch import Tensor

from featurehub.conditions import Op
from featurehub.demo.bundle import bundled_model
from featurehub.edits import Condition, LatentEdit, Read, Steering, When
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions, Sampling
from featurehub.features import Mode
from featurehub.report import SteerReport
from tests.engine.mixes import EARLY, LATE, SAES
from tests.engine.world import hooked

pytestmark = pytest.mark.engine

PROMPT = list(range(20, 60))
SAMPLING = Sampling(temperature=0.7, max_tokens=24, seed=5)
POINTS = {"a": EARLY, "c": LATE}


class Answer(NamedTuple):
    token_ids: list[int]
    report: SteerReport
    stream: Tensor


def steerings(sae: str) -> list[Steering]:
    """Of one SAE: every mode, a condition, and what it reads."""
    when = When(conditions=(Condition(sae=sae, latent=5, op=Op.ABOVE, value=1.0),))
    edits = (
        LatentEdit(sae=sae, latent=3, mode=Mode.NUDGE, value=40.0),
        LatentEdit(sae=sae, latent=7, mode=Mode.PIN, value=20.0),
        LatentEdit(sae=sae, latent=9, mode=Mode.MUL, value=2.0, when=when),
    )
    return [
        Steering(edits=edits[:1]),
        Steering(edits=edits),
        Steering(edits=edits[1:], reads=(Read(sae=sae, top_k=4, latents=(1,)),)),
    ]


def answers(engine: Engine, sae: str) -> list[Answer]:
    found = []
    for i, steering in enumerate(steerings(sae)):
        asked = replace(steering, report=f"{sae}{i}", capture=(str(POINTS[sae]),))
        [output] = engine.run([PROMPT], [asked], SAMPLING)
        [[stream]] = engine.llm.collective_rpc("featurehub_captured", args=([asked.report], str(POINTS[sae])))
        [report] = engine.reports([asked])
        assert report is not None
        assert not report.lost(asked)
        found.append(Answer(list(output.outputs[0].token_ids), report.model_copy(update={"requests": ()}), stream))
    return found


def alone(config: EngineConfig, sae: str) -> EngineConfig:
    """An engine that has hooks for one SAE, and no others."""
    return EngineConfig(hooks=tuple(hook for hook in config.only({sae}).hooks if hook.saes))


def run(config: EngineConfig, *saes: str) -> dict[str, list[Answer]]:
    with Engine(bundled_model(), config, EngineOptions(max_num_seqs=4)) as engine:
        return {sae: answers(engine, sae) for sae in saes}


def test_an_sae_that_a_request_does_not_mention_does_nothing_to_it(tmp_path: Path) -> None:
    """Answers, streams, doses and activations are equal, not merely close. ``b`` shares the hook point of ``a``."""
    whole = hooked(tmp_path, SAES)
    together = run(whole, *POINTS)
    for sae in POINTS:
        for one, other in zip(run(alone(whole, sae), sae)[sae], together[sae], strict=True):
            assert one.token_ids == other.token_ids
            assert torch.equal(one.stream, other.stream)
            own = {"reached": {}, "id": ""}
            assert one.report.model_copy(update=own) == other.report.model_copy(update=own)
    for sae, own in together.items():
        for answer in own:
            assert [(name, counts.dose_sum > 0) for name, counts in answer.report.hooks.items()] == [
                (str(POINTS[sae]), True)
            ]
