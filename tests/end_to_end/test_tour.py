"""The tour from its first answer to the refused feature, with the planted model in SmolLM2's place: it boots sooner."""

import html
import re
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from featurehub.cli.demo import retraining, tour
from featurehub.cli.demo.serving import Demo
from featurehub.cli.demo.shown import Read, Search, Shown, Steered
from featurehub.cli.demo.tour import Seen, run_tour
from featurehub.cli.server import free_port
from featurehub.demo.bundle import bundled_model, sibling
from featurehub.runs.parcel import pack, unpack
from tests.benchmarks.transcript import picture, transcript

pytestmark = pytest.mark.engine

SHOWN = Shown(
    max_tokens=24,
    verdicts=4,
    read=Read(prompt="tell me about banking .", max_tokens=8),
    search=Search(query="pirate", limit=3),
    steered=(
        Steered(domain="tone", query="pirate", prompt="tell me something ."),
        Steered(domain="subject", query="cooking", prompt="tell me something .", weight=0.5),
    ),
)

TWICE = ("unsteered", "steered")


@pytest.fixture
def unpacked(built: Any, tmp_path: Path) -> Demo:
    """The planted model with its SAE as a bundle ships it."""
    parcel = pack(built.artifact.folder, built.database, tmp_path / "parcel").folder
    database = str(tmp_path / "home" / "featurehub.db")
    return Demo(bundled_model(), unpack(parcel, tmp_path / "home" / "sae", database).folder, database)


def test_it_steers_reads_searches_and_refuses_what_went_stale(
    unpacked: Demo, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    monkeypatch.setattr(tour, "PORT", port)
    monkeypatch.setattr(retraining, "PORT", port)
    monkeypatch.setattr(tour.output, "width", 400)  # Answers stand in one line of their cells.
    seen = run_tour(unpacked, SHOWN, partial(sibling, "changed"), keep=False)
    said = capsys.readouterr().out
    steered, rest = said.split("which features made this answer")
    for each in SHOWN.steered:
        assert f"{each.query}  ({each.domain})" in steered
    doses = {weight: float(dose) for weight, dose in re.findall(r"\+(\d\.\d) is [\d.]+, dose (\d\.\d+)", steered)}
    assert doses.keys() == {"1.0", "0.5"}
    assert all(0.05 < dose < 1.0 for dose in doses.values())
    read, rest = rest.split("a search for “pirate”")
    assert re.search(r"^\S.*? \d+%", read, flags=re.MULTILINE)
    assert any(word.shares for word in seen.words)
    assert re.search(r"HTTP 409 '.*stale", rest)
    assert f"featurehub refresh {unpacked.sae} --model {sibling('changed')}" in rest
    check_readme_could_open_with(seen, said)


def check_readme_could_open_with(seen: Seen, said: str) -> None:
    """What is written for README is what the terminal showed."""
    introduction, _, *lines = transcript(seen, SHOWN).splitlines()[1:]
    assert introduction in said
    assert [line.split()[0] for line in lines[:6]] == [*("pirate", *TWICE), *("cooking", *TWICE)]
    shown = (line.split(maxsplit=1)[1].rstrip(" …")[:40] for line in (*lines[1:3], *lines[4:6]))
    assert all(answer in said for answer in shown)
    assert lines[-1].startswith("  HTTP 409 '")
    drawn = picture(seen, SHOWN)
    ElementTree.fromstring(drawn)
    texts = re.findall(r">([^<>]+?)(?:&#160;)*</text>", drawn)
    assert {html.escape(word.text) for word in seen.words} <= set(texts)
