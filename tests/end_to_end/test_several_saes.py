"""One server with several SAEs, at two hook points, against transformers with the naive equation."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event
from typing import Any

import httpx
import pytest
import torch
from playwright.sync_api import Page, expect
from torch import Tensor, nn

from featurehub.cli.server import free_port, served
from featurehub.edits import Condition, LatentEdit, Steering, When
from featurehub.features import Mode
from featurehub.steering import EditResult, Reference
from featurehub.store import open_store
from tests.end_to_end.pages import played, searched, states_of
from tests.end_to_end.several import (
    BETWEEN,
    DICTIONARIES,
    EARLY,
    HOOKS,
    LARGEST,
    LATE,
    OTHER,
    SERVED,
    STRENGTH,
    Several,
    make_several,
)
from tests.engine import twin

pytestmark = pytest.mark.engine

PROMPT = list(range(20, 45))
LONG = [20 + (n * n) % 150 for n in range(300)]
TOKENS = 20
SAILING, COOKING = "sailing", "cooking"
KEY = "operators only"
Steered = dict[str, list[EditResult]]


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Several:
    return make_several(tmp_path_factory.mktemp("several"))


@pytest.fixture(scope="module")
def server(several: Several, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    arguments = [*several.arguments(*SERVED), "--enable-prompt-tokens-details", "--block-size", "32"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEATUREHUB_OPERATOR_KEY", KEY)
        with served(arguments, free_port(), tmp_path_factory.mktemp("log") / "server.log") as url:
            yield url


def ask(url: str, status: int = 200, prompt: list[int] = PROMPT, **keys: Any) -> Any:
    body = {"model": "base", "prompt": prompt, "max_tokens": TOKENS, "temperature": 0, "return_token_ids": True}
    answer = httpx.post(f"{url}/completions", json=body | {"logprobs": 1} | keys, timeout=120)
    assert answer.status_code == status, answer.text
    return answer.json()


def edit(several: Several, sae: str, latent: int, weight: float, when: When | None = None) -> LatentEdit:
    return LatentEdit(sae=several.ids[sae], latent=latent, mode=Mode.NUDGE, value=weight * STRENGTH, when=when)


def naive(several: Several, steering: Steering, ids: list[int]) -> Steered:
    """What the naive equation does to each of these tokens, by hook point."""
    reference, kept = Reference(steering, several.dictionaries, len(PROMPT)), defaultdict(list)

    def hook(name: str) -> Any:
        def steer(module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
            for position in range(output.shape[1]):
                kept[name].append(result := reference.at(name, position, output[0, position]))
                output[0, position] = result.x
            return output

        return steer

    handles = [layer.register_forward_hook(hook(name)) for name, layer in twin.layers(several.dictionaries)]
    twin.logits(ids)
    for handle in handles:
        handle.remove()
    return kept


def streams(ids: list[int]) -> dict[str, Tensor]:
    with torch.no_grad():
        hidden = twin.model()(torch.tensor([ids]), output_hidden_states=True).hidden_states
    return {name: hidden[HOOKS[name].layer + 1][0] for name in SERVED}


def test_edits_at_two_hook_points_are_what_the_naive_equation_says(server: str, several: Several) -> None:
    """The answer, and of each SAE its own tokens and doses; one edit waits for a feature of the earlier SAE."""
    waiting = {"weight": 0.5, "when": {"feature": "weather", "value": 0.2}}
    answer = ask(server, features={SAILING: 0.6, COOKING: waiting})
    condition = Condition(sae=several.ids[EARLY], latent=3, value=0.2 * LARGEST)
    late = edit(several, LATE, 4, 0.5, When(conditions=(condition,)))
    steering = Steering(edits=(edit(several, EARLY, 2, 0.6), late))
    [choice] = answer["choices"]
    assert twin.decode(PROMPT, steering, several.dictionaries, TOKENS).agrees(choice["token_ids"])

    computed = naive(several, steering, [*PROMPT, *choice["token_ids"][:-1]])
    ours = answer["featurehub"]
    assert [each["name"] for each in ours["saes"]] == [LATE, EARLY]
    for report in ours["saes"]:
        doses = [each.dose for each in computed[report["hook"]] if each.dose]
        assert report["steered_tokens"] == len(doses) > 0
        assert report["dose"] == pytest.approx(sum(doses) / len(doses), rel=1e-3)
    early, waited = ours["applied"]
    assert early["tokens"] == len(PROMPT) + len(choice["token_ids"]) - 1 > waited["tokens"] > 0
    assert [early["dose"], waited["dose"]] == [each["dose"] for each in reversed(ours["saes"])]


def test_two_saes_at_one_hook_point_are_one_change_of_the_stream(server: str, several: Several) -> None:
    answer = ask(server, features={COOKING: 0.5, "chess": -0.4})
    steering = Steering(edits=(edit(several, LATE, 4, 0.5), edit(several, OTHER, 7, -0.4)))
    [choice] = answer["choices"]
    assert twin.decode(PROMPT, steering, several.dictionaries, TOKENS).agrees(choice["token_ids"])
    late, other = answer["featurehub"]["saes"]
    assert (late["name"], other["name"], late["hook"]) == (LATE, OTHER, other["hook"])
    assert late["dose"] == other["dose"] > 0


@pytest.mark.parametrize(
    "edit",
    [
        {"weight": 0.5},
        {"mode": "pin", "weight": 0.5},
        {"mode": "mul", "weight": -0.5},
        {"mode": "ablate"},
        {"weight": 0.5, "when": {"feature": "weather", "value": 0.2}},
    ],
)
def test_a_group_is_its_members_token_for_token(server: str, several: Several, edit: dict[str, Any]) -> None:
    """Its members lie in two SAEs at two hook points; the naive twin is the request that names each."""
    members = {SAILING: 1.0, COOKING: 0.5, "gardening": -0.5}
    with closing(open_store(several.database)) as store, store.write() as writer:
        writer.put_group("outdoors", members)
    alone = {
        name: {**edit, **({"weight": edit["weight"] * m} if "weight" in edit else {})} for name, m in members.items()
    }
    for positions in ("all", "generated"):
        one = ask(server, features={"outdoors": edit}, steer={"positions": positions})
        each = ask(server, features=alone, steer={"positions": positions})
        assert one["choices"][0]["token_ids"] == each["choices"][0]["token_ids"]
        applied = one["featurehub"]["applied"]
        assert {part["group"] for part in applied} == {"outdoors"}
        assert [{**part, "group": None} for part in applied] == each["featurehub"]["applied"]
        assert one["featurehub"]["saes"] == each["featurehub"]["saes"]
        # Where a condition waits for a token of the prompt, none that the model wrote need be steered.
        assert positions == "generated" or any(part["tokens"] for part in applied)


def test_each_sae_reads_the_stream_at_its_own_hook_point(server: str, several: Several) -> None:
    for reads in ({"top_k": 3}, {"top_k": 3, "sae": EARLY}, {"features": ["weather", COOKING, "chess"]}):
        answer = ask(server, return_activations=reads)
        ids = [*PROMPT, *answer["choices"][0]["token_ids"][:-1]]
        at = streams(ids)
        by_sae: dict[str, list[Any]] = defaultdict(list)
        for token in answer["featurehub"]["activations"]:
            by_sae[token["sae"]].append(token)
        names = {id: name for name, id in several.ids.items()}
        assert len(by_sae) == (1 if "sae" in reads else 3)
        for sae, tokens in by_sae.items():
            expected = DICTIONARIES[names[sae]].encode(at[names[sae]])
            assert [token["position"] for token in tokens] == list(range(len(ids)))
            for token, row in zip(tokens, expected, strict=True):
                if "features" in reads:
                    latent = {EARLY: 3, LATE: 4, OTHER: 7}[names[sae]]
                    values, wanted = [each["activation"] for each in token["features"]], [float(row[latent])]
                else:
                    values, wanted = [each["activation"] for each in token["features"]], row.topk(3).values.tolist()
                    wanted = [each for each in wanted if each > 0]
                assert values == pytest.approx(wanted, rel=1e-3, abs=1e-2)


def test_a_name_of_two_saes_is_a_conflict_and_what_it_says_resolves_it(server: str, several: Several) -> None:
    error = ask(server, 409, features={"banking": 0.5})["error"]
    assert (error["code"], error["param"], len(error["candidates"])) == ("ambiguous_feature", "features.banking", 2)
    for sae in (EARLY, LATE):
        assert f"sae:{sae}/1" in error["message"]
        [applied] = ask(server, features={f"sae:{sae}/1": 0.5})["featurehub"]["applied"]
        assert (applied["sae"], applied["label"]) == (several.ids[sae], "banking")
        assert applied["id"] in error["candidates"]


def test_a_stale_sae_among_fresh_ones_stops_only_its_own_features(server: str) -> None:
    fresh = ask(server, features={SAILING: 0.5, COOKING: 0.5})["featurehub"]
    assert ({each["state"] for each in (*fresh["applied"], *fresh["saes"])}, fresh["warnings"]) == ({"fresh"}, [])
    error = ask(server, 409, features={SAILING: 0.5, "music": 0.5})["error"]
    assert (error["code"], error["report"]) == ("stale_feature", "dr_other")
    warned = ask(server, features={SAILING: 0.5, "music": 0.5}, steer={"on_stale": "warn"})["featurehub"]
    assert [each["state"] for each in warned["applied"]] == ["fresh", "stale"]
    assert [each["code"] for each in warned["warnings"]] == ["feature_stale"]


def test_the_server_says_which_saes_it_has(server: str, several: Several) -> None:
    root = server.removesuffix("/v1")
    listed = httpx.get(f"{server}/saes").json()["data"]
    assert [(each["name"], each["loaded"]) for each in listed] == [*((name, True) for name in SERVED), (BETWEEN, False)]
    health = httpx.get(f"{root}/healthz").json()
    assert [(each["id"], each["hook"]) for each in health["saes"]] == [
        (several.ids[name], str(HOOKS[name])) for name in SERVED
    ]
    assert (health["state"], [each["state"] for each in health["saes"]]) == ("stale", ["fresh", "fresh", "stale"])


def test_the_prefix_cache_keeps_the_saes_apart(server: str) -> None:
    """The same latent, weight and prompt; asked again, each finds its own blocks and no others."""
    steered = [{}, {"features": {"sae:early/1": 0.7}}, {"features": {"sae:late/1": 0.7}}]
    first = [ask(server, prompt=LONG, **each) for each in steered]
    again = [ask(server, prompt=LONG, **each) for each in steered]

    def cached(answers: list[Any]) -> list[int]:
        details = (answer["usage"]["prompt_tokens_details"] for answer in answers)
        return [each["cached_tokens"] or 0 if each else 0 for each in details]

    assert cached(first) == [0, 0, 0]
    assert cached(again) == [len(LONG) // 32 * 32] * 3
    texts = [[each["choices"][0]["text"] for each in answers] for answers in (first, again)]
    assert texts[0] == texts[1]
    assert len(set(texts[0])) == 3


def exchange(url: str, *saes: str, key: str = KEY) -> httpx.Response:
    return httpx.post(f"{url}/saes", json={"saes": saes}, headers={"x-featurehub-key": key}, timeout=120)


class Asker:
    """Asks for one feature again and again, and keeps what came."""

    def __init__(self, url: str, feature: str) -> None:
        self.url, self.feature = url, feature
        self.text = ask(url, features={feature: 0.6})["choices"][0]["text"]
        self.answers: list[Any] = []
        self.refused: list[tuple[int, str]] = []

    def run(self, over: Event) -> None:
        body = {"model": "base", "prompt": PROMPT, "max_tokens": TOKENS, "temperature": 0}
        while not over.is_set():
            answer = httpx.post(f"{self.url}/completions", json=body | {"features": {self.feature: 0.6}}, timeout=120)
            if answer.status_code == 200:
                self.answers.append(answer.json())
            else:
                self.refused.append((answer.status_code, answer.json()["error"]["message"]))

    def check(self, sae: str) -> None:
        """Every answer was steered by its SAE at every token; rounding may turn a tie in another batch."""
        for answer in self.answers:
            [report] = answer["featurehub"]["saes"]
            usage = answer["usage"]
            assert (report["name"], report["steered_tokens"]) == (sae, usage["total_tokens"] - 1)
        same = [answer["choices"][0]["text"] == self.text for answer in self.answers]
        assert len(same) > 3
        assert sum(same) >= 0.8 * len(same)


def test_pages_show_all_of_them(page: Page, server: str) -> None:
    root = server.removesuffix("/v1")
    states_of(page, root, OTHER, "several")
    expect(page.locator("#drift-title").locator("..")).to_contain_text("music")
    assert searched(page, root, SAILING, "several") == SAILING
    played(page, root, COOKING, "several")


def test_saes_come_and_go_under_load(server: str) -> None:
    """Who uses an SAE that stays notices nothing; who uses one that goes is answered, or told so."""
    askers: Sequence[Asker] = [Asker(server, SAILING), Asker(server, COOKING)]
    over = Event()
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(each.run, over) for each in (*askers, *askers)]
        try:
            for saes in ((EARLY,), (EARLY, OTHER), (OTHER, LATE, EARLY), (EARLY, LATE), SERVED):
                answer = exchange(server, *saes)
                assert answer.status_code == 200, answer.text
                assert [each["name"] for each in answer.json()["data"] if each["loaded"]] == list(saes)
                time.sleep(0.5)
        finally:
            over.set()
        for each in running:
            each.result()
    stays, goes = askers
    stays.check(EARLY)
    goes.check(LATE)
    assert not stays.refused
    assert goes.refused
    assert {status for status, _ in goes.refused} <= {400, 404}
    assert all(COOKING in message or "does not hold the SAE" in message for _, message in goes.refused)


def test_what_cannot_be_exchanged_is_refused_and_changes_nothing(server: str) -> None:
    elsewhere = exchange(server, *SERVED, BETWEEN)
    assert (elsewhere.status_code, elsewhere.json()["error"]["code"]) == (400, "invalid_config")
    assert "layers.1.resid_post, layers.3.resid_post only" in elsewhere.json()["error"]["message"]
    assert exchange(server, EARLY, key="guessed").status_code == 403
    listed = httpx.get(f"{server}/saes").json()["data"]
    assert [each["name"] for each in listed if each["loaded"]] == list(SERVED)
    assert ask(server, features={SAILING: 0.5, COOKING: 0.5})["featurehub"]["steered_tokens"]
