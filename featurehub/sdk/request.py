"""From our keyword arguments to openai's: edits travel in ``extra_body``."""

from collections.abc import Iterable, Mapping
from typing import Any

from featurehub.errors import InvalidInput
from featurehub.features import Edit, SteerOptions
from featurehub.parsing import parse_edits
from featurehub.sdk.aborts import ends
from featurehub.sdk.handling import Watch
from featurehub.sdk.named import Named, key_of, many, some, weight_in
from featurehub.sdk.snapshot import Snapshot
from featurehub.sdk.variant import Variant
from featurehub.settings import Limits
from featurehub.variants import StoredVariant

__all__ = ["Activations", "Features", "Model", "Steer", "steered", "watch_of"]

Model = str | Variant | Snapshot | StoredVariant
# {feature, group, name or id: weight | {"weight", "mode"} | Edit}
Features = Mapping[Any, float | Mapping[str, Any] | Edit]
Steer = Mapping[str, str] | SteerOptions
# How many of each token's strongest features to return, or features, or {"top_k": …, "sae": …, "features": […]}.
Activations = int | Named | Iterable[Named] | Mapping[str, Any]


def steered(options: dict[str, Any]) -> dict[str, Any]:
    """Turns the arguments of a steered ``create`` into those of openai's.

    Args:
        options: openai's arguments and ours: a variant as ``model``, ``features``, ``steer``, ``abort_when``,
            ``return_activations``. The ``features`` in ``extra_body`` win over this argument, and it over the variant.
            Aborts add up.

    Raises:
        InvalidEdit: An edit is not valid.
        InvalidInput: An abort is not valid, or a feature appears twice in ``features``.
    """
    taken = dict(options)
    model, own = taken.get("model"), dict(taken.pop("extra_body", None) or {})
    snapshot = model.snapshot() if isinstance(model, Variant) else model
    edits: dict[str, object] = {}
    aborts: list[object] = []
    if isinstance(snapshot, StoredVariant):
        taken["model"] = snapshot.address
    if isinstance(snapshot, Snapshot):
        taken["model"] = snapshot.model
        edits, aborts = dict(snapshot.features()), [*snapshot.abort_when()]
    edits |= named(taken.pop("features", None) or {}) | dict(own.pop("features", None) or {})
    parse_edits(edits, Limits())
    ours = {
        "features": edits or None,
        "steer": plain(taken.pop("steer", None)),
        "return_activations": reads(taken.pop("return_activations", None)),
        "abort_when": [*aborts, *ends(taken.pop("abort_when", None)), *(own.pop("abort_when", None) or ())] or None,
    }
    body = {key: value for key, value in ours.items() if value is not None} | own
    return taken | ({"extra_body": body} if body else {})


def watch_of(options: Mapping[str, Any]) -> Watch:
    """What looks at the answer to these options; it calls the handlers of a variant among them."""
    model = options.get("model")
    return Watch(model.handlers if isinstance(model, Variant) else {})


def named(features: Features) -> dict[str, object]:
    """The same with ids or names as keys. Raises InvalidInput where two are the same feature, or one is empty."""
    parts = [(part, plain(edit)) for key, edit in features.items() for part in some(key)]
    edits = {key_of(part): shared(part, edit) for part, edit in parts}
    if len(edits) < len(parts):
        raise InvalidInput("a feature appears twice in features", param="features")
    return edits


def shared(part: Named, edit: Any) -> object:
    """The edit of a feature, or of a member of the group that it was given for."""
    if isinstance(edit, dict):
        return edit | ({"weight": weight_in(part, edit["weight"])} if "weight" in edit else {})
    return weight_in(part, edit)


def plain(value: object) -> object:
    """Our values as JSON types; anything else as it is."""
    if isinstance(value, Edit | SteerOptions):
        return value.model_dump(mode="json", exclude_none=True)
    return dict(value) if isinstance(value, Mapping) else value


def reads(value: Activations | None) -> object:
    """``return_activations`` as JSON types, with ids or names for features."""
    if value is None or isinstance(value, int):
        return value if value is None else {"top_k": value}
    asked = dict(value) if isinstance(value, Mapping) else {"features": value}
    features = asked.get("features")
    return asked | ({} if features is None else {"features": [key_of(each) for each in many(features)]})
