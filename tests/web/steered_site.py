"""The site with a model that echoes, whose reports fit whatever is asked of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from fastapi import FastAPI

from api.engine import FakeEngine
from api.fake import Echoes, EchoRequest
from featurehub.edits import Steering
from featurehub.store import Store
from tests.api.reports import counts, reading
from tests.web.site import LOWER, UPPER, site_app

__all__ = ["OPERATOR", "READ", "EchoEngine", "steered_app", "steering_of"]

OPERATOR = "operators only"
HOOKS = {LOWER: "layers.2.resid_post", UPPER: "layers.8.resid_post"}
READ = {LOWER: {0: 2.5, 13: 1.5}, UPPER: {2: 0.5}}
"""What every word's strongest latents are, with their activations, in each of the two SAEs."""


@dataclass
class EchoEngine(FakeEngine):
    """Reports of each request what it asks for: edits that ran at seven tokens, and the same activations at each word.

    Attributes:
        echoed: The requests that reached the echo.
    """

    echoed: Echoes | None = None

    async def report(self, key: str) -> list[dict[str, Any]]:
        """The report of the latest request under this key."""
        asked = next(each for each in reversed(self.echoed or ()) if key in str(each.vllm_xargs))
        return [told(steering_of([asked]), asked.words)]

    def pieces(self, token_ids: Any) -> list[str]:
        """The words of the last request, each with its space; the first token is the prompt."""
        return ["<prompt>", *(f"{word} " for word in (self.echoed or Echoes())[-1].words)]


def steering_of(echoed: Sequence[EchoRequest]) -> Steering:
    """What the last of these requests that goes through the engine asks of it."""
    return next(Steering.read(each.vllm_xargs["featurehub"]) for each in reversed(echoed) if each.vllm_xargs)


def told(steering: Steering, words: list[str]) -> dict[str, Any]:
    hooks = {HOOKS[each.sae]: counts(7) for each in steering.edits}
    decided = {"seen_tokens": 9, "expected_tokens": 9}
    waiting = {HOOKS[each.sae]: decided for each in steering.conditions()}
    report: dict[str, Any] = {"hooks": hooks, "requests": [0], "conditions": waiting}
    if steering.aborts:
        report |= {"aborts": decided, "aborted": {"event": steering.aborts[0].event, "index": 0, "position": 3}}
    if steering.reads:
        blocks = [
            reading(*((at, READ[each.sae]) for at in range(len(words) + 1)), sae=each.sae)["activations"]["blocks"][0]
            for each in steering.reads
        ]
        report["activations"] = {"blocks": blocks}
    return report


def steered_app(store: Store) -> FastAPI:
    """``site_app`` with such an engine, for operators with ``OPERATOR``."""
    engine = EchoEngine()
    app = site_app(store, engine)
    engine.echoed = app.state.echoed
    app.state.featurehub = replace(app.state.featurehub, operator_key=OPERATOR)
    return app
