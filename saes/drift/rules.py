"""Turns effect sizes into verdicts. Every threshold of a drift check is here.

A feature's reading is judged by what its label promises: the F1 between "the label is there" (the judge's word) and
"the feature fires" (above the level that was best on the old canaries).

1. Too little to judge: the label was never predicted well (F1 < ``f1_min``) or occurs in too few answers. Then only the
   correlation of the activations decides: below ``r_stale`` stale, below ``r_suspect`` suspect, and suspect for lack of
   power if there are too few firings.
2. stale     the F1 fell by more than ``fall_text`` on the old canaries, or by more than ``fall_world`` on answers that
             the new model gave to the canaries' prompts, and by more than chance, unless the activations correlate
             below ``r_stale``, too; or the new model no longer says what the label names
3. suspect   the F1 fell as far, but on so few texts that it may be chance; or it held, and the activations correlate
             below ``r_suspect``
4. fresh     otherwise

The artifact: stale where it no longer reconstructs (EV below ``ev_stale`` of what it was; then every feature is) or
most judged features are stale; unchecked where none has a label, since a good reconstruction proves nothing; suspect
where more than ``share_suspect`` of them are not fresh; unchecked where some were left out; else fresh.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import NamedTuple

from featurehub.features import State
from featurehub.settings import Frozen
from featurehub.verdicts import FeatureVerdict, Statistic

__all__ = ["FeatureMeasures", "Thresholds", "judge_artifact", "judge_feature", "reconstructs"]


class Thresholds(Frozen):
    """Effect sizes that decide a verdict; chosen after a first experiment with fourteen retrained siblings.

    Attributes:
        f1_min: A label is judged only if its F1 on the old canaries was at least this.
        positives_min: A label is judged only if it occurs in at least this many answers.
        fall_text: Stale if the F1 on the old canaries falls by more than this, and by more than chance.
        fall_world: The same on the models' own answers.
        errors: A fall is more than chance if it is more than this many standard errors. Of a feature that holds, it is
            more than two of them once in forty times.
        r_suspect: Suspect if old and new activations correlate less than this.
        r_stale: Stale if they correlate less than this and the label cannot be judged.
        firings_min: Tokens on which a feature must have fired for its correlation to decide.
        ev_stale: The artifact is stale if it explains less than this share of the new model's variance, relative to
            what it explained of the old one's. SAEs of spans never explain most of the variance of single tokens.
        share_stale: The artifact is stale if more than this share of its labelled features is.
        share_suspect: The artifact is suspect if more than this share of its labelled features is not fresh.
    """

    f1_min: float = 0.6
    positives_min: int = 8
    fall_text: float = 0.10
    fall_world: float = 0.15
    errors: float = 2.0
    r_suspect: float = 0.7
    r_stale: float = 0.4
    firings_min: int = 20
    ev_stale: float = 0.5
    share_stale: float = 0.5
    share_suspect: float = 0.05


class FeatureMeasures(NamedTuple):
    """Statistics of one feature, old model against new.

    Attributes:
        latent: The feature's latent.
        label: Its label.
        f1_text_old: F1 on the old canaries as read by the old model, in [0, 1].
        f1_text_new: F1 on the old canaries as read by the new model.
        f1_world_old: F1 on the old model's own answers.
        f1_world_new: F1 on the new model's own answers.
        f1_text_error: Standard error of the fall on the old canaries, as if others had been chosen.
        f1_world_error: Standard error of the fall on the models' own answers.
        positives_text: Number of old canaries with the label.
        positives_world_old: Number of the old model's answers with the label or with the feature, whichever is more.
        positives_world: The same of the new model's answers.
        r: Correlation of old and new activations on the old canaries, in [-1, 1]; nan if either is constant.
        firings: Number of tokens of the old canaries on which the feature fired.
    """

    latent: int
    label: str
    f1_text_old: float
    f1_text_new: float
    f1_world_old: float
    f1_world_new: float
    f1_text_error: float
    f1_world_error: float
    positives_text: int
    positives_world_old: int
    positives_world: int
    r: float
    firings: int


def judge_feature(m: FeatureMeasures, t: Thresholds) -> FeatureVerdict:
    """Returns the verdict on one feature; whether it still steers stays unchecked."""
    state, reason = by_label(m, t) if has_label_power(m, t) else by_correlation(m, t)
    text, world = falls_of(m, t)
    compared = [
        ("f1_fall_text", text.size, text.limit, m.positives_text),
        ("f1_fall_world", world.size, world.limit, m.positives_world),
        ("correlation", m.r, t.r_suspect, m.firings),
    ]
    evidence = [
        Statistic(statistic=name, value=v, threshold=limit, n=n) for name, v, limit, n in compared if isfinite(v)
    ]
    return FeatureVerdict(
        latent=m.latent,
        label=m.label,
        reads=state,
        steers=State.UNCHECKED,
        reason=reason,
        evidence=tuple(evidence),
    )


def has_label_power(m: FeatureMeasures, t: Thresholds) -> bool:
    return m.positives_text >= t.positives_min and m.f1_text_old >= t.f1_min


class Fall(NamedTuple):
    """A label's F1, old model against new; one of more than ``limit`` makes a feature stale, if it is not chance."""

    texts: str
    old: float
    new: float
    limit: float
    error: float

    @property
    def size(self) -> float:
        return self.old - self.new

    def __str__(self) -> str:
        return f"on {self.texts} its label's F1 fell from {self.old:.2f} to {self.new:.2f}"


