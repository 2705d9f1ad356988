"""A language model that misbehaves: what is asked again, what is no answer, and what a budget keeps to."""

import asyncio
import json
import time
from email.utils import formatdate
from typing import Annotated, Any

import numpy as np
import pytest
from pydantic import Field

from featurehub.errors import BudgetExceeded, InvalidInput
from featurehub.records import Label, TokenLogit, Unlabeled
from featurehub.settings import Frozen
from labeling import Corpus, LabelConfig
from labeling.evidence import Evidence
from labeling.examiner import ScoredExplanation
from labeling.explainer import Explanation, OutOfBudget
from labeling.explainers import LlmExplainer
from labeling.failures import FailureBudget
from labeling.label import LabelSource, label_each
from labeling.llm import Llm, LlmBudget, LlmConfig, NoReply, Usage
from labeling.llm.budget import BudgetLimits
from labeling.llm.client import Reply
from labeling.scorers import Detection
from tests.labeling.endpoint import NAMING, Answer, Endpoint, Script, chat, good
from tests.labels import parted


class Word(Frozen):
    word: Annotated[str, Field(pattern="^[a-z]+$")]


FINE = chat('{"word": "yes"}')


def ask(script: Script, times: int = 1, **config: Any) -> tuple[list[Reply[Word] | BaseException], Endpoint, Llm]:
    """What comes of asking so many times at once."""
    endpoint = Endpoint(script)

    async def run(url: str) -> tuple[list[Reply[Word] | BaseException], Llm]:
        async with Llm(LlmConfig(url=url, model="m", **{"timeout": 60.0, **config}), "key") as llm:
            questions = (llm.ask("system", f"question {i}", Word) for i in range(times))
            return await asyncio.gather(*questions, return_exceptions=True), llm

    with endpoint.running() as url:
        found, llm = asyncio.run(run(url))
    return found, endpoint, llm


def in_turn(*answers: Answer) -> Script:
    """The last one again and again."""
    return lambda number, body: answers[min(number, len(answers) - 1)]


def failure(script: Script, **config: Any) -> NoReply:
    [found], _, _ = ask(script, **config)
    assert isinstance(found, NoReply)
    return found


def test_a_good_answer_is_read_and_its_tokens_are_counted() -> None:
    [found], endpoint, llm = ask(lambda *_: FINE)
    assert found == Reply(Word(word="yes"), '{"word": "yes"}')
    assert llm.budget.spent == Usage(100, 20)
    assert llm.budget.held == Usage()
    [body] = endpoint.asked
    assert body["response_format"]["json_schema"]["schema"] == Word.model_json_schema()
    assert (body["max_completion_tokens"], body["temperature"]) == (300, 0.0)


@pytest.mark.parametrize("header", ["1", formatdate(time.time() + 3600, usegmt=True)], ids=["short", "long"])
def test_retry_after_is_waited_for_or_left_for_the_next_run(header: str) -> None:
    began = time.monotonic()
    limited = Answer("{}", 429, {"retry-after": header})
    [found], endpoint, llm = ask(in_turn(limited, FINE))
    if header == "1":
        assert isinstance(found, Reply)
        assert time.monotonic() - began >= 1
        assert llm.budget.spent == Usage(100, 20)
    else:
        assert isinstance(found, NoReply)
        assert (found.text, len(endpoint.asked)) == ("", 1)
        assert "asks to wait" in found.reason


def test_while_one_is_told_to_wait_all_wait() -> None:
    times: list[float] = []

    def script(number: int, body: dict[str, Any]) -> Answer:
        times.append(time.monotonic())
        return Answer("{}", 429, {"retry-after": "1"}) if number == 0 else FINE

    found, _, _ = ask(script, times=4, at_once=1)
    assert all(isinstance(each, Reply) for each in found)
    assert min(times[1:]) - times[0] >= 1


