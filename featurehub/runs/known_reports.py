"""What earlier drift checks say, so that none is run again on the same function."""

from contextlib import closing

from featurehub.features import State
from featurehub.store import open_store
from featurehub.verdicts import DriftReport

__all__ = ["known_report"]


def known_report(artifact: str, function: str, database: str) -> DriftReport | None:
    """The latest report of an SAE on a function; None where there is none, or its check came to nothing.

    Args:
        artifact: Id of the SAE.
        function: Hash of what the model computes (``ModelIdentity.function``).
        database: Location of the feature database.

    Raises:
        ArtifactNotFound: The SAE is not registered.
        StoreError: The database cannot be read.
    """
    with closing(open_store(database)) as store, store.read() as reader:
        report = reader.latest_report(artifact, function)
    return None if report is None or report.state is State.UNCHECKED else report
