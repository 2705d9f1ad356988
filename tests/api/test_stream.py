"""Server-sent events: splitting, and adding to the last chunk."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.choices import Hidden
from api.encoding import to_json
from api.stream import Ending, Ends, Events, append, data_of, event
from featurehub.errors import SteeringLost

FIRST = event({"id": "1", "choices": [{"index": 0, "delta": {"content": "Ahoy\n\nmatey ⚓"}, "finish_reason": None}]})
LAST = event({"id": "1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
USAGE = event({"id": "1", "choices": [], "usage": {"completion_tokens": 2}})
DONE = "data: [DONE]\n\n"
ALIVE = ": keep-alive\n\n"


def run(
    pieces: Sequence[str | bytes], lost: bool = False, aborted: bool = False, without_usage: bool = False
) -> list[str]:
    async def arriving() -> AsyncIterator[str | bytes]:
        for piece in pieces:
            yield piece

    counted: dict[int, int] = {}

    async def finish() -> Ending:
        if lost:
            raise SteeringLost("0 of 3 tokens were steered")
        written = {"written": counted[0]} if without_usage else {}
        return Ending({"featurehub": {"steered_tokens": 3} | written}, {0} if aborted else ())

    async def collect() -> list[str]:
        ends = Ends(finish, counted.__setitem__, Hidden(usage=without_usage))
        return [text async for text in append(arriving(), ends)]

    return asyncio.run(collect())


def objects(texts: Sequence[str]) -> list[Any]:
    data = [data_of(each) for each in "".join(texts).split("\n\n")]
    return [each if each == "[DONE]" else json.loads(each) for each in data if each]


def cut(text: bytes, places: Sequence[int]) -> list[bytes]:
    at = sorted({place % (len(text) + 1) for place in places})
    return [text[start:end] for start, end in zip([0, *at], [*at, len(text)], strict=True)]


# Python's splitlines() ends a line at each of these, JSON and SSE do not.
INNER = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"

lines = st.sampled_from(["\n", "\r\n", "\r"])
events = st.lists(
    st.tuples(
        st.sampled_from(["data: ", "data:", ": ", "event: "]), st.text('a⚓ é:{}"' + INNER, max_size=8), lines, lines
    ),
    max_size=6,
).map(lambda each: "".join(field + text + one + one for field, text, one, _ in each))


@settings(deadline=None)
@given(events, st.lists(st.integers(0, 10_000), max_size=12))
def test_events_do_not_depend_on_where_the_network_cuts(stream: str, places: list[int]) -> None:
    whole, pieces = Events(), Events()
    text = stream.encode()
    at_once = [*whole.feed(text), whole.remainder()]
    in_pieces = [each for piece in cut(text, places) for each in pieces.feed(piece)] + [pieces.remainder()]
    assert "".join(in_pieces) == stream
    assert in_pieces == at_once


@settings(deadline=None)
@given(st.lists(st.integers(0, 10_000), max_size=12), st.booleans(), st.booleans())
def test_the_answer_does_not_depend_on_it_either(places: list[int], usage: bool, alive: bool) -> None:
    stream = FIRST + (ALIVE if alive else "") + LAST + (USAGE if usage else "") + DONE
    before = objects([stream])
    *chunks, last, done = objects(run(cut(stream.encode(), places)))
    assert last.pop("featurehub") == {"steered_tokens": 3}
    assert [*chunks, last, done] == before


@settings(deadline=None)
@given(st.text("a⚓" + INNER, max_size=6), st.lists(st.integers(0, 10_000), max_size=4), st.booleans(), st.booleans())
def test_an_answer_may_end_with_any_character(text: str, places: list[int], aborted: bool, escaped: bool) -> None:
    """vLLM may put the last words and the finish reason into one chunk, and need not escape what JSON need not."""
    body = {"id": "1", "object": "c", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]}
    last = f"data: {json.dumps(body, ensure_ascii=escaped)}\n\n"
    out = "".join(run(cut((FIRST + last + DONE).encode(), places), aborted=aborted))
    assert data_of(event(body)) == json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    *_, end, done = objects([out])
    reason = "content_filter" if aborted else "stop"
    assert end == body | {
        "choices": [body["choices"][0] | {"finish_reason": reason}],
        "featurehub": {"steered_tokens": 3},
    }
    assert done == "[DONE]"


def test_no_chunk_goes_without_its_name() -> None:
    broken = "data: no json\n\n"
    *_, ours, done = "".join(run([FIRST, broken, DONE])).split("\n\n")[:-1]
    assert json.loads(data_of(ours)) == {"id": "1", "choices": [], "featurehub": {"steered_tokens": 3}}
    assert data_of(done) == "[DONE]"
    assert "".join(run([broken, DONE])) == broken + DONE


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    )
)
def test_json_in_parts_is_json(value: Any) -> None:
    assert json.loads(to_json(value)) == value


def test_chunks_are_not_held_back() -> None:
    assert run([FIRST, FIRST])[0] == FIRST
    assert run([FIRST, ALIVE, LAST, USAGE, DONE])[:2] == [FIRST, ALIVE]


def test_an_aborted_answer_says_so_in_the_chunk_that_ends_it() -> None:
    """Also where usage follows that chunk."""
    for after in ([], [USAGE]):
        first, last, *usage, _ = objects(run([FIRST, LAST, *after, DONE], aborted=True))
        assert first["choices"][0]["finish_reason"] is None
        assert last["choices"][0]["finish_reason"] == "content_filter"
        assert "featurehub" in [last, *usage][-1]


def test_two_choices_that_end_one_after_the_other() -> None:
    half = event({"choices": [{"index": 0, "finish_reason": "stop"}]})
    rest = event({"choices": [{"index": 1, "finish_reason": "length"}]})
    out = objects(run([half, FIRST, rest, DONE]))
    assert ["featurehub" in each for each in out[:-1]] == [False, False, True]


def test_a_stream_without_a_last_chunk_gets_one() -> None:
    *_, last, done = objects(run([FIRST, DONE]))
    assert (last["id"], last["choices"], last["featurehub"], done) == ("1", [], {"steered_tokens": 3}, "[DONE]")


def test_lost_steering_is_an_error_event_before_done() -> None:
    out = objects(run([FIRST, LAST, DONE], lost=True))
    assert out[-2]["error"]["code"] == "steering_lost"
    assert out[-1] == "[DONE]"
    assert out[:-2] == objects([FIRST, LAST])


def test_the_engines_own_error_is_passed_on() -> None:
    error = event({"error": {"message": "the engine died", "code": 500}})
    assert "".join(run([FIRST, error, DONE], lost=True)) == FIRST + error + DONE


@pytest.mark.parametrize("broken", [FIRST + LAST, FIRST + 'data: {"choi', "data: no json\n\n" + DONE[:-2], ""])
def test_a_stream_that_breaks_off_is_passed_on(broken: str) -> None:
    assert "".join(run([broken])) == broken


def test_data_may_span_lines() -> None:
    assert data_of("event: x\ndata: a\ndata:b\n\n") == "a\nb"
    assert data_of(": comment\n\n") == ""


@pytest.mark.parametrize("ends", [[LAST, USAGE], [USAGE]])
def test_token_counts_that_nobody_asked_for_are_used_and_left_out(ends: list[str]) -> None:
    *_, last, _ = objects(run([FIRST, *ends, DONE], without_usage=True))
    assert last["featurehub"] == {"steered_tokens": 3, "written": 2}
    assert "usage" not in last
