"""What ``client.features.autosteer`` and ``autoconditional`` make of the server's answers, and of its errors."""

import asyncio
from typing import Any

import pytest
from openai import InternalServerError

from featurehub import AsyncClient, Client
from featurehub.conditions import FeatureWhen
from featurehub.sdk import Autoconditional, Autosteer
from featurehub.sdk.autosteer import read

OUTCOME = {"effect": 0.5, "error": 0.125, "perplexity": 3.0, "repetition": 0.25}
EDIT = {"id": "f_1", "label": "<b>pirate</b>", "sae": "a", "latent": 0, "weight": 0.7}
FOUND: dict[str, Any] = {
    "object": "autosteer", "instruction": "talk like a pirate", "edits": [EDIT], "reason": "", "unsteered": OUTCOME,
    "prompting": OUTCOME, "steered": OUTCOME, "both": OUTCOME, "chance": None, "saes": [],
    "tried": [{"edits": [EDIT], "outcome": OUTCOME, "coherent": True}],
    "warnings": [{"code": "feature_suspect", "message": "may no longer mean it", "feature": "f_1", "sae": None}],
}  # fmt: skip
CONDITION: dict[str, Any] = {
    "object": "autoconditional", "condition": "when the user talks about banking", "reason": "", "accuracy": 0.75,
    "conditions": [{"feature": "f_2", "op": ">", "value": 0.5, "so_far": False, "label": "banking"}],
    "found_in": 0.5, "wrongly_found_in": 0.0, "saes": [], "warnings": [], "newer": "than this client",
}  # fmt: skip


def test_edits_are_the_features_of_a_request() -> None:
    found = read(Autosteer, FOUND)
    assert found.features == {"f_1": 0.7}
    assert found.warnings == ("may no longer mean it",)
    shown = found._repr_html_()
    assert "&lt;b&gt;pirate&lt;/b&gt;" in shown
    assert "+0.500 ± 0.125" in shown
    assert "chance" not in shown


def test_conditions_are_the_when_of_an_edit() -> None:
    found = read(Autoconditional, CONDITION)
    [condition] = FeatureWhen.model_validate(found.when).any
    assert (condition.feature, condition.value) == ("f_2", 0.5)
    assert "accuracy on held-out chats 0.75" in found._repr_html_()


def test_both_clients_ask_and_report_what_went_wrong(client: Client, server: Any) -> None:
    async def asked(url: str) -> None:
        async with AsyncClient(base_url=url, max_retries=0) as own:
            for call in (own.features.autosteer, own.features.autoconditional):
                with pytest.raises(InternalServerError, match="engine is gone"):
                    await call("be concise")

    server.engine.running = False
    for call in (client.features.autosteer, client.features.autoconditional):
        with pytest.raises(InternalServerError, match="engine is gone"):
            call("be concise")
    asyncio.run(asked(server.url))
