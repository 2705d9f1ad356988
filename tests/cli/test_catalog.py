"""`featurehub saes catalog`: it says for each release what is in the way, and README's figures are its own."""

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from featurehub.cli import main as main_module
from featurehub.cli.progress import output
from saes.formats.catalog import CatalogEntry, catalog
from saes.formats.registry import registry

README = Path(__file__).parents[2] / "README.md"
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["featurehub", "saes", "catalog", *map(str, arguments)])
        monkeypatch.setattr(output, "width", 200)
        with pytest.raises(SystemExit) as ended:
            main_module.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    return call


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_each_release_says_whether_it_is_read_and_its_model_hooked(run: Run) -> None:
    code, said = run("--model", "gemma-2-2b")
    assert code == 0
    rows = {cells(line)[0]: cells(line)[2:] for line in said.splitlines() if line.startswith("│")}
    assert rows["gemma-scope-2b-pt-res"] == ["316", "yes", "yes"]
    assert rows["gemma-scope-2b-pt-att"] == ["260", "yes", "yes"]
    assert rows["gemma-scope-2b-pt-transcoders"] == ["26", "no: transcoder", "yes"]
    assert "what was published" in said
    assert "featurehub saes import gemma-scope-2b-pt-att/layer_0/width_16k/average_l0_104" in said


def test_the_file_has_every_sae_by_itself(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "catalog.json"
    assert run("--json", file)[0] == 0
    rows = json.loads(file.read_text())
    assert len(rows) == sum(len(release.entries) for release in registry().values())
    by_name = {f"{row['release']}/{row['id']}": row for row in rows}
    assert by_name["gpt2-small-res-jb/blocks.7.hook_resid_pre"] == {
        "release": "gpt2-small-res-jb", "id": "blocks.7.hook_resid_pre", "model": "gpt2-small",
        "architecture": "GPT2LMHeadModel", "hook": "layers.7.resid_pre", "ready": True, "unreadable": None,
        "unhookable": None, "ours": None,
    }  # fmt: skip
    refused = by_name["gpt2-small-resid-post-v5-32k/blocks.3.hook_resid_post"]
    assert (refused["hook"], refused["ready"], refused["ours"]) == ("layers.3.resid_post", False, True)
    assert "divides each token by its own length" in refused["unreadable"]


def test_a_model_that_nobody_made_saes_for_is_named(run: Run) -> None:
    code, said = run("--model", "bloom-176b")
    assert code == 2
    assert "bloom-176b" in said


KINDS = {
    "transcoder": "no SAEs of one place: transcoders, and some that read earlier tokens too",
    "temporal": "no SAEs of one place: transcoders, and some that read earlier tokens too",
    "normalized": "divide each token by its own length, for which no weights can stand",
}


def line_of(entry: CatalogEntry) -> str:
    if entry.obstacle is None:
        return "read here, and their models hooked"
    return KINDS[entry.obstacle.kind] if entry.unreadable else "read here, their models' architectures not hooked yet"


def test_readme_has_the_figures_of_the_walk() -> None:
    counts = Counter(line_of(entry) for entry in catalog())
    total = counts.total()
    lines = [f"{count:6,}  {count / total:4.0%}  {said}" for said, count in counts.most_common()]
    table = "\n".join([f"{total:6,} 100%  SAEs in sae-lens' registry", *lines])
    assert f"```text\n{table}\n```" in README.read_text("utf-8"), f"README has other figures than these:\n{table}"
