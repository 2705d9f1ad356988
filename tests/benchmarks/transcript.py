"""What README opens with: a transcript and a picture of a real run of the tour. Run it again when the SAE has changed.

python tests/benchmarks/transcript.py

1. The tour runs as `featurehub demo run` does, with the SAE that ships.
2. The transcript has every name of ``shown.toml`` in its order, with the feature that search finds first, the first
   answer without and with it, the good ones and the bad ones, and how the retrained model was judged. What is wider
   than ``WIDTH`` is cut; nothing else is left out. It replaces what stands between the two marks in README.
3. The picture is the tour's map of an answer's words and their features, as a terminal shows it. It names fonts that
   machines have, and brings none: an image in README may load nothing.
"""

import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from featurehub.artifacts.files import write_text
from featurehub.cli.demo.asking import texts
from featurehub.cli.demo.heat import heat_map
from featurehub.cli.demo.retraining import Retrained
from featurehub.cli.demo.serving import smollm2
from featurehub.cli.demo.shown import Shown, Steered
from featurehub.cli.demo.tour import Pair, Seen, map_title, run_tour
from featurehub.cli.progress import phase
from featurehub.demo.adapters import smollm2_sibling

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PICTURE = ROOT / "tests" / "benchmarks" / "tour.svg"
WIDTH = 96
"""Columns of the transcript: what GitHub shows without scrolling."""
PICTURE_WIDTH = 104
"""Columns of the picture."""
BEGIN = "<!-- begin: written by tests/benchmarks/transcript.py -->"
END = "<!-- end -->"
FONTS = 'ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace'
SVG = """\
<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: FONTS; font-size: {char_height}px; line-height: {line_height}px; white-space: pre }}
.{unique_id}-title {{ font-family: FONTS; font-size: 18px; font-weight: bold }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
""".replace("FONTS", FONTS)


def main() -> None:
    shown = Shown.load()
    seen = run_tour(smollm2(), shown, partial(smollm2_sibling, "changed", phase=phase), keep=False)
    write_text(PICTURE, picture(seen, shown))
    write_text(README, replaced(README.read_text("utf-8"), transcript(seen, shown)))


def transcript(seen: Seen, shown: Shown) -> str:
    """The transcript: the SAE, three lines for each name, and what became of the features on the retrained model."""
    found = {pair.name: pair for pair in seen.pairs}
    lines = ["$ featurehub demo run", seen.introduction, ""]
    lines += [line for name in shown.steered for line in answers(name, found.get(name))]
    if seen.retrained is not None:
        lines += ["", *verdict(seen.retrained)]
    return "".join(f"{cut(line)}\n" for line in lines)


def answers(name: Steered, pair: Pair | None) -> Iterator[str]:
    """What was asked for, what search found, and the two answers."""
    asked = f"{name.query:<24}{f'“{name.prompt}”':<40}"
    if pair is None:
        yield f"{asked}no feature goes with it"
        return
    yield asked + (pair.feature.label or pair.feature.id)
    for which, text in zip(("unsteered", "steered"), texts(pair.plain, pair.steered), strict=True):
        yield f"  {which:<11}{' '.join(text.split())}"


def verdict(retrained: Retrained) -> Iterator[str]:
    """How the check judged the SAE, and what the server said to a request for a stale feature."""
    yield "The model was retrained. Does the SAE still hold?"
    yield f"  {retrained.report.state}: {retrained.report.reason}"
    if retrained.asked is not None:
        yield f"  asking it for {retrained.asked.label!r}:"
        yield f"  {retrained.said}"


def cut(line: str) -> str:
    """A line, which ends after a word and with "…" where it was too wide."""
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1].rpartition(' ')[0].rstrip()} …"


def replaced(readme: str, lines: str) -> str:
    """README with another transcript.

    Raises:
        SystemExit: It has not both marks, once each.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in rest or END in before + after:
        raise SystemExit(f"README needs the marks {BEGIN!r} and {END!r}, once each: the transcript goes between them")
    return f"{before}{BEGIN}\n```text\n{lines}```\n{END}{after}"


def picture(seen: Seen, shown: Shown) -> str:
    """The map of an answer's words in a terminal's window, as SVG."""
    terminal = Console(
        record=True, file=io.StringIO(), width=PICTURE_WIDTH, force_terminal=True, color_system="truecolor",
        highlight=False, markup=False, emoji=False,
    )  # fmt: skip
    terminal.print(heat_map(seen.words, map_title(shown.read), PICTURE_WIDTH))
    return terminal.export_svg(title="featurehub demo run", theme=MONOKAI, code_format=SVG, unique_id="tour")


if __name__ == "__main__":
    main()
