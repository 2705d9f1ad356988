"""What a steered answer says of itself, as ``report_of`` reads it."""

import asyncio
from typing import Any

from openai import OpenAI

from featurehub import AsyncClient, Client, Variant, report_of
from featurehub.features import Mode, State
from featurehub.sdk import Report
from tests.api.reports import reading, report, several

MESSAGES: list[Any] = [{"role": "user", "content": "tell me a story"}]
ASKED: dict[str, Any] = {"model": "demo", "messages": MESSAGES, "features": {"pirate speech": 0.5}}


def test_it_says_what_was_applied(client: Client) -> None:
    told = report_of(client.chat.completions.create(**ASKED))
    assert told is not None
    [edit], [sae] = told.applied, told.saes
    assert (edit.label, edit.weight, edit.mode, edit.state) == (
        "pirate speech: matey, ship", 0.5, Mode.NUDGE, State.FRESH,
    )  # fmt: skip
    assert (sae.name, sae.steered_tokens, told.steered_tokens) == ("demo-l2", 7, 7)
    assert (told.activations, told.aborted, told.variant, told.choices, told.warnings) == (None, None, None, (), ())


def test_it_is_the_same_wherever_it_comes_from(client: Client, server: Any) -> None:
    wanted = report_of(client.chat.completions.create(**ASKED))
    *others, last = client.chat.completions.create(**ASKED, stream=True)
    assert [report_of(each) for each in others] == [None] * len(others)
    assert report_of(last) == wanted
    with client.chat.completions.stream(**ASKED) as events:
        assert report_of(events.get_final_completion()) == wanted
    responded = {"model": "demo", "input": "tell me a story", "features": ASKED["features"]}
    *_, last = client.responses.create(**responded, stream=True)
    assert report_of(last) == report_of(client.responses.create(**responded)) == wanted
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as own:
        body = {"features": ASKED["features"]}
        assert report_of(own.chat.completions.create(model="demo", messages=MESSAGES, extra_body=body)) == wanted

    async def twin() -> Report | None:
        async with AsyncClient(base_url=server.url, max_retries=0) as opened:
            return report_of(await opened.chat.completions.create(**ASKED))

    assert asyncio.run(twin()) == wanted


def test_an_answer_without_steering_has_none(client: Client) -> None:
    assert report_of(client.chat.completions.create(model="demo", messages=MESSAGES)) is None


def test_each_of_several_answers_has_its_own(client: Client, server: Any) -> None:
    server.engine.default = several(report(7), report(5))
    told = report_of(client.chat.completions.create(**ASKED, n=2))
    assert told is not None
    assert [(each.index, each.steered_tokens) for each in told.choices] == [(0, 7), (1, 5)]
    assert told._repr_html_().count("<table>") == 2


def test_a_notebook_shows_edits_and_tokens_as_text(client: Client, server: Any) -> None:
    server.engine.default = report(7) | {"activations": reading((3, {5: 1.5}))["activations"]}
    variant = Variant("demo").set("<b>bold</b>", 0.5)
    told = report_of(client.chat.completions.create(model=variant, messages=MESSAGES, return_activations=2))
    assert told is not None
    shown = told._repr_html_()
    assert "<td>+0.5</td>" in shown
    assert "title='&lt;b&gt;bold&lt;/b&gt; 1.5' style='background: rgba(0, 114, 178, 0.60)'" in shown
    assert "<b>" not in shown


def test_what_a_newer_server_adds_is_left_out(client: Client) -> None:
    answer = client.chat.completions.create(**ASKED)
    wanted = report_of(answer)
    assert answer.model_extra is not None
    told = answer.model_extra["featurehub"]
    told["newer"] = told["applied"][0]["newer"] = told["saes"][0]["newer"] = "than this client"
    assert report_of(answer) == wanted
