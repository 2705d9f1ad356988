"""The report of a check, and the verdicts that take no measuring."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic_core import to_json

from featurehub.artifacts.artifact import Artifact
from featurehub.artifacts.manifest import ModelIdentity, Part
from featurehub.features import State
from featurehub.records import Label
from featurehub.verdicts import DriftReport, FeatureVerdict

__all__ = ["FORM", "fresh", "in_form", "not_checked", "report", "stale"]

FORM = (Part.TOKENIZER, Part.CHAT_TEMPLATE)
"""The parts of a model's identity that determine the form of its prompts, and so of the canaries."""


def fresh(latent: int, label: Label) -> FeatureVerdict:
    return FeatureVerdict(
        latent=latent, label=label.text, reads=State.FRESH, steers=State.FRESH, reason="the model is the same function"
    )


def stale(latent: int, label: Label, reason: str) -> FeatureVerdict:
    return FeatureVerdict(latent=latent, label=label.text, reads=State.STALE, steers=State.UNCHECKED, reason=reason)


def not_checked(latent: int, label: Label) -> FeatureVerdict:
    reason = "not checked: the budget ended before its turn"
    return FeatureVerdict(latent=latent, label=label.text, reads=State.UNCHECKED, steers=State.UNCHECKED, reason=reason)


def in_form(verdict: FeatureVerdict, another: Sequence[Part]) -> FeatureVerdict:
    """Makes a fresh verdict suspect if the model's prompts have another form than the canaries."""
    if not another or verdict.reads is not State.FRESH:
        return verdict
    reason = f"{verdict.reason}, but on canaries in the form of another {' and '.join(another)}"
    return verdict.model_copy(update={"reads": State.SUSPECT, "reason": reason})


def report(
    artifact: Artifact,
    identity: ModelIdentity,
    state: State,
    reason: str,
    metrics: dict[str, float],
    verdicts: Sequence[FeatureVerdict],
) -> DriftReport:
    found = DriftReport(
        id="",
        artifact=artifact.manifest.id,
        model=identity.name,
        fingerprint=identity.function,
        created="",
        state=state,
        reason=reason,
        metrics=metrics,
        features=tuple(verdicts),
    )
    # The same findings are the same report, whenever they are made.
    id = hashlib.sha256(to_json(found)).hexdigest()[:12]
    return found.model_copy(update={"id": f"dr_{id}", "created": datetime.now(UTC).isoformat(timespec="seconds")})
