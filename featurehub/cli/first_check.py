"""`featurehub serve --drift-budget`: SAEs of which nothing is known on a model are checked before it is served."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from featurehub.artifacts.artifact import Artifact, open_artifact
from featurehub.artifacts.fingerprint import identify
from featurehub.cli.progress import console
from featurehub.errors import EngineUnavailable
from featurehub.runs.known_reports import known_report

__all__ = ["check_first", "unknown"]

CHECKED = (0, 3, 4)
"""Exit codes of a check that came to an end, whatever it found."""


def check_first(model: Path, saes: Sequence[Path], database: str, budget: str) -> None:
    """Checks those SAEs of which no report says how they stand on a model. What a check finds, serving obeys.

    Each check is a process of its own, since its engine must have left the memory before the server's comes.

    Args:
        model: Folder of the model.
        saes: Folders of the SAEs.
        database: Location of the feature database.
        budget: What each check may cost, such as 90s or 500k.

    Raises:
        ModelNotFound: The model's folder is not there.
        ArtifactNotFound: A folder holds no artifact, or an SAE is not registered.
        InvalidInput: The model cannot be read.
        EngineUnavailable: A check did not come to an end; what it said stands above.
    """
    for sae in (open_artifact(each) for each in saes):
        if not unknown(sae, model, database):
            continue
        name = sae.manifest.name
        console.print(f"{name} was not checked on this model yet: it is now, within {budget}", soft_wrap=True)
        command = [sys.executable, "-m", "featurehub.cli.main", "drift", "check", str(sae.folder)]
        options = ["--model", str(model), "--db", database, "--budget", budget]
        if (code := subprocess.run([*command, *options], check=False).returncode) not in CHECKED:
            raise EngineUnavailable(
                f"the check of {name} ended with exit code {code}; without --drift-budget the model is served with its "
                "features unchecked"
            )


def unknown(sae: Artifact, model: Path, database: str) -> bool:
    """Whether nothing is known of an SAE on a model: it computes another function, and no report checked it."""
    identity = identify(model, sae.manifest.hook)
    if sae.manifest.model.same_function(identity):
        return False
    return known_report(sae.manifest.id, identity.function, database) is None
