"""What was decided about a new checkpoint of a model, and why."""

from enum import StrEnum

from featurehub.settings import Frozen

__all__ = ["AffectedVariant", "Decision", "Ruling"]


class Ruling(StrEnum):
    """What became of an alias when a checkpoint appeared.

    Attributes:
        HOLDS: Its SAE holds on the checkpoint, and the alias stays on it.
        REFRESHED: Its SAE was trained on for the checkpoint, and the alias means that one now.
        KEPT_BACK: Too little could be shown, or too many names were lost: the alias stays where it was.
        STALE: Its SAE does not hold, and training anew is better: the alias stays where it was.
        UNREADABLE: The checkpoint cannot be read, or not be served.
    """

    HOLDS = "holds"
    REFRESHED = "refreshed"
    KEPT_BACK = "kept back"
    STALE = "stale"
    UNREADABLE = "unreadable"

    @property
    def exit_code(self) -> int:
        """Exit status for a pipeline to act on, as that of a drift check: 0, 3 where a person should look, 4."""
        return {Ruling.HOLDS: 0, Ruling.REFRESHED: 0, Ruling.KEPT_BACK: 3}.get(self, 4)


class AffectedVariant(Frozen):
    """A stored variant some of whose features changed.

    Attributes:
        variant: Its name and version.
        features: What became of each feature that was not kept, in words.
    """

    variant: str
    features: tuple[str, ...]


class Decision(Frozen):
    """One decision: a line of the log.

    Attributes:
        at: When it was made, ISO 8601 in UTC.
        checkpoint: Folder of the checkpoint.
        files: Digest of the names, sizes and times of its files.
        alias: The alias of an SAE that it is about.
        outcome: What was decided.
        reason: Why, in words.
        fingerprint: Hash of the function that the checkpoint computes; "" where that could not be told.
        before, after: Ids of the SAE that the alias meant before, and means now.
        report: Id of the drift report; "" without one.
        variants: Stored variants that changed with the alias.
        seconds: How long it took.
    """

    at: str
    checkpoint: str
    files: str
    alias: str
    outcome: Ruling
    reason: str
    fingerprint: str = ""
    before: str
    after: str
    report: str = ""
    variants: tuple[AffectedVariant, ...] = ()
    seconds: float = 0.0