@pytest.mark.parametrize("again", [Answer("{}", 500, {"retry-after": "0"}), Answer("no", 503, {"retry-after": "0"})])
def test_a_server_error_is_asked_again_and_counts_in_full(again: Answer) -> None:
    [found], endpoint, llm = ask(in_turn(again, FINE))
    assert isinstance(found, Reply)
    assert len(endpoint.asked) == 2
    assert llm.budget.spent.answer == 300 + 20
    assert "no answer after 2 attempts" in failure(in_turn(again), attempts=2).reason


def test_a_stall_ends_after_the_time_out() -> None:
    stalled = FINE._replace(stall=3.0)
    began = time.monotonic()
    found = failure(in_turn(stalled), timeout=0.3, attempts=1)
    assert time.monotonic() - began < 2.5
    assert (found.text, "no answer after 1 attempts" in found.reason) == ("", True)


@pytest.mark.parametrize(
    ("answer", "reason", "text"),
    [
        (chat('{"word": "ye'), "not of the form", '{"word": "ye'),
        (chat("Sure! The word is yes."), "not of the form", "Sure! The word is yes."),
        (chat('{"word": "yes", "more": 1}'), "not of the form", '{"word": "yes", "more": 1}'),
        (chat('{"word": "NO!"}'), "not of the form", '{"word": "NO!"}'),
        (chat('{"word": "yes"}', finish="length"), "was cut", '{"word": "yes"}'),
        (chat('{"word": "yes"}', finish="content_filter"), "refused", '{"word": "yes"}'),
        (chat(None, refusal="I will not."), "refused", "I will not."),
        (chat(None), "not of the form", ""),
        (chat('{"word": "' + "y" * 30_000 + '"}'), "30012 characters", None),
        (Answer('{"choices": []}'), "no chat completion: choices", ""),
        (Answer('{"choices": [{"message": {"cont'), "no chat completion", ""),
        (Answer("<html>", headers={"content-type": "text/html"}), "no chat completion", ""),
        (Answer('{"error": {"message": "too long"}}', 400), "too long", ""),
        (Answer('{"error": {"message": "odd"}}', 418), "odd", ""),
    ],
)  # fmt: skip
def test_what_is_no_answer_says_why_and_is_not_asked_again(answer: Answer, reason: str, text: str | None) -> None:
    found = failure(in_turn(answer))
    assert reason in found.reason
    assert text is None or found.text == text


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_key_or_a_model_that_is_not_known_ends_the_run(status: int) -> None:
    [found], endpoint, _ = ask(in_turn(Answer('{"error": {"message": "no such key"}}', status)))
    assert isinstance(found, InvalidInput)
    assert "no such key" in found.message
    assert len(endpoint.asked) == 1


def test_an_endpoint_without_structured_output_gets_the_schema_in_words_from_then_on() -> None:
    def script(number: int, body: dict[str, Any]) -> Answer:
        if "temperature" in body:
            return Answer('{"error": {"message": "temperature is not supported"}}', 400)
        if "response_format" in body:
            return Answer('{"error": {"message": "json_schema is not supported"}}', 422)
        return chat('```json\n{"word": "yes"}\n```')

    found, endpoint, _ = ask(script, times=3, at_once=1)
    assert all(isinstance(each, Reply) for each in found)
    assert len(endpoint.asked) == 5
    assert all('"pattern"' in body["messages"][0]["content"] for body in endpoint.asked[2:])


def test_a_question_that_is_refused_costs_no_other_its_structure() -> None:
    def script(number: int, body: dict[str, Any]) -> Answer:
        return Answer('{"error": {"message": "too long"}}', 400) if number < 2 else FINE

    found, endpoint, _ = ask(script, times=2, at_once=1)
    assert [type(each) for each in found] == [NoReply, Reply]
    assert ["response_format" in body for body in endpoint.asked] == [True, False, True]


