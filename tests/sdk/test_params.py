"""What ``create`` takes: every keyword of openai's, and ours. How calls are typed is in ``typed_calls``."""

import inspect
from typing import Any

import pytest
from openai.resources.chat.completions import AsyncCompletions, Completions
from openai.resources.completions import AsyncCompletions as AsyncTextCompletions
from openai.resources.completions import Completions as TextCompletions
from openai.resources.responses import AsyncResponses, Responses

from featurehub import Client, InvalidInput, Variant
from featurehub.conditions import FeatureAbort, Positions
from featurehub.edits import Steering
from featurehub.sdk.params import ChatParams, ResponseParams, SteerParams, TextParams

CHAT: Any = [{"role": "user", "content": "tell me a story"}]
OPENAIS = {"extra_headers", "extra_query", "extra_body", "timeout"}
OURS = {"features", "steer", "abort_when", "return_activations"}


@pytest.mark.parametrize(
    ("route", "params"),
    [
        (Completions, ChatParams), (AsyncCompletions, ChatParams), (TextCompletions, TextParams),
        (AsyncTextCompletions, TextParams), (Responses, ResponseParams), (AsyncResponses, ResponseParams),
    ],
)  # fmt: skip
def test_no_keyword_of_openais_is_missing(route: Any, params: Any) -> None:
    theirs = set(inspect.signature(route.create).parameters) - {"self", "stream"}
    assert set(params.__annotations__) == theirs | OURS
    assert set(SteerParams.__annotations__) == OPENAIS | OURS


def test_an_answer_ends_at_what_the_call_says(client: Client, server: Any) -> None:
    banking = client.feature("banking")
    several: Any = [banking > 0.5, {"feature": "twin", "value": 1.0, "event": "two"}]
    guard = FeatureAbort.model_validate({"when": banking > 0.25, "event": "bank", "positions": "all"})
    variant = Variant("demo").abort_when(banking > 0.75, "own")
    server.engine.default = None
    for given, wanted in [
        (banking > 0.5, [("own", 2.25), (banking.id, 1.5)]),
        (guard, [("own", 2.25), ("bank", 0.75)]),
        ({"feature": "banking", "value": 0.5, "event": "money"}, [("own", 2.25), ("money", 1.5)]),
        ([guard, banking > 0.5], [("own", 2.25), ("bank", 0.75), (banking.id, 1.5)]),
    ]:
        with pytest.raises(Exception, match="not steered"):
            client.chat.completions.create(model=variant, messages=CHAT, abort_when=given)
        aborts = Steering.read(server.echoed[-1].vllm_xargs["featurehub"]).aborts
        assert [(each.event, each.when.conditions[0].value) for each in aborts] == wanted
    assert [each.positions for each in aborts] == [Positions.GENERATED, Positions.ALL, Positions.GENERATED]
    server.echoed.clear()
    for wrong in ({"feature": "banking", "value": 2}, [*several[:1], "banking"], 5):
        with pytest.raises(InvalidInput, match="abort"):
            client.completions.create(model="demo", prompt="a", abort_when=wrong)
    assert not server.echoed
