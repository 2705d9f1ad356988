"""openai's client against our routes over a real socket."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from featurehub import AmbiguousFeature, AsyncClient, Client, Edit, Feature, FeatureNotFound, InvalidEdit, Variant
from featurehub.edits import Steering
from featurehub.features import Mode, SteerOptions
from tests.api.reports import reading

MESSAGES: list[Any] = [{"role": "user", "content": "tell me a story"}]


def sent(server: Any) -> Steering:
    return Steering.read(server.echoed[-1].vllm_xargs["featurehub"])


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)


class TestChat:
    def test_a_variant_stands_where_the_model_does(self, client: Client, server: Any) -> None:
        variant = Variant("demo").set("pirate speech", 0.5).set("formal tone", mode="ablate")
        answer = client.chat.completions.create(model=variant, messages=MESSAGES)
        assert isinstance(answer, ChatCompletion)
        assert answer.choices[0].message.content == "tell me a story"
        assert answer.model == "demo"
        assert answer.model_extra is not None
        assert [each["coefficient"] for each in answer.model_extra["featurehub"]["applied"]] == [2.0, 0.0]
        assert [(edit.latent, edit.mode) for edit in sent(server).edits] == [(0, Mode.NUDGE), (1, Mode.ABLATE)]

    def test_edits_without_a_variant(self, client: Client, server: Any) -> None:
        pirate = client.feature("pirate speech")
        client.chat.completions.create(
            model="demo",
            messages=MESSAGES,
            features={pirate: 0.25, "formal tone": {"mode": "pin", "weight": 0.5}, "banking": Edit(weight=-0.5)},
            steer={"positions": "prompt"},
        )
        assert [(edit.latent, edit.value) for edit in sent(server).edits] == [(0, 1.0), (1, 1.5), (2, -2.0)]
        assert sent(server).positions == "prompt"

    def test_the_request_wins_over_the_variant(self, client: Client, server: Any) -> None:
        variant = Variant("demo").set(["banking", "formal tone"], 0.5)
        client.chat.completions.create(
            model=variant,
            messages=MESSAGES,
            features={"banking": 0.25},
            steer=SteerOptions(),
            extra_body={"features": {"formal tone": 0.75}, "cache_salt": "mine"},
        )
        assert {edit.latent: edit.value for edit in sent(server).edits} == {2: 1.0, 1: 3.0}
        assert variant.edits["banking"].weight == 0.5

    def test_without_edits_it_is_openais_client(self, client: Client, server: Any) -> None:
        answer = client.chat.completions.create(model="demo", messages=MESSAGES, extra_body={"cache_salt": "mine"})
        client.chat.completions.create(model=Variant("demo"), messages=MESSAGES)
        assert answer.model_extra == {}
        assert [each.cache_salt for each in server.echoed] == ["mine", None]
        assert all(each.vllm_xargs is None for each in server.echoed)

    def test_streaming(self, client: Client) -> None:
        variant = Variant("demo").set("pirate speech", 0.5)
        chunks = list(client.chat.completions.create(model=variant, messages=MESSAGES, stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "tell me a story "
        assert chunks[-1].model_extra is not None
        assert chunks[-1].model_extra["featurehub"]["steered_tokens"] == 7
        assert [bool(chunk.model_extra) for chunk in chunks[:-1]] == [False] * (len(chunks) - 1)

    def test_activations(self, client: Client, server: Any) -> None:
        server.engine.default = reading((3, {2: 1.5, 99: 0.5}))
        answer = client.chat.completions.create(model="demo", messages=MESSAGES, return_activations=2)
        assert answer.model_extra is not None
        ((labelled, bare),) = (each["features"] for each in answer.model_extra["featurehub"]["activations"])
        assert (labelled["label"], bare["label"]) == ("banking: loan", "")
        assert [read.top_k for read in sent(server).reads] == [2]

    @pytest.mark.parametrize("as_list", [True, False])
    def test_activations_of_features(self, client: Client, server: Any, as_list: bool) -> None:
        features = ["banking", client.features.search("formal tone")[0]]
        asked: Any = features if as_list else {"top_k": 1, "sae": "demo-l2", "features": features}
        server.engine.default = reading((3, {2: 1.5, 1: 0.5}))
        answer = client.chat.completions.create(model="demo", messages=MESSAGES, return_activations=asked)
        assert answer.model_extra is not None
        [read] = sent(server).reads
        assert (read.top_k, read.latents) == (0 if as_list else 1, (1, 2))
        [token] = answer.model_extra["featurehub"]["activations"]
        assert [each["activation"] for each in token["features"]] == [1.5, 0.5]

    def test_openais_other_ways_to_ask(self, client: Client, server: Any) -> None:
        class Story(BaseModel):
            title: str

        variant = Variant("demo").set("pirate speech", 0.5)
        raw = client.chat.completions.with_raw_response.create(model=variant, messages=MESSAGES)  # type: ignore[arg-type]
        assert raw.headers["x-featurehub-steered-tokens"] == "7"
        told = [{"role": "user", "content": '{"title":"Ahoy"}'}]
        parsed = client.chat.completions.parse(model=variant, messages=told, response_format=Story)  # type: ignore[arg-type]
        assert parsed.choices[0].message.parsed == Story(title="Ahoy")
        with client.chat.completions.stream(model=variant, messages=MESSAGES) as events:
            assert events.get_final_completion().choices[0].message.content == "tell me a story "
        assert client.with_options(timeout=5).chat.completions.create(model=variant, messages=MESSAGES)
        assert len(server.echoed) == 4
        assert all(each.vllm_xargs for each in server.echoed)

    @pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": True}}])
    def test_the_stream_helper_s_final_completion_says_what_was_applied(
        self, client: Client, server: Any, options: dict[str, Any]
    ) -> None:
        asked: dict[str, Any] = {"model": Variant("demo").set("pirate speech", 0.5), "messages": MESSAGES}
        whole = client.chat.completions.create(**asked)
        with client.chat.completions.stream(**asked, **options) as events:
            kinds = {event.type for event in events}
            final = events.get_final_completion()
        assert kinds == {"chunk", "content.delta", "content.done"}
        assert final.featurehub == whole.featurehub  # type: ignore[attr-defined]
        assert (final.usage is not None) is bool(options)

        async def twin() -> Any:
            twin = AsyncClient(base_url=server.url, max_retries=0)
            async with twin, twin.chat.completions.stream(**asked, **options) as events:
                return await events.get_final_completion()

        assert run(twin()).featurehub == whole.featurehub  # type: ignore[attr-defined]
        with client.chat.completions.stream(model="demo", messages=MESSAGES) as events:
            assert not hasattr(events.get_final_completion(), "featurehub")


def test_text_completions(client: Client, server: Any) -> None:
    variant = Variant("demo").set("pirate speech", 0.5)
    answer = client.completions.create(model=variant, prompt="once upon")
    assert answer.choices[0].text == "once upon"
    assert answer.model_extra is not None
    assert answer.model_extra["featurehub"]["steered_tokens"] == 7
    *_, last = client.completions.create(model=variant, prompt="once upon", stream=True)
    assert last.model_extra is not None
    assert "featurehub" in last.model_extra
    assert sent(server).edits


class TestErrors:
    @pytest.mark.parametrize(
        ("features", "error", "code"),
        [
            ({"pirat speech": 0.5}, openai.NotFoundError, "feature_not_found"),
            ({"twin": 0.5}, openai.ConflictError, "ambiguous_feature"),
            ({"sae:demo-l2/50": 0.5}, openai.BadRequestError, "invalid_edit"),
        ],
    )
    def test_over_http_they_are_openais(
        self, client: Client, features: dict[str, float], error: type[openai.APIStatusError], code: str
    ) -> None:
        with pytest.raises(error) as caught:
            client.chat.completions.create(model="demo", messages=MESSAGES, features=features)
        assert caught.value.code == code
        assert caught.value.param == f"features.{next(iter(features))}"
        assert isinstance(caught.value.body, dict)
        assert ("suggestions" in caught.value.body) is (code == "feature_not_found")

    @pytest.mark.parametrize("edit", [1.5, float("nan"), "much", None, {"mode": "push", "weight": 1}])
    def test_a_wrong_weight_is_never_sent(self, client: Client, server: Any, edit: Any) -> None:
        with pytest.raises(InvalidEdit):
            client.chat.completions.create(model="demo", messages=MESSAGES, features={"banking": edit})
        assert server.echoed == []

    def test_too_many_edits_are_never_sent(self, client: Client, server: Any) -> None:
        with pytest.raises(InvalidEdit):
            client.chat.completions.create(
                model="demo", messages=MESSAGES, features={str(each): 0.1 for each in range(1000)}
            )
        assert server.echoed == []

    def test_lost_steering_raises_and_is_not_repeated(self, server: Any) -> None:
        server.engine.default = None
        variant = Variant("demo").set("banking", 0.5)
        with Client(base_url=server.url, max_retries=2) as client:
            with pytest.raises(openai.InternalServerError) as caught:
                client.chat.completions.create(model=variant, messages=MESSAGES)
            assert caught.value.code == "steering_lost"
            assert len(server.echoed) == 1
            with pytest.raises(openai.APIError, match="not steered"):
                list(client.chat.completions.create(model=variant, messages=MESSAGES, stream=True))

    def test_an_engine_that_is_gone(self, client: Client, server: Any) -> None:
        server.engine.running = False
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model="demo", messages=MESSAGES, features={"banking": 0.5})
        assert (caught.value.status_code, caught.value.code) == (503, "engine_unavailable")
        assert caught.value.response.headers["retry-after"]


class TestFeatures:
    def test_search(self, client: Client) -> None:
        found = client.features.search("pirate", limit=3)
        assert isinstance(found[0], Feature)
        assert (found[0].label, found[0].latent, found[0].state) == ("pirate speech: matey, ship", 0, "fresh")
        assert len(found) <= 3
        assert client.features.search("banking")[0].strength == 4.0
        assert client.features.search("banking")[0] == client.feature("banking")

    def test_a_search_passes_on_its_filters(self, client: Client) -> None:
        assert client.features.search("pirate", layer=[3]) == []
        only = client.features.search("", limit=100, layer=[2], steerable=True, min_score=0.5, state=["fresh"])
        assert {each.latent for each in only} == set(range(6))
        assert client.features.search("", min_density=0.5, max_density=0.9) == []
        [first, *_] = client.features.search("pirate", explain=True)
        assert {each.source for each in first.found} == {"name"}
        page = client.features.search("", limit=100)
        rest = client.features.search("", limit=100, after=page.next)
        assert len({each.id for each in [*page, *rest]}) == 130

    def test_a_table_in_jupyter(self, client: Client) -> None:
        table = client.features.search("bold")._repr_html_()
        assert "&lt;b&gt;bold" in table
        assert "<b>bold" not in table

    def test_listing_goes_through_all_pages(self, client: Client) -> None:
        assert sorted(each.latent for each in client.features.list()) == list(range(130))

    @pytest.mark.parametrize("name", ["banking", "Banking: Loan", "sae:demo-l2/2", "banking: loan"])
    def test_one_by_its_name(self, client: Client, name: str) -> None:
        found = client.feature(name)
        assert (found.latent, client.features.get(found.id).latent) == (2, 2)

    def test_names_are_quoted(self, client: Client) -> None:
        assert client.feature("<b>bold</b>").latent == 5

    def test_unknown_and_ambiguous_names(self, client: Client) -> None:
        with pytest.raises(FeatureNotFound, match="pirat speech") as unknown:
            client.feature("pirat speech")
        assert unknown.value.suggestions[0].startswith("pirate speech")
        with pytest.raises(AmbiguousFeature) as twin:
            client.feature("twin")
        assert sorted(client.feature(each).latent for each in twin.value.candidates) == [3, 4]

    def test_other_errors_stay_openais(self, client: Client) -> None:
        with pytest.raises(openai.BadRequestError):
            client.features.search("pirate", limit=101)
        with pytest.raises(openai.NotFoundError):
            client.features.search("pirate", artifact="missing")


def test_the_asynchronous_twin(server: Any) -> None:
    async def use() -> None:
        async with AsyncClient(base_url=server.url, max_retries=0) as client:
            variant = Variant("demo").set(await client.feature("pirate speech"), 0.5)
            answer = await client.chat.completions.create(model=variant, messages=MESSAGES)
            assert answer.model_extra is not None
            assert answer.model_extra["featurehub"]["steered_tokens"] == 7
            chunks = [
                chunk
                async for chunk in await client.chat.completions.create(model=variant, messages=MESSAGES, stream=True)
            ]
            assert chunks[-1].model_extra
            text = await client.completions.create(model=variant, prompt="once upon")
            assert text.model_extra
            async with client.chat.completions.stream(model=variant, messages=MESSAGES) as events:
                assert (await events.get_final_completion()).choices
            assert (await client.chat.completions.parse(model=variant, messages=MESSAGES)).choices
            assert (await client.features.search("banking"))[0].latent == 2
            assert len([each async for each in client.features.list()]) == 130
            with pytest.raises(FeatureNotFound):
                await client.feature("pirat speech")

    run(use())


class TestConnecting:
    @pytest.mark.parametrize(
        ("given", "used"),
        [
            ("http://host:1", "http://host:1/v1/"),
            ("http://host:1/", "http://host:1/v1/"),
            ("http://host:1/v1", "http://host:1/v1/"),
            ("https://host/featurehub/v1/", "https://host/featurehub/v1/"),
            ("http://host:1/llm", "http://host:1/llm/v1/"),
            ("http://host:1/llm/", "http://host:1/llm/v1/"),
            ("http://host:1/a/b/v1", "http://host:1/a/b/v1/"),
            (None, "http://localhost:8000/v1/"),
        ],
    )
    def test_the_servers_address(self, given: str | None, used: str) -> None:
        with Client(base_url=given) as client:
            assert str(client.base_url) == used
            assert str(client.copy().base_url) == used

    def test_openais_key_stays_with_openai(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "secret")
        monkeypatch.setenv("OPENAI_BASE_URL", "https://example.com")
        with Client() as client:
            assert client.api_key != "secret"
            assert client.base_url.host == "localhost"

    def test_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FEATUREHUB_API_KEY", "mine")
        monkeypatch.setenv("FEATUREHUB_BASE_URL", "http://host:2")
        with Client() as client, Client(api_key="given") as other:
            assert (client.api_key, other.api_key) == ("mine", "given")
            assert str(client.base_url) == "http://host:2/v1/"