def test_no_more_are_in_flight_than_allowed() -> None:
    found, endpoint, _ = ask(lambda *_: FINE._replace(stall=0.05), times=12, at_once=3)
    assert all(isinstance(each, Reply) for each in found)
    assert 1 < endpoint.busiest <= 3


@pytest.mark.parametrize("limits", [{"tokens": 6000}, {"money": 0.6, "prompt_price": 100.0, "answer_price": 100.0}])
def test_the_budget_is_never_exceeded_and_used_as_far_as_it_holds_a_worst_case(limits: dict[str, Any]) -> None:
    """As the endpoint counts it, with every fifth question failing after it was billed."""

    def script(number: int, body: dict[str, Any]) -> Answer:
        return Answer("{}", 500, {"retry-after": "0"}) if number % 5 == 4 else chat('{"word": "a"}')

    found, endpoint, llm = ask(script, times=100, at_once=8, limits=BudgetLimits(**limits))
    replies = [each for each in found if isinstance(each, Reply)]
    assert {type(each) for each in found} <= {Reply, OutOfBudget}
    worst = 6000 - llm.budget.spent.tokens
    assert 0 <= worst < 2000
    assert endpoint.granted == 120 * len(replies) <= llm.budget.spent.tokens <= 6000
    assert llm.budget.calls == len(endpoint.asked)


def test_an_endpoint_that_ignores_the_bound_on_answers_is_refused() -> None:
    [found], _, _ = ask(in_turn(chat('{"word": "yes"}', tokens=(10, 9000))))
    assert isinstance(found, InvalidInput)
    assert "max_completion_tokens" in found.message


def test_who_finds_the_budget_held_by_others_waits_for_them() -> None:
    async def run() -> list[str]:
        budget, said = LlmBudget(BudgetLimits(tokens=100)), []
        await budget.reserve(Usage(60, 20))

        async def second() -> None:
            await budget.reserve(Usage(30, 10))
            said.append("second")

        waiting = asyncio.create_task(second())
        await asyncio.sleep(0.01)
        assert not said
        await budget.settle(Usage(60, 20), Usage(50, 5))
        await waiting
        with pytest.raises(OutOfBudget):
            await budget.reserve(Usage(30, 20))
        return said

    assert asyncio.run(run()) == ["second"]


def labels_of(corpus: Corpus, script: Script, timeout: float = 30.0, **config: Any) -> tuple[dict[int, Any], Endpoint]:
    """What the explainer finds on the planted corpus, by latent, and who was asked."""
    endpoint = Endpoint(script)
    found: dict[int, Any] = {}

    async def run(url: str) -> None:
        async with Llm(LlmConfig(url=url, model="m", timeout=timeout, attempts=2, **config)) as llm:
            async for latent, scored in label_each(LabelSource(corpus), LabelConfig(), LlmExplainer(llm)):
                found[latent] = scored

    with endpoint.running() as url:
        asyncio.run(run(url))
    return found, endpoint


ERRORS = (
    Answer("{}", 500, {"retry-after": "0"}),
    Answer("{}", 429, {"retry-after": "0"}),
    chat(NAMING)._replace(stall=2.0),
    chat(NAMING[:20]),
    chat(NAMING, finish="length"),
    chat(None, refusal="no"),
    chat('{"name": 3, "words": []}'),
    chat('{"name": "  ", "words": []}'),
    chat('{"label": "banking"}'),
    chat("banking"),
    chat(""),
)


@pytest.mark.parametrize("answer", ERRORS, ids=range(len(ERRORS)))
def test_no_label_is_made_of_an_error(corpus: Corpus, answer: Answer) -> None:
    found, _ = labels_of(corpus.subset(np.arange(120)), in_turn(answer), timeout=0.5 if answer.stall else 30.0)
    outcomes = [each.explanation.outcome for each in found.values()]
    assert len(outcomes) >= 5
    assert all(isinstance(each, Unlabeled) for each in outcomes)
    assert not any(each.scores for each in found.values())


