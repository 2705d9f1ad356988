"""The fake server, as tests of other programs use it: what it says of a request is what that request asked for."""

import asyncio
import doctest
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import BadRequestError, InternalServerError, NotFoundError

from featurehub import AsyncClient, Client, FeatureNotFound, Variant
from featurehub.records import Label
from featurehub.testing import FakeServer, fake_server

KEY = "operators only"
LABELS = ("pirate", "formal", Label(name="banking", further=("loan", "deposit")))
CHAT: Any = [{"role": "user", "content": "Is my loan safe?"}]


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    with fake_server(LABELS, operator_key=KEY) as running:
        yield running


@pytest.fixture
def client(server: FakeServer) -> Iterator[Client]:
    with Client(base_url=server.url, max_retries=0) as opened:
        yield opened


def told(answer: Any) -> dict[str, Any]:
    return answer.featurehub


def test_what_a_user_writes(client: Client) -> None:
    variant = Variant("fake").set("pirate", 0.5).set_when(client.feature("banking") > 0.2, {"formal": 0.4})
    answer = client.chat.completions.create(model=variant, messages=CHAT)
    assert answer.choices[0].message.content == "Is my loan safe?"
    applied = {each["label"]: (each["weight"], each["tokens"]) for each in told(answer)["applied"]}
    # The token that begins a text, four words, and the same four as the answer; "loan" stands in both.
    assert applied == {"pirate": (0.5, 9), "formal": (0.4, 2)}
    assert told(answer)["steered_tokens"] == 9
    assert told(answer)["saes"][0]["dose"] == pytest.approx((9 * 0.15 + 2 * 0.12) / 9)


@pytest.mark.parametrize(("positions", "tokens"), [("all", 9), ("prompt", 5), ("generated", 4)])
def test_the_positions_count(client: Client, positions: str, tokens: int) -> None:
    create = client.chat.completions.create
    answer = create(model="fake", messages=CHAT, features={"pirate": 0.5}, steer={"positions": positions})
    assert told(answer)["applied"][0]["tokens"] == tokens


def test_what_stays_true_from_a_token_on(client: Client) -> None:
    when = {"feature": "banking", "value": 0.2, "so_far": True}
    answer = client.completions.create(
        model="fake", prompt="a loan b c", features={"pirate": {"mode": "pin", "weight": 1.0, "when": when}}
    )
    assert (answer.choices[0].text, told(answer)["applied"][0]["tokens"]) == ("a loan b c", 7)


def test_an_abort_ends_the_answer_where_its_condition_holds(client: Client) -> None:
    heard: list[str] = []
    guarded = Variant("fake").handle_when(
        client.feature("banking") > 0.5, lambda ended: heard.append(ended.text), "bank"
    )
    whole = client.chat.completions.create(model=guarded, messages=CHAT)
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == ("Is my loan", "content_filter")
    assert told(whole)["aborted"] == {"event": "bank", "feature": client.feature("banking").id, "position": 7}
    parts = [*client.chat.completions.create(model=guarded, messages=CHAT, stream=True)]
    assert "".join(each.choices[0].delta.content or "" for each in parts) == "Is my loan "
    assert told(parts[-1])["aborted"] == told(whole)["aborted"]
    assert [text.strip() for text in heard] == ["Is my loan"] * 2
    prompt = Variant("fake").abort_when(client.feature("banking") > 0.5, "bank", "prompt")
    assert client.chat.completions.create(model=prompt, messages=CHAT).choices[0].message.content == ""


def test_activations_are_those_of_the_words(client: Client) -> None:
    answer = client.chat.completions.create(model="fake", messages=CHAT, return_activations=1)
    fires = [each["token"] for each in told(answer)["activations"] if each["features"]]
    assert fires == [" loan", " loan"]
    found = client.features.inspect("a formal loan", features=["pirate"])
    assert [[each.label for each in token.features if each.activation] for token in found] == [
        [], [], ["formal"], ["banking: loan, deposit"],
    ]  # fmt: skip
    assert client.features.activations("my loan", features=["banking"]).matrix().tolist() == [[0.0], [0.0], [1.0]]
    other: Any = [{"role": "user", "content": "a pirate"}]
    contrast = client.features.contrast([CHAT, CHAT], [other, other])
    assert (contrast.dataset_1[0].label, contrast.dataset_2[0].label) == ("banking: loan, deposit", "pirate")