def falls_of(m: FeatureMeasures, t: Thresholds) -> tuple[Fall, Fall]:
    """On the old canaries, and on the models' own answers."""
    return (
        Fall("the old canaries", m.f1_text_old, m.f1_text_new, t.fall_text, m.f1_text_error),
        Fall("answers of the new model", m.f1_world_old, m.f1_world_new, t.fall_world, m.f1_world_error),
    )


def by_label(m: FeatureMeasures, t: Thresholds) -> tuple[State, str]:
    text, world = falls_of(m, t)
    counting = [text, world] if m.positives_world >= t.positives_min else [text]
    falls = [fall for fall in counting if fall.size > fall.limit]
    if certain := [fall for fall in falls if fall.size > t.errors * fall.error]:
        return State.STALE, str(certain[0])
    if m.positives_world < t.positives_min <= m.positives_world_old / 2:
        seen = f"{m.positives_world} answers, of the old one's {m.positives_world_old}"
        return State.STALE, f"the new model hardly says what the label names any more: in {seen}"
    if falls and m.r < t.r_stale:
        return State.STALE, f"{falls[0]}, and old and new activations correlate only {m.r:.2f}"
    if falls:
        return State.SUSPECT, f"{falls[0]}, which on so few texts may be chance"
    if m.positives_world < t.positives_min:
        return State.SUSPECT, f"the new model's answers show the label only {m.positives_world} times: no power"
    if not m.r >= t.r_suspect:  # nan too
        return State.SUSPECT, f"the label holds, but old and new activations correlate only {m.r:.2f}"
    return State.FRESH, "label and activations hold"


def by_correlation(m: FeatureMeasures, t: Thresholds) -> tuple[State, str]:
    if m.firings < t.firings_min or not isfinite(m.r):
        return State.SUSPECT, f"it fired on {m.firings} canary tokens: no power"
    if m.r < t.r_stale:
        return State.STALE, f"old and new activations correlate only {m.r:.2f}"
    if m.r < t.r_suspect:
        return State.SUSPECT, f"old and new activations correlate only {m.r:.2f}"
    return State.FRESH, "activations hold; the label was never exact enough to be judged by"


def judge_artifact(
    metrics: Mapping[str, float], verdicts: Sequence[FeatureVerdict], t: Thresholds
) -> tuple[State, str]:
    """Returns the state of an artifact, and the reason in words.

    Args:
        metrics: Of the check; ``explained_variance_old`` and ``_new`` decide whether the SAE still reconstructs.
        verdicts: Verdicts on all labelled features.
        t: The thresholds.
    """
    if not reconstructs(metrics, t):
        old, new = metrics["explained_variance_old"], metrics["explained_variance_new"]
        return State.STALE, f"it explains {new:.2f} of the new model's variance, and {old:.2f} of the old one's"
    if not verdicts:
        return State.UNCHECKED, "no feature has a label, so that nothing could be checked"
    counts = Counter(verdict.state for verdict in verdicts)
    stale, suspect, left_out = (counts[each] for each in (State.STALE, State.SUSPECT, State.UNCHECKED))
    judged = len(verdicts) - left_out
    found = f"{stale} of {judged} labelled features are stale, {suspect} suspect"
    if left_out:
        found += f"; {left_out} were not checked"
    if stale > t.share_stale * judged:
        return State.STALE, found
    if stale + suspect > t.share_suspect * judged:
        return State.SUSPECT, found
    return (State.UNCHECKED if left_out else State.FRESH), found


def reconstructs(metrics: Mapping[str, float], t: Thresholds) -> bool:
    """Returns whether the SAE still explains enough of the new model's variance; nan is not enough."""
    return metrics["explained_variance_new"] >= t.ev_stale * max(0.0, metrics["explained_variance_old"])