def test_an_answer_is_a_label_with_what_it_was_made_from(corpus: Corpus) -> None:
    told = json.dumps({"name": "Bank  loans", "words": ["banking", "loan", "loan"]})
    found, endpoint = labels_of(corpus, lambda *_: chat(told))
    explanation = found[0].explanation
    assert explanation.outcome == parted("Bank loans: banking, loan")
    assert explanation.answer == told
    assert any(body["messages"][1]["content"] in explanation.prompt for body in endpoint.asked)
    assert isinstance(found[1].explanation.outcome, Unlabeled)
    assert "unclear" in found[1].explanation.outcome.reason


def test_signs_in_a_name_mean_nothing(corpus: Corpus) -> None:
    told = json.dumps({"name": "Note: f(x), bank loans (Python)", "words": ["banking", "loan", "if:", "f(x)"]})
    found, _ = labels_of(corpus, lambda *_: chat(told))
    assert found[0].explanation.outcome == Label(
        name="Note: f(x), bank loans (Python)", further=("banking", "loan", "if:", "f(x)")
    )


def test_a_budget_that_ends_keeps_what_was_found_and_leaves_the_rest(corpus: Corpus) -> None:
    found, endpoint = labels_of(
        corpus, in_turn(chat(NAMING, tokens=(3000, 20))), at_once=1, limits=BudgetLimits(tokens=9000)
    )
    asked = [latent for latent, each in found.items() if each.explanation.prompt]
    assert len(asked) == len(endpoint.asked) == 2
    assert len(found) < 7


def test_contexts_are_shown_with_marks_from_1_to_10_and_with_what_the_latent_writes(corpus: Corpus) -> None:
    _, endpoint = labels_of(corpus, good)
    text = endpoint.asked[0]["messages"][1]["content"]
    assert "|10]]" in text
    assert all(0 < int(mark.split("]]")[0]) <= 10 for mark in text.split("|")[1:])
    tokens = (TokenLogit(token=" loan", logit=2.0),)
    prompt = LlmExplainer(Llm(LlmConfig(url="http://127.0.0.1:1", model="m"))).prompt(
        Evidence(0, 0.5, 9, top_tokens=tokens)
    )
    assert prompt.endswith("Tokens that it makes more likely: loan")


def test_failures_end_a_run_before_all_are_asked() -> None:
    budget = FailureBudget(0.5)
    failed = ScoredExplanation(Explanation(Unlabeled(reason="no answer"), "prompt", ""), {})
    unclear = ScoredExplanation(Explanation(Unlabeled(reason="unclear"), "prompt", "x"), {"agreement": 0.0})
    for _ in range(10):
        budget.count(unclear)
        budget.count(failed)
    with pytest.raises(BudgetExceeded, match=r"11 of 21 latents stay without a label.*no answer"):
        budget.count(failed)


@pytest.mark.parametrize("answer", [chat("{}"), chat('{"matching": [99]}'), Answer("{}", 500, {"retry-after": "0"})])
def test_a_judge_that_cannot_be_read_scores_nothing(corpus: Corpus, answer: Answer) -> None:
    endpoint = Endpoint(in_turn(chat(NAMING), answer))

    async def run(url: str) -> dict[int, Any]:
        async with Llm(LlmConfig(url=url, model="m", attempts=2, at_once=1)) as llm:
            labels = label_each(LabelSource(corpus, live=[0]), LabelConfig(), LlmExplainer(llm), Detection(llm))
            return {latent: scored async for latent, scored in labels}

    with endpoint.running() as url:
        [scored] = asyncio.run(run(url)).values()
    outcome = scored.explanation.outcome
    assert isinstance(outcome, Unlabeled)
    assert "could not be judged by detection" in outcome.reason
    assert scored.scores == {}
    # What may be answered the next time is asked again then.
    assert bool(scored.explanation.answer) == (answer.status == 200)