def test_search_groups_and_variants(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.features.search("loan")[0].label == "banking: loan, deposit"
    monkeypatch.setenv("FEATUREHUB_OPERATOR_KEY", KEY)
    client.groups.save("both", client.feature("pirate") | -0.5 * client.feature("formal"))
    client.variants.save("rough", Variant("fake").set("both", 0.5))
    answer = client.chat.completions.create(model="rough", messages=CHAT)
    assert [(each["label"], each["weight"]) for each in told(answer)["applied"]] == [("pirate", 0.5), ("formal", -0.25)]
    assert told(answer)["variant"] == {"name": "rough", "version": 1}
    assert told(client.responses.create(model="rough", input="hello"))["steered_tokens"] == 3


def test_it_gives_as_many_answers_as_are_asked_for(client: Client) -> None:
    counted = iter(range(100))
    asked: Any = {"features": {"pirate": 0.5}, "n": 2}
    with fake_server(LABELS, reply=lambda last: f"{last} {next(counted)}") as running:
        own = Client(base_url=running.url, max_retries=0)
        chat = own.chat.completions.create(model="fake", messages=CHAT, **asked)
        assert [(each.index, each.message.content) for each in chat.choices] == [
            (0, "Is my loan safe? 0"), (1, "Is my loan safe? 1"),
        ]  # fmt: skip
        # Each has the token that begins a text, the four words of the prompt, and its own five.
        assert told(chat)["steered_tokens"] == 2 * 10
        texts = own.completions.create(model="fake", prompt=["a loan", "b"], **asked)
        assert [each.text for each in texts.choices] == ["a loan 2", "a loan 3", "b 4", "b 5"]
        assert told(texts)["steered_tokens"] == 2 * (3 + 3) + 2 * (2 + 2)
        parts = [*own.completions.create(model="fake", prompt=["a", "b"], stream=True, **asked)]
        said = {
            index: "".join(c.text for part in parts for c in part.choices if c.index == index) for index in range(4)
        }
        assert said == {0: "a 6 ", 1: "a 7 ", 2: "b 8 ", 3: "b 9 "}
        assert told(parts[-1])["steered_tokens"] == 4 * 4
    assert client.completions.create(model="fake", prompt=["a", "b"]).choices[1].text == "b"
    alone, both = (
        told(client.chat.completions.create(model="fake", messages=CHAT, n=n, return_activations=1)) for n in (1, 2)
    )
    assert [each["activations"] for each in both["choices"]] == 2 * [alone["activations"]]


def test_errors_are_the_servers(client: Client, server: FakeServer) -> None:
    with pytest.raises(FeatureNotFound) as unknown:
        client.feature("pirat")
    assert unknown.value.suggestions == ("pirate",)
    with pytest.raises(NotFoundError, match="pirate"):
        client.chat.completions.create(model="fake", messages=CHAT, features={"pirat": 0.5})
    with pytest.raises(NotFoundError, match="does not exist"):
        client.chat.completions.create(model="other", messages=CHAT)
    with pytest.raises(BadRequestError):
        client.chat.completions.create(model="fake", messages=CHAT, extra_body={"steer": {"positions": "x"}})
    server.engine.running = False
    with pytest.raises(InternalServerError) as gone:
        client.chat.completions.create(model="fake", messages=CHAT, features={"pirate": 0.5})
    server.engine.running = True
    assert gone.value.status_code == 503


def test_replies_and_the_asynchronous_client() -> None:
    async def asked(url: str) -> Any:
        async with AsyncClient(base_url=url) as client:
            return await client.chat.completions.create(model="m", messages=CHAT, features={"twin": 0.5})

    with fake_server(["twin"], model="m", reply=lambda last: last.upper()) as running:
        assert asyncio.run(asked(running.url)).choices[0].message.content == "IS MY LOAN SAFE?"
        assert [each.name for each in Client(base_url=running.url).tokenize("a b")] == ["", " a", " b"]
    with pytest.raises(ValueError, match="1 to 16384"), fake_server([]):
        pass


def test_the_readmes_examples_run(root: Path, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATUREHUB_OPERATOR_KEY", KEY)
    blocks = re.findall(r"```pycon\n(.*?)```", (root / "README.md").read_text(), flags=re.DOTALL)
    assert len(blocks) >= 2
    for block in blocks:
        known = {"client": client, "Variant": Variant}
        test = doctest.DocTestParser().get_doctest(block, known, "README", "README.md", 0)
        said: list[str] = []
        assert doctest.DocTestRunner().run(test, out=said.append).failed == 0, "".join(said)


def test_it_is_light() -> None:
    code = "import sys, featurehub.testing; print([m for m in ('torch', 'vllm', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
