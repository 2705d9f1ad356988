"""What README opens with: the form that its command writes, and that what it names is there."""

import re
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from featurehub.artifacts.artifact import open_artifact
from featurehub.cli.demo.heat import Word
from featurehub.cli.demo.retraining import Retrained
from featurehub.cli.demo.shown import Read, Search, Shown, Steered
from featurehub.cli.demo.tour import Pair, Seen, introduction
from featurehub.demo.bundle import bundled_sae
from featurehub.features import Feature, State
from featurehub.records import Labeled
from featurehub.runs.parcel import read_features
from featurehub.verdicts import DriftReport
from tests.benchmarks.transcript import (
    BEGIN,
    END,
    PICTURE,
    README,
    ROOT,
    WIDTH,
    answers,
    cut,
    picture,
    replaced,
    transcript,
)
from tests.labels import parted

SEA = Feature(id="f_1", label="sea: wave, shore", label_version=1, slug="sea", artifact="a", latent=1, density=0.1,
              max_activation=1.0)  # fmt: skip
NAMES = (
    Steered(domain="subject", query="the sea", prompt="Tell me a story."),
    Steered(domain="tone", query="sad", prompt="Tell me a story."),
)
SHOWN = Shown(
    max_tokens=8, verdicts=1, read=Read(prompt="And <what> now?", max_tokens=8), search=Search(query="sea", limit=1),
    steered=NAMES,
)  # fmt: skip
REPORT = DriftReport(
    id="dr_1", artifact="a", model="m", fingerprint="f", created="2026-01-01", state=State.SUSPECT, reason="1 is stale",
    metrics={},
)  # fmt: skip


def answer(text: str) -> Any:
    return SimpleNamespace(choices=[SimpleNamespace(message=SimpleNamespace(content=text))])


SEEN = Seen(
    "SAE tiny",
    [Pair(NAMES[0], SEA, answer("Once\n\nupon a time."), answer(f"The sea{' and the sea' * 20}."))],
    [Word("The", {}), Word("sea", {parted(SEA.label): 0.8})],
    Retrained(REPORT, SEA, "HTTP 409 no longer holds"),
)


def test_a_transcript_has_every_name_and_the_verdict_and_cuts_what_is_too_wide() -> None:
    introduced, sae, _, *lines = transcript(SEEN, SHOWN).splitlines()
    assert (introduced, sae) == ("$ featurehub demo run", "SAE tiny")
    assert lines[0].split("  ")[0] == "the sea"
    assert "“Tell me a story.”" in lines[0]
    assert lines[0].endswith(SEA.label)
    assert lines[1] == "  unsteered  Once upon a time."
    assert re.fullmatch(r"  steered    The sea( and the sea)*( and)?( the)? …", lines[2])
    assert WIDTH - 5 < len(lines[2]) <= WIDTH
    assert lines[3].startswith("sad ")
    assert lines[3].endswith("no feature goes with it")
    assert lines[-3:] == [
        "  suspect: 1 is stale", f"  asking it for {SEA.label!r}:", "  HTTP 409 no longer holds"
    ]  # fmt: skip


def test_a_transcript_says_nothing_of_a_step_that_was_left_out() -> None:
    assert "retrained" not in transcript(SEEN._replace(retrained=None), SHOWN)


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    once = replaced(f"before\n{BEGIN}\nold\n{END}\nafter\n", "new\n")
    assert once == f"before\n{BEGIN}\n```text\nnew\n```\n{END}\nafter\n"
    assert replaced(once, "new\n") == once


@pytest.mark.parametrize("readme", ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_without_the_marks_nothing_is_written(readme: str) -> None:
    with pytest.raises(SystemExit, match="begin: written by"):
        replaced(readme, "new\n")


def test_a_picture_shows_the_words_in_the_colors_of_their_features() -> None:
    drawn = picture(SEEN, SHOWN)
    said = words_of(drawn)
    assert "And <what> now?" in said
    assert "80%" in said
    [sea] = re.findall(r'class="tour-(r\d+)"[^>]*>sea</text>', drawn)[:1]
    assert re.search(rf"\.tour-{sea} {{[^}}]*fill: #58a6ff", drawn)
    assert picture(SEEN, SHOWN) == drawn


def words_of(drawn: str) -> str:
    texts = (element.text or "" for element in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text"))
    return " ".join(" ".join(texts).replace("\xa0", " ").split())


def block() -> list[str]:
    found = re.search(f"{re.escape(BEGIN)}\n```text\n(.*?)```\n{re.escape(END)}", README.read_text("utf-8"), re.DOTALL)
    assert found, "README has no transcript: run tests/benchmarks/transcript.py"
    return found[1].splitlines()


def labels() -> set[str]:
    """The labels of the SAE that ships."""
    outcomes = (outcome for outcome, _ in read_features(bundled_sae()).labels.values())
    return {outcome.label.text for outcome in outcomes if isinstance(outcome, Labeled)}


def test_readme_was_written_with_the_sae_that_ships() -> None:
    assert block()[1] == introduction(open_artifact(bundled_sae()))


def test_readme_has_the_answers_of_every_name_with_labels_of_the_sae_that_ships() -> None:
    lines, ours = block()[3:], labels()
    for name in Shown.load().steered:
        asked, *told = lines[:3]
        lines = lines[3:]
        [before] = answers(name, None)
        begin = before.removesuffix("no feature goes with it")
        assert any(cut(begin + label) == asked for label in ours), f"{asked!r}: no label of the SAE that ships"
        assert [line.split()[0] for line in told] == ["unsteered", "steered"]
        assert name.weight == 1.0, "README says that all of them are steered at weight 1.0"
    assert lines[:2] == ["", "The model was retrained. Does the SAE still hold?"]


def test_readme_shows_how_the_retrained_model_was_judged() -> None:
    verdict, asked, said = block()[-3:]
    assert re.match(r"  (fresh|suspect|stale): ", verdict)
    assert any(cut(f"  asking it for {label!r}:") == asked for label in labels())
    assert said.startswith("  HTTP 409 ")


def test_readme_has_lines_that_need_no_scrolling() -> None:
    assert max(map(len, block())) <= WIDTH


def test_readme_shows_a_picture_that_is_small_and_loads_nothing() -> None:
    [(said, path)] = re.findall(r"!\[(.*?)\]\((.*?)\)", README.read_text("utf-8"), flags=re.DOTALL)
    assert (ROOT / path).resolve() == PICTURE
    assert len(said) > 50
    drawn = PICTURE.read_text("utf-8")
    assert len(drawn.encode()) < 60_000
    assert not re.search(r"@font-face|@import|href|url\((?!#)", drawn)
    assert f"“{Shown.load().read.prompt}”" in words_of(drawn)
    assert re.search(r"\b\d+%", words_of(drawn))
