"""Features are named row by row: what a budget leaves, what a kill loses, and what a second run asks."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from featurehub.artifacts.artifact import open_artifact
from featurehub.dictionary import Dictionary
from featurehub.errors import BudgetExceeded, FeatureNotFound, InvalidConfig, InvalidInput
from featurehub.names import fold
from featurehub.records import Labeled, LabelVersion, Provenance
from featurehub.runs.labelers import ExplainerName, NamingConfig, ScorerName
from featurehub.runs.survey import Survey
from featurehub.store import open_store
from featurehub.store.statistics import id_of
from labeling.cluster_names import cluster_latents
from tests.labeling import endpoint as endpoints
from tests.labeling.endpoint import Answer, Endpoint, chat, good
from tests.labels import labeled
from tests.runs import naming_process
from tests.runs.naming_process import config_of, made, named, survey_of

ROOT, MOMENTS = Path(__file__).parents[2], 10
METHOD = "llm-contexts"


@pytest.fixture(scope="module")
def survey() -> Survey:
    return survey_of(3)


def attempts(folder: Path) -> dict[int, list[LabelVersion]]:
    """By latent, what a language model was asked for it; empty where nothing is registered yet."""
    found: dict[int, list[LabelVersion]] = {}
    with closing(open_store(folder / "features.db")) as store, store.read() as reader:
        for artifact in reader.artifacts():
            for latent, version in reader.attempts(artifact.id, METHOD, "m"):
                if version.provenance.prompt:
                    found.setdefault(latent, []).append(version)
    return found


def labels(folder: Path) -> dict[int, str]:
    with closing(open_store(folder / "features.db")) as store, store.read() as reader:
        return {each.latent: each.label for each in reader.features("sae")}


def test_clusters_get_their_names_from_the_labels_in_the_end(tmp_path: Path, survey: Survey) -> None:
    latents = survey.source.latents
    neighbors = {each: [other for other in latents if other != each] for each in latents}
    with Endpoint(good).running() as url:
        named(tmp_path, config_of(url), survey._replace(source=survey.source._replace(neighbors=neighbors)))
    with closing(open_store(tmp_path / "features.db")) as store, store.read() as reader:
        found = reader.feature_set("sae")
    known = {latent: outcome for latent, (outcome, _) in found.labels.items() if isinstance(outcome, Labeled)}
    W_dec = Dictionary.load(open_artifact(tmp_path / "sae").weights).W_dec.numpy()
    assert list(found.clusters) == cluster_latents(W_dec, neighbors, known)
    assert any(each.name for each in found.clusters)


def test_what_was_asked_is_not_asked_again(tmp_path: Path, survey: Survey) -> None:
    endpoint = Endpoint(good)
    with endpoint.running() as url:
        assert named(tmp_path, config_of(url), survey) == []
        first, before = len(endpoint.asked), labels(tmp_path)
        assert named(tmp_path, config_of(url), survey) == []
    assert first == len(endpoint.asked) == len(attempts(tmp_path)) > 15
    assert labels(tmp_path) == before
    with closing(open_store(tmp_path / "features.db")) as store, store.read() as reader:
        heads = [fold(each.head) for each in reader.labels("sae").values()]
    assert len(heads) == len(set(heads)) > 3
    with closing(open_store(tmp_path / "features.db")) as store, store.read() as reader:
        feature = next(each for each in reader.features("sae") if each.label)
        [version] = [each for each in reader.details(feature.id).labels if isinstance(each.outcome, Labeled)][-1:]
    assert version.provenance.answer == endpoints.NAMING
    assert (version.provenance.method, version.provenance.model) == (METHOD, "m")
    assert "[[" in version.provenance.prompt
    assert feature.strength


def test_names_with_colons_and_brackets_stay_whole_and_are_told_apart_run_after_run(
    tmp_path: Path, survey: Survey
) -> None:
    name = "Note: topics (all)"
    with Endpoint(lambda *_: chat(json.dumps({"name": name, "words": ["loan", "rain"]}))).running() as url:
        named(tmp_path, config_of(url), survey)
        before = labels(tmp_path)
        for _ in range(2):
            named(tmp_path, config_of(url), survey)
            assert labels(tmp_path) == before
    with closing(open_store(tmp_path / "features.db")) as store, store.read() as reader:
        found = reader.labels("sae")
        assert {each.name for each in found.values()} == {name}
        assert {"", "loan", "rain"} <= {each.qualifier for each in found.values()}
        assert all(reader.resolve(each.head).latent == latent for latent, each in found.items())
        with pytest.raises(FeatureNotFound):
            reader.resolve("note")


def test_another_scorer_or_model_asks_anew(tmp_path: Path, survey: Survey) -> None:
    endpoint = Endpoint(good)
    with endpoint.running() as url:
        config = config_of(url)
        named(tmp_path, config, survey)
        first = len(endpoint.asked)
        assert config.llm is not None
        named(tmp_path, config.model_copy(update={"llm": config.llm.model_copy(update={"model": "n"})}), survey)
        assert len(endpoint.asked) == 2 * first
        named(tmp_path, config.model_copy(update={"scorer": ScorerName.DETECTION}), survey)
    assert len(endpoint.asked) > 2 * first


def test_a_budget_that_ends_keeps_labels_and_the_next_run_goes_on(tmp_path: Path, survey: Survey) -> None:
    endpoint = Endpoint(lambda *_: chat(endpoints.NAMING, tokens=(2900, 100)))
    with endpoint.running() as url:
        left = named(tmp_path, config_of(url, tokens=30_000), survey)
        assert endpoint.granted <= 30_000
        asked = len(endpoint.asked)
        assert 0 < asked == len(attempts(tmp_path)) < len(survey.source.latents)
        assert left
        assert not set(left) & set(attempts(tmp_path))
        assert named(tmp_path, config_of(url), survey) == []
        assert len(endpoint.asked) - asked <= len(left)


def test_what_got_no_answer_is_asked_again_the_next_time_and_what_got_a_bad_one_is_not(
    tmp_path: Path, survey: Survey
) -> None:
    bad, none = chat("no JSON"), Answer('{"error": {"message": "odd"}}', 418)
    for answer, again in ((bad, False), (none, True)):
        folder = tmp_path / str(again)
        endpoint = Endpoint(lambda number, body, first=answer: first if number < 5 else good(number, body))
        with endpoint.running() as url:
            named(folder, config_of(url), survey)
            first = len(endpoint.asked)
            named(folder, config_of(url), survey)
        assert len(endpoint.asked) - first == (5 if again else 0)


def test_an_endpoint_that_only_fails_ends_the_run_and_makes_no_label(tmp_path: Path, survey: Survey) -> None:
    with Endpoint(lambda *_: chat("no JSON")).running() as url, pytest.raises(BudgetExceeded, match="not of the form"):
        named(tmp_path, config_of(url), survey_of(6))
    assert 20 <= len(attempts(tmp_path)) < 30
    assert not any(labels(tmp_path).values())
    with Endpoint(lambda *_: Answer("{}", 401)).running() as url, pytest.raises(InvalidInput, match="does not answer"):
        named(tmp_path / "other", config_of(url), survey)


def test_a_relabel_keeps_old_names_and_what_a_person_wrote_stays(tmp_path: Path, survey: Survey) -> None:
    assert named(tmp_path, NamingConfig(), survey) == []
    offline = {latent: label for latent, label in labels(tmp_path).items() if label}
    artifact = made(tmp_path / "sae", 24).manifest.id
    with Endpoint(lambda *_: chat('{"name": "New thing", "words": ["banking", "loan"]}')).running() as url:
        named(tmp_path, config_of(url), survey)
        now = labels(tmp_path)
        changed = [latent for latent, label in offline.items() if now[latent] != label]
        assert changed
        with closing(open_store(tmp_path / "features.db")) as store:
            with store.read() as reader:
                assert all(reader.resolve(offline[latent]).latent == latent for latent in changed)
            with store.write() as writer:
                mine = (labeled("My own"), Provenance(author="me", method="person"))
                writer.put_label(id_of(artifact, changed[0]), *mine)
        named(tmp_path, config_of(url), survey)
    assert labels(tmp_path)[changed[0]] == "My own"


def test_other_explainers_name_through_the_same_door(tmp_path: Path, survey: Survey) -> None:
    config = NamingConfig(explainer=ExplainerName.PROJECTION, labels=NamingConfig().labels)
    with pytest.raises(BudgetExceeded, match="no token that it promotes"):
        named(tmp_path, config, survey_of(6))
    with pytest.raises(InvalidInput, match="--llm-url and --llm-model"):
        named(tmp_path / "llm", NamingConfig(explainer=ExplainerName.LLM), survey)


def test_names_are_scored_by_an_embedding_where_that_is_asked_for(tmp_path: Path) -> None:
    config = NamingConfig(scorer=ScorerName.EMBEDDING, labels=config_of("").labels)
    named(tmp_path, config, survey_of(1))
    with closing(open_store(tmp_path / "features.db")) as store, store.read() as reader:
        found = [outcome for outcome, _ in reader.feature_set("sae").labels.values() if isinstance(outcome, Labeled)]
    assert len(found) > 2
    assert all(each.scores["chance"] == 0.5 < each.scores["embedding_low"] for each in found)
    with pytest.raises(InvalidConfig, match="there is no embedder"):
        named(tmp_path / "other", config.model_copy(update={"embedder": "word2vec"}), survey_of(1))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The URL of an endpoint in a process of its own, and the file of what it was asked."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path / "asked"
    log.touch()
    process = subprocess.Popen([sys.executable, endpoints.__file__, str(port), str(log)])
    try:
        yield f"http://127.0.0.1:{port}/v1", log
    finally:
        process.kill()
        process.wait()


def test_a_run_killed_at_any_moment_goes_on_without_asking_again(served: tuple[str, Path], tmp_path: Path) -> None:
    url, log = served
    command = [sys.executable, naming_process.__file__, str(tmp_path), url]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    moments, killed = random.Random(0), 0
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(MOMENTS):
            known = {latent: each[0].provenance.prompt for latent, each in attempts(tmp_path).items()}
            asked = len(log.read_text().splitlines())
            process.stdin.write("\n")
            process.stdin.flush()
            child = int(process.stdout.readline())
            time.sleep(moments.uniform(0.0, 0.5))
            os.kill(child, signal.SIGKILL)
            killed += int(process.stdout.readline()) == signal.SIGKILL
            new = [json.loads(line) for line in log.read_text().splitlines()[asked:]]
            assert not [text for text in new if any(prompt.endswith(text) for prompt in known.values())]
            assert attempts(tmp_path).keys() >= known.keys()
        process.stdin.write("\n")
        process.stdin.close()
        assert [process.stdout.readline().strip() for _ in range(2)][1] == "0"
    found = attempts(tmp_path)
    assert len(found) == len({each[0].provenance.prompt for each in found.values()}) == 6 * naming_process.COPIES
    assert killed >= MOMENTS / 2
    assert all([each.version for each in versions] == list(range(1, len(versions) + 1)) for versions in found.values())
