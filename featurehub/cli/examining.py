"""`featurehub doctor MODEL`: the table of hook points."""

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from featurehub.cli.progress import ConsoleProgress, output
from featurehub.engine.self_check import Finding
from featurehub.runs.examine import examine

__all__ = ["show_hook_points"]


def show_hook_points(model: Path) -> None:
    """Prints, for each site of three layers, whether an SAE can read and write there.

    Raises:
        ModelNotFound: The folder holds no checkpoint.
        UnsupportedModel: No hook can be put into the model at all.
    """
    table = Table("hook point", "", "largest error", box=None)
    at = defaultdict[str, list[Finding]](list)
    for each in examine(model, ConsoleProgress()):
        at[each.point].append(each)
    for name, found in at.items():
        failed = next((each for each in found if not each.passes), None)
        if not name and failed is None:
            continue
        mark = Text("✓", "green") if failed is None else Text("✗", "red")
        table.add_row(name or "the whole model", mark, told(found, failed))
    output.print(table)


def told(found: Sequence[Finding], failed: Finding | None) -> str:
    """The largest relative error, or what went wrong."""
    if failed is None:
        return f"{max((each.error for each in found if each.bound), default=0.0):.1g}"
    return failed.check if math.isinf(failed.error) else f"{failed.error:.2g}: {failed.check}"
