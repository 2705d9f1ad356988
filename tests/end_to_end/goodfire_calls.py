"""Calls Goodfire's own client and writes what it returns to standard output, as JSON. Runs in its environment.

python goodfire_calls.py BASE_URL MODEL < chats.json
"""

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import goodfire
import httpx

SEND = httpx.AsyncClient.send


async def patient(self: Any, request: Any, **options: Any) -> Any:
    """The client waits for 10 seconds, which a machine that runs other tests may take."""
    request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), 300)
    return await SEND(self, request, **options)


httpx.AsyncClient.send = patient
# The client looks for one where it is not asynchronous, and Python makes none unasked any more.
asyncio.set_event_loop(asyncio.new_event_loop())
URL, MODEL = sys.argv[1:]
ASKED = json.load(sys.stdin)
MESSAGES = [{"role": "user", "content": ASKED["prompt"]}]
ANSWERED = {"role": "assistant", "content": ASKED["answer"]}
GREEDY: dict[str, Any] = {"temperature": 0, "max_completion_tokens": 24, "system_prompt": ""}
client = goodfire.Client("none", base_url=URL)
create = client.chat.completions.create


def rows(features: Any) -> list[dict[str, Any]]:
    return [{"uuid": str(each.uuid), "label": each.label, "index": each.index_in_sae} for each in features]


def text(answer: Any) -> str:
    return answer.choices[0].message["content"]


def streamed(**options: Any) -> str:
    return "".join(each.choices[0].delta.content for each in create(MESSAGES, stream=True, **options))


def raised(call: Callable[[], Any]) -> list[str]:
    """The names of the classes of what a call raises, and what it says."""
    try:
        call()
    except Exception as error:  # noqa: BLE001
        return [type(error).__name__, str(error)]
    return []


WEATHER = client.features.search("weather", model=MODEL, top_k=3)
COOKING = client.features.search("cooking", model=MODEL, top_k=3)


def of_variant(*edits: tuple[Any, float]) -> goodfire.Variant:
    variant = goodfire.Variant(MODEL)
    for feature, value in edits:
        variant.set(feature, value)
    return variant


def search() -> dict[str, Any]:
    indices = [each.index_in_sae for each in WEATHER]
    looked = client.features.lookup(indices, model=MODEL)
    return {
        "found": rows(WEATHER), "looked": rows(looked.values()), "keys": list(looked),
        "ranked": rows(client.features.rerank(WEATHER | COOKING, "cooking", model=MODEL, top_k=4)),
        "near": rows(client.features.neighbors(WEATHER[0], model=MODEL, top_k=5)),
    }  # fmt: skip


def chat() -> dict[str, Any]:
    variant = of_variant((WEATHER[0], 0.7))
    again = goodfire.Variant.from_json(json.dumps(variant.json()))
    return {
        "plain": text(create(MESSAGES, MODEL, **GREEDY)),
        "steered": text(create(MESSAGES, variant, **GREEDY)),
        "streamed": streamed(model=variant, **GREEDY),
        "loaded": text(create(MESSAGES, again, **GREEDY)),
        "by_default": text(create(MESSAGES, variant, stop=["."])),
        "empty": text(create(MESSAGES, goodfire.Variant(MODEL), **GREEDY)),
    }


def conditions() -> dict[str, Any]:
    edited = goodfire.Variant(MODEL)
    edited.set_when(WEATHER[0] > 0.2, {COOKING[0]: 0.7})
    never = goodfire.Variant(MODEL)
    never.set_when((WEATHER[0] > 1.0) & (COOKING[0] > 1.0), {COOKING[0]: 0.7})
    return {"when": text(create(MESSAGES, edited, **GREEDY)), "never": text(create(MESSAGES, never, **GREEDY))}


def aborts() -> dict[str, Any]:
    def guarded() -> goodfire.Variant:
        return of_variant((WEATHER[0], 0.8))

    aborted, watched, heard = guarded(), guarded(), []
    aborted.abort_when(WEATHER > 0.3)
    watched.handle_when(WEATHER > 0.3, heard.append)
    answer = create(MESSAGES, watched, **GREEDY)
    handled = len(heard)
    pieces = streamed(model=watched, **GREEDY)
    return {
        "whole": raised(lambda: create(MESSAGES, aborted, **GREEDY)),
        "streamed": raised(lambda: streamed(model=aborted, **GREEDY)),
        "answer": text(answer), "finish": answer.choices[0].finish_reason, "pieces": pieces,
        "handled": handled, "heard": [each.response_so_far for each in heard],
    }  # fmt: skip


