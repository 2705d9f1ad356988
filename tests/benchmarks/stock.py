"""Is a server of ours, where nothing is asked of features, vLLM's own? The same requests to both.

    python tests/benchmarks/stock.py

One model with random weights and a vocabulary of single bytes, so that any structure can be written, is served by vLLM
and then by ``featurehub serve`` with an SAE, with the same options. Each request below goes to both; status and body of
each answer must be the same, apart from ids and times. Log-probabilities may differ by 1e-3. Prints what differs.
"""

import json
import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import httpx
from served_shape import save_served
from servers import NAME, stock
from shapes import Shape
from turns import console

from featurehub.cli.server import free_port, served

SHAPE = Shape(2, 64, 2, 2, 128, layer=1, d_sae=64, dtype="float32")
OPTIONS = (
    "--dtype", "float32", "--load-format", "safetensors", "--config-format", "hf", "--tokenizer-mode", "hf",
    "--max-model-len", "1024", "--max-num-seqs", "16", "--served-model-name", NAME, "--enforce-eager",
    "--enable-auto-tool-choice", "--tool-call-parser", "hermes",
)  # fmt: skip
UNLIKE = {
    "id", "created", "created_at", "completed_at", "item_id", "system_fingerprint", "request_id", "sequence_number",
}  # fmt: skip
"""Keys whose values are another answer's own. The fingerprint is of the server's configuration, which has the SAE."""
GROWING = {"content", "text", "arguments", "delta", "reasoning"}
"""Keys whose values a stream sends in pieces."""
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if tools %}{{ tools | tojson }}\n{% endif %}{% if add_generation_prompt %}assistant:{% endif %}"
)
PLACE = {
    "type": "object",
    "properties": {"wet": {"type": "boolean"}},
    "required": ["wet"],
    "additionalProperties": False,
}
FORECAST = {"type": "function", "function": {"name": "forecast", "parameters": PLACE}}
NAMED = {"type": "function", "function": {"name": "forecast"}}
CHATS = [[{"role": "user", "content": each}] for each in ("hello", "world")]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "place", "schema": PLACE, "strict": True}}


class Sent(NamedTuple):
    """A request."""

    path: str
    body: dict[str, Any] | bytes

    def __str__(self) -> str:
        return f"{self.path} {self.body if isinstance(self.body, bytes) else json.dumps(self.body)}"[:150]


def chat(**more: Any) -> Sent:
    body = {"model": NAME, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 12, "temperature": 0}
    return Sent("/v1/chat/completions", body | more)


def complete(**more: Any) -> Sent:
    return Sent("/v1/completions", {"model": NAME, "prompt": "hello", "max_tokens": 12, "temperature": 0} | more)


def respond(**more: Any) -> Sent:
    return Sent("/v1/responses", {"model": NAME, "input": "hello", "max_output_tokens": 12, "temperature": 0} | more)


GOOD: tuple[dict[str, Any], ...] = (
    {},
    {"temperature": 1, "seed": 3},
    {"temperature": 1, "seed": 3, "n": 3},
    {"stop": ["a", "e", "1"]},
    {"stop": ["a"], "include_stop_str_in_output": True},
    {"max_tokens": 1},
    {"min_tokens": 8, "max_tokens": 8},
    {"logit_bias": {"97": 100}},
    {"presence_penalty": 1, "frequency_penalty": 0.5, "repetition_penalty": 1.2},
    {"top_p": 0.5, "top_k": 5, "min_p": 0.1, "temperature": 0.8, "seed": 1},
    {"prompt_logprobs": 2},
    {"return_token_ids": True},
    {"structured_outputs": {"regex": "[a-c]{3}"}},
    {"structured_outputs": {"choice": ["yes", "no"]}},
    {"structured_outputs": {"json": PLACE}, "max_tokens": 40},
    {"response_format": SCHEMA, "max_tokens": 40},
    {"response_format": {"type": "json_object"}},
    {"cache_salt": "mine"},
    {"unknown_key": 1},
    {"features": {}},
)
STREAMS: tuple[dict[str, Any], ...] = (
    {},
    {"stream_options": {"include_usage": True}},
    {"stream_options": {"include_usage": True, "continuous_usage_stats": True}},
    {"temperature": 1, "seed": 3, "n": 2},
    {"stop": ["a", "e", "1"]},
)
BAD: tuple[dict[str, Any], ...] = (
    {"model": "nobody"},
    {"temperature": -1},
    {"top_p": 2},
    {"n": 0},
    {"max_tokens": -1},
    {"max_tokens": 100_000},
    {"stop": 5},
    {"seed": "x"},
    {"logit_bias": {"100000": 1}},
    {"stream_options": {"include_usage": True}},
    {"structured_outputs": {"regex": "["}},
    {"response_format": {"type": "nonsense"}},
    {"vllm_xargs": [1]},
    {"prompt_logprobs": -5},
)


