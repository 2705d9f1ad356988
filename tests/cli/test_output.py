"""What is printed is what was meant, whatever paths, labels and messages hold; and commands can be pasted."""

import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table
from typer.testing import CliRunner

import featurehub.cli
from featurehub.cli import drift, main, progress, serve
from featurehub.cli.progress import ConsoleProgress
from featurehub.cli.registry import location
from featurehub.demo.bundle import bundled_model
from featurehub.errors import InvalidInput
from featurehub.features import State
from featurehub.runs import adopt, build, label, train, transcoder
from featurehub.verdicts import DriftReport, FeatureVerdict

NASTY = "[/INST] [bold]x[/] :smile: [v2] \\[a]"


def test_no_markup_is_written_where_none_is_read() -> None:
    """Colors are ``Text``."""
    package = Path(featurehub.cli.__file__).parent
    tag = re.compile(r"\[/?(bold|dim|red|green|yellow|cyan)\b")
    found = [path.name for path in package.rglob("*.py") if tag.search(path.read_text())]
    assert found == []
    consoles = [each for each in vars(progress).values() if isinstance(each, Console)]
    assert len(consoles) == 2


def test_what_a_run_says_of_itself_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    said = ConsoleProgress()
    said.say(NASTY)
    said.warn(NASTY)
    with said.phase(NASTY), said.work(NASTY, 1) as work:
        work.say(NASTY)
        work(1)
    assert capsys.readouterr().err.count(NASTY) == 4


def test_tables_hold_labels_as_they_are(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress.output, "width", progress.WIDE)
    table = Table(NASTY, title=NASTY)
    table.add_row(NASTY)
    progress.output.print(table)
    assert capsys.readouterr().out.count(NASTY) == 3
    verdict = FeatureVerdict(latent=1, label=NASTY, reads=State.STALE, steers=State.FRESH, reason=NASTY)
    report = DriftReport(
        id="dr_1", artifact="a" * 64, model="m", fingerprint="f", created="2026-01-01", state=State.STALE,
        reason=NASTY, metrics={}, features=(verdict,),
    )  # fmt: skip
    drift.show(report)
    assert capsys.readouterr().out.count(NASTY) == 3


@pytest.mark.parametrize(
    ("differing", "overrides", "report", "said"),
    [
        ((), (), None, "fresh, the model is the function that it was trained on"),
        ((), (NASTY,), None, f"not checked with {NASTY}: it may be another function"),
        (("dtype",), (), None, "not checked on this model, which differs from the one that it was trained on in dtype"),
        (("dtype",), (), State.STALE, f"stale by report dr_1: {NASTY}"),
        (("dtype",), (), State.FRESH, f"fresh by report dr_1: {NASTY}"),
    ],
)
def test_what_a_server_says_of_its_sae(
    differing: tuple[str, ...],
    overrides: tuple[str, ...],
    report: State | None,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = SimpleNamespace(differences=lambda _: differing)
    manifest = SimpleNamespace(name=NASTY, id="a", model=model, hook="layers.2.mlp_out")
    artifact: Any = SimpleNamespace(manifest=manifest, folder=Path("runs/[v2] it's"))
    found = None if report is None else SimpleNamespace(state=report, id="dr_1", reason=NASTY)
    reader: Any = SimpleNamespace(report_heads=lambda ids, _: dict.fromkeys(ids, found))
    served: Any = SimpleNamespace(model=None, fingerprint="f", overrides=overrides)
    line = serve.freshness(reader, artifact, served)
    progress.console.print(line, soft_wrap=True)
    printed = capsys.readouterr().err
    assert printed.startswith(f"SAE {NASTY} at layers.2.mlp_out: {said}")
    if "drift check" in printed:
        [command] = re.findall("`(.*) <folder>`", printed)
        assert shlex.split(command) == ["featurehub", "drift", "check", "runs/[v2] it's", "--model"]


def test_an_error_is_one_line_as_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def raising() -> None:
        raise InvalidInput(NASTY)

    monkeypatch.setattr(main, "app", raising)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error (invalid_input): {NASTY}\n"


@pytest.mark.parametrize("command", ["build", "train", "label", "import", "transcoder"])
def test_the_last_line_can_be_pasted(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into a shell, from a terminal of any width."""
    folder = tmp_path / "runs of [v2] 'quoted' $HOME ü%20"
    folder.mkdir()
    text, out, db = folder / "text.json", folder / "sae", str(folder / "a b.db")
    text.write_text(json.dumps(["the loan is good and the bank is bad ."] * 100))
    metrics = {"explained_variance": 0.5, "l0": 3.0, "dead": 0.0}
    made = SimpleNamespace(manifest=SimpleNamespace(metrics=metrics), folder=out)
    monkeypatch.setattr(build, "build", lambda *_: made)
    monkeypatch.setattr(train, "train_artifacts", lambda *_: [made])
    monkeypatch.setattr(label, "label_artifact", lambda *_: None)
    monkeypatch.setattr(adopt, "adopt", lambda *_: made)
    monkeypatch.setattr("featurehub.artifacts.artifact.open_artifact", lambda *_: made)
    monkeypatch.setattr(location, "folder_of", lambda *_: out)
    monkeypatch.setattr(transcoder, "train_and_write", lambda *_: None)
    monkeypatch.setattr("featurehub.cli.transcoding.quality_table", lambda *_: Table())
    model = str(bundled_model())
    serve = ["featurehub", "serve", model, "--sae", str(out), "--db", db]
    given, wanted = {
        "build": (["build", model, "--text", text, "--out", out, "--db", db], serve),
        "import": (["saes", "import", "SAE", model, "--text", text, "--out", out, "--db", db], serve),
        "label": (["label", out, model, "--text", text, "--db", db], serve),
        "train": (
            ["train", model, "--text", text, "--out", out, "--db", db],
            ["featurehub", "label", str(out), model, "--text", str(text), "--db", db],
        ),
        "transcoder": (
            ["transcoder", "train", model, "--text", text, "--out", out],
            ["featurehub", "transcoder", "export", str(out), "--to", "circuit-tracer", "--out", "FOLDER"],
        ),
    }[command]
    done = CliRunner().invoke(main.app, list(map(str, given)), env={"COLUMNS": "40"})
    assert done.exception is None, done.output
    what, line = done.stdout.splitlines()[-1].split(": ", 1)
    assert what in ("Serve it", "Label one", "Read it elsewhere")
    assert shlex.split(line) == wanted