def reading() -> dict[str, Any]:
    chat = [*MESSAGES, ANSWERED]
    inspected = client.features.inspect(chat, model=MODEL)
    chosen = client.features.activations(chat, model=MODEL, features=WEATHER[0])
    first, second = client.features.contrast(ASKED["set_1"], ASKED["set_2"], model=MODEL, top_k=5)
    guarded = of_variant((COOKING[0], 0.5))
    guarded.abort_when(WEATHER > 0.3)
    return {
        "tokens": [each._token for each in inspected.tokens],
        "top": [(each.feature.label, each.activation) for each in inspected.top(5)],
        "means": [
            (each.feature.label, each.activation)
            for each in client.features.inspect(chat, model=MODEL, aggregate_by="mean").top(5)
        ],
        "token": [(each.feature.index_in_sae, each.activation) for each in inspected.tokens[-3].inspect(4)],
        "matrix": sparse(client.features.activations(chat, model=MODEL)),
        "chosen": sparse(chosen),
        "steered": sparse(client.features.activations(chat, model=guarded)),
        "contrast": [rows(first), rows(second)],
    }


def sparse(matrix: Any) -> list[dict[int, float]]:
    return [{int(at): float(row[at]) for at in row.nonzero()[0]} for row in matrix]


def next_tokens() -> dict[str, Any]:
    chat = [*MESSAGES, ANSWERED]
    found = client.features.attribute(chat, ASKED["index"], model=MODEL)
    return {
        "plain": client.chat.logits(MESSAGES, MODEL, top_k=5).logits,
        "steered": client.chat.logits(MESSAGES, of_variant((WEATHER[0], 0.7)), top_k=5).logits,
        "chosen": client.chat.logits(MESSAGES, MODEL, top_k=2, filter_vocabulary=[" rain", " the", " cook"]).logits,
        "effects": [(each.feature.label, each.value) for each in found.features],
        "active": [[(t.index, t.activation_strength) for t in each.token_activations] for each in found.features],
        "before": found.num_input_tokens,
    }


def specifications() -> dict[str, Any]:
    plain, told = client.features.generate_contrastive_stimulus(ASKED["specification"])
    found = client.features.AutoConditional(ASKED["condition"], model=MODEL)
    guarded = of_variant((WEATHER[0], 0.8))
    guarded.abort_when(found)
    steered = raised(lambda: sought.append(client.features.AutoSteer(ASKED["specification"], model=MODEL)))
    edits = [(each.label, value) for found in sought for each, value in found.as_dict().items()]
    return {
        "plain": plain, "told": told, "edits": edits, "none": steered,
        "condition": [(c.left_hand[0].label, c.operator, c.right_hand) for c in found], "join": found.operator,
        "aborted": raised(lambda: create(MESSAGES, guarded, **GREEDY)),
    }  # fmt: skip


sought: list[Any] = []


def errors() -> dict[str, Any]:
    unknown = goodfire.Feature("00000000-0000-4000-8000-000000000000", "", 0)
    conditional = goodfire.Variant(MODEL)
    conditional.abort_when(WEATHER[0] >= 0.5)
    return {
        "model": raised(lambda: create(MESSAGES, "nothing", **GREEDY)),
        "search": raised(lambda: client.features.search("weather", model="nothing")),
        "value": raised(lambda: create(MESSAGES, of_variant((WEATHER[0], 1.5)), **GREEDY)),
        "feature": raised(lambda: create(MESSAGES, of_variant((unknown, 0.5)), **GREEDY)),
        "operator": raised(lambda: create(MESSAGES, conditional, **GREEDY)),
        "streamed": raised(lambda: streamed(model=of_variant((WEATHER[0], 1.5)), **GREEDY)),
        "lookup": raised(lambda: client.features.lookup([1 << 30], model=MODEL)),
    }


async def asynchronous() -> dict[str, Any]:
    own = goodfire.AsyncClient("none", base_url=URL)
    found = await own.features.search("weather", model=MODEL, top_k=1)
    variant = of_variant((found[0], 0.7))
    answer = await own.chat.completions.create(MESSAGES, variant, **GREEDY)
    stream = await own.chat.completions.create(MESSAGES, variant, stream=True, **GREEDY)
    return {
        "steered": text(answer),
        "streamed": "".join([each.choices[0].delta.content async for each in stream]),
        "tokenized": await own.features._tokenize([*MESSAGES, ANSWERED], MODEL),
        "similarities": await own.features.semantic_similarity(WEATHER | COOKING, "cooking", MODEL),
    }


CALLS = (search, chat, conditions, aborts, reading, next_tokens, specifications, errors)

if __name__ == "__main__":
    said = {call.__name__: call() for call in CALLS} | {"asynchronous": asyncio.run(asynchronous())}
    sys.stdout.write(json.dumps(said))