def requests() -> Iterator[Sent]:
    """All that is sent."""
    for make in (chat, complete):
        yield from (make(**more) for more in (*GOOD, *BAD))
        yield from (make(**more, stream=True) for more in (*STREAMS, *BAD[:4]))
    yield from chats()
    yield from completions()
    yield from responses()
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/responses"):
        yield from (
            Sent(path, body) for body in (b"", b"{", b"[]", b"{}", b'{"model": "base"}', b'{"temperature": NaN}')
        )
    yield Sent("/tokenize", {"model": NAME, "prompt": "hello"})
    yield Sent("/v1/chat/completions/batch", {"model": NAME, "messages": CHATS, "max_tokens": 12, "temperature": 0})


def chats() -> Iterator[Sent]:
    """What only chats have."""
    for tools in ("auto", "none", "required", NAMED):
        for stream in (False, True):
            yield chat(tools=[FORECAST], tool_choice=tools, max_tokens=40, stream=stream)
    yield from (chat(tool_choice=each) for each in ("required", NAMED))
    yield from (chat(logprobs=True, top_logprobs=3, stream=stream) for stream in (False, True))
    for wrong in ({"logprobs": True, "top_logprobs": 1000}, {"top_logprobs": 2}, {"max_tokens": 0}, {"messages": []},
                  {"messages": "hello"}, {"messages": [{"role": "user"}]}, {"tools": "x"},
                  {"messages": [{"role": "user", "content": "x" * 5000}]}):  # fmt: skip
        yield chat(**wrong)
    yield chat(max_completion_tokens=3)
    yield chat(messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], echo=True)
    prefilled = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    yield chat(messages=prefilled, add_generation_prompt=False, continue_final_message=True)


def completions() -> Iterator[Sent]:
    """What only completions have."""
    for prompt in (["hello", "world"], [104, 105], [[104, 105], [106]]):
        yield complete(prompt=prompt)
        yield complete(prompt=prompt, stream=True, stream_options={"include_usage": True})
    yield complete(prompt=["hello", "world"], n=2, temperature=1, seed=5)
    yield complete(logprobs=3)
    yield complete(logprobs=0, stream=True)
    for tokens in (0, 4):
        yield complete(echo=True, max_tokens=tokens)
        yield complete(echo=True, max_tokens=tokens, logprobs=2)
    for wrong in ({"max_tokens": 0}, {"prompt": ""}, {"prompt": []}, {"prompt": [100_000]}, {"logprobs": 1000},
                  {"suffix": "x"}, {"prompt": None}, {"best_of": 3}, {"echo": True, "stream": True}):  # fmt: skip
        yield complete(**wrong)


def responses() -> Iterator[Sent]:
    """Responses, which have options of their own."""
    own: tuple[dict[str, Any], ...] = (
        {}, {"instructions": "be brief"}, {"input": [{"role": "user", "content": "hello"}]},
        {"temperature": 1, "seed": 3}, {"top_logprobs": 2, "include": ["message.output_text.logprobs"]},
        {"text": {"format": {"type": "json_schema", "name": "place", "schema": PLACE}}, "max_output_tokens": 40},
        {"tools": [{"type": "function", "name": "forecast", "parameters": PLACE}], "tool_choice": "auto"},
        {"model": "nobody"}, {"temperature": -1}, {"max_output_tokens": 0}, {"max_output_tokens": 100_000},
        {"previous_response_id": "resp_none"}, {"input": 5}, {"tool_choice": "nonsense"},
    )  # fmt: skip
    for more in own:
        yield respond(**more)
        yield respond(**more, stream=True)


class Answered(NamedTuple):
    """status: the HTTP status;  kind: the content type;  events: the body, or those of a stream, put together"""

    status: int
    kind: str
    events: list[Any]


def answered(url: str, sent: Sent) -> Answered:
    """What a server says."""
    content = sent.body if isinstance(sent.body, bytes) else json.dumps(sent.body).encode()
    headers = {"content-type": "application/json"}
    answer = httpx.post(f"{url.removesuffix('/v1')}{sent.path}", content=content, headers=headers, timeout=120)
    kind = answer.headers.get("content-type", "").split(";")[0]
    if kind != "text/event-stream":
        return Answered(answer.status_code, kind, [loaded(answer.text)])
    lines = [line.removeprefix("data:") for line in answer.text.split("\n") if line.startswith("data:")]
    return Answered(answer.status_code, kind, put_together(map(loaded, lines)))


def put_together(events: Iterable[Any]) -> list[Any]:
    """Joins pieces that follow each other: how much of an answer one has depends on how fast they are read."""
    joined: list[Any] = []
    for event in events:
        if joined and is_piece(event) and is_piece(joined[-1]) and event.get("type") == joined[-1].get("type"):
            joined[-1] = merged(joined[-1], event)
        else:
            joined.append(event)
    return joined


def is_piece(event: Any) -> bool:
    return isinstance(event, dict) and "error" not in event and event.get("type", ".delta").endswith(".delta")


def merged(one: Any, other: Any, key: str = "") -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        return {each: merged(one.get(each), other.get(each), each) for each in {**one, **other}}
    if isinstance(one, list) and isinstance(other, list):
        if key not in ("choices", "tool_calls"):
            return one + other
        by_index = {each["index"]: each for each in one}
        for each in other:
            by_index[each["index"]] = merged(by_index.get(each["index"], {}), each)
        return [by_index[index] for index in sorted(by_index)]
    if isinstance(one, str) and isinstance(other, str) and key in GROWING:
        return one + other
    return one if other is None else other


def loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def differences(ours: Any, theirs: Any, place: str = "") -> Iterator[str]:
    """Where two values of JSON differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted({*ours, *theirs} - UNLIKE):
            yield from differences(ours.get(key, "missing"), theirs.get(key, "missing"), f"{place}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for at, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(one, other, f"{place}[{at}]")
    elif not equal(ours, theirs):
        yield f"{place}: ours {json.dumps(ours)[:300]}, vLLM's {json.dumps(theirs)[:300]}"


def equal(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=1e-3, abs_tol=1e-3)
    return ours == theirs


def compare(ours: list[Answered], theirs: list[Answered]) -> int:
    """Says how many answers differ, and in what."""
    differing = 0
    for sent, mine, other in zip(requests(), ours, theirs, strict=True):
        found = list(differences([*mine], [*other]))
        differing += bool(found)
        if found:
            console.print(f"{sent}\n    " + "\n    ".join(found[:4]), markup=False, highlight=False)
    console.print(f"{len(ours)} requests, {differing} answered otherwise than by vLLM")
    return differing


def write_tokenizer(folder: Path) -> Path:
    """A vocabulary of single bytes, after the end of a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({each: at for at, each in enumerate(["</s>", *alphabet])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", chat_template=TEMPLATE)
    fast.save_pretrained(folder)
    return folder


def main() -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        shape = save_served(SHAPE, folder, tokenizer=write_tokenizer(folder / "tokenizer"))
        with stock(shape.model, OPTIONS, folder / "stock.log") as url:
            theirs = [answered(url, each) for each in requests()]
        mine = [str(shape.model), "--sae", str(shape.sae), "--db", str(shape.database), *OPTIONS]
        with served(mine, free_port(), folder / "featurehub.log") as url:
            ours = [answered(url, each) for each in requests()]
        sys.exit(bool(compare(ours, theirs)))


if __name__ == "__main__":
    main()
