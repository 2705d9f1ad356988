"""A request whose ``model`` is a stored variant: one for the variant's model, with the variant's edits beneath its own.

1. ``name`` means the latest version, ``name@version`` that one. A name that no variant has is left to vLLM.
2. The features of a version are those that its names meant when it was saved, so they go by their ids from here on.
   Where their SAE was refreshed, an id means what it has become: the feature that was kept, or the one that means it
   now; one that was retired is refused.
3. An edit of the request wins over the variant's of the same feature, whatever both call it, with its condition. Aborts
   add up: a request cannot take those of a variant away.
"""

from collections.abc import Collection, Mapping

from api.deployment import Deployment
from api.members import groups_by_member, with_members
from api.model import ServedModel
from api.names import resolve
from api.request import SteeringRequest, UsedVariant
from featurehub.conditions import FeatureWhen
from featurehub.errors import (
    FeatureNotFound,
    FeatureRetired,
    InvalidConfig,
    InvalidEdit,
    InvalidInput,
    VariantNotFound,
)
from featurehub.features import Edit
from featurehub.groups import GroupMember
from featurehub.settings import Limits
from featurehub.store import Reader
from featurehub.variants import PinnedFeature, StoredVariant

__all__ = ["on_variant", "refuse_hidden", "refuse_taken", "with_variant"]


def on_variant(asked: SteeringRequest, model: str, deployment: Deployment) -> tuple[SteeringRequest, str]:
    """The request and its model; where the model is a variant, both as they are with the variant beneath.

    Args:
        asked: The request.
        model: Its ``model``, which is no name of the served model itself.
        deployment: Knows the variants.

    Raises:
        VariantNotFound: There is no such version, or the variant is for a model that is not served here.
        InvalidInput: The name is an adapter's too, or variant and request together ask for too much.
        FeatureNotFound, AmbiguousFeature, ArtifactNotFound: As ``make_plan``.
    """
    if (served := deployment.served) is None:
        return asked, model
    with deployment.store.read() as reader:
        if (variant := reader.variants.find(model, served.scope.owner)) is None:
            return asked, model
        adapters = deployment.adapters()
        refuse_taken(variant.name, adapters)
        if variant.model not in {*served.names, *adapters}:
            names = ", ".join(map(repr, served.names))
            raise VariantNotFound(
                f"the variant {variant.name!r} is for the model {variant.model!r}; this server has {names}",
                param="model",
            )
        return with_variant(asked, variant, reader, served, deployment.limits), variant.model


def refuse_taken(name: str, taken: Collection[str]) -> None:
    """Refuses a variant's name that is a model's or an adapter's, since only one can answer. Raises InvalidInput."""
    if name in taken:
        raise InvalidInput(
            f"{name!r} is the name of a variant and of a model or adapter; give one of them another name", param="model"
        )


def refuse_hidden(reader: Reader, served: ServedModel) -> None:
    """Refuses to serve a model by the name of a variant of it, which would then answer without its edits.

    Raises:
        InvalidConfig: There is such a variant.
    """
    for name in served.names:
        variant = reader.variants.find(name, served.scope.owner)
        if variant is not None and variant.model in served.names:
            raise InvalidConfig(
                f"{name!r} is a variant of the model that is to be served under this name; give another "
                "--served-model-name, or remove the variant (`featurehub variants remove`)"
            )


def with_variant(
    asked: SteeringRequest, variant: StoredVariant, reader: Reader, served: ServedModel, limits: Limits
) -> SteeringRequest:
    """The request with the edits and aborts of a variant beneath its own; raises as ``on_variant`` does."""
    ids, now = ids_of(variant), ids_now(variant, reader, served)
    stored = with_members(SteeringRequest(edits=variant.features, steer=asked.steer), variant.groups, limits).edits
    own = edited(asked, reader, served)
    edits = {id: renamed(stored[name], ids) for name in stored if now[id := ids.get(name, name)] not in own}
    aborts = tuple(
        each.model_copy(update={"when": renamed_when(each.when, ids), "event": each.name})
        for each in variant.abort_when
    )
    both = asked.model_copy(
        update={
            "edits": edits | asked.edits,
            "aborts": asked.aborts + aborts,
            "variant": used(variant, asked.keys),
        }
    )
    check_numbers(both, variant, limits)
    return both


def ids_of(variant: StoredVariant) -> dict[str, str]:
    """The id of each feature that the variant names, by its name there."""
    return {name: each.id for name, each in variant.pinned.items()}


def ids_now(variant: StoredVariant, reader: Reader, served: ServedModel) -> dict[str, str]:
    """Where the SAEs that are served have the variant's features: ids by the ids that were saved.

    Raises:
        FeatureNotFound: One lies in no served SAE, nor in one that any of these was refreshed from.
        FeatureRetired: One was retired when the SAE was refreshed.
    """
    members = [(each.label, each) for group in variant.groups.values() for each in group.members]
    return {each.id: id_now(name, each, variant, reader, served) for name, each in (*variant.pinned.items(), *members)}


def id_now(
    name: str, each: PinnedFeature | GroupMember, variant: StoredVariant, reader: Reader, served: ServedModel
) -> str:
    if each.artifact in served.saes:
        return each.id
    try:
        return reader.resolve(each.id, served.scope).id
    except FeatureRetired as error:
        raise FeatureRetired(
            f"{name!r} of the variant {variant.address!r}: {error.message}",
            param="model",
            suggestions=error.suggestions,
        ) from error
    except FeatureNotFound as error:
        raise FeatureNotFound(
            f"{name!r} of the variant {variant.address!r} lies in an SAE that is not in use here "
            f"({each.artifact[:12]}, latent {each.latent})",
            param="model",
        ) from error


def edited(asked: SteeringRequest, reader: Reader, served: ServedModel) -> set[str]:
    """Ids of the features that the request itself edits. Raises FeatureNotFound, AmbiguousFeature, ArtifactNotFound."""
    if not asked.edits:
        return set()
    features, groups = resolve(asked, reader, served)
    members = {each.id for name in asked.edits if name in groups for each in groups[name].members}
    return members | {features[name].feature.id for name in asked.edits if name in features}


def renamed(edit: Edit, ids: Mapping[str, str]) -> Edit:
    """The edit, with ids for the names in its condition."""
    return edit if edit.when is None else edit.model_copy(update={"when": renamed_when(edit.when, ids)})


def renamed_when(when: FeatureWhen, ids: Mapping[str, str]) -> FeatureWhen:
    conditions = tuple(each.model_copy(update={"feature": ids[each.feature]}) for each in when)
    return FeatureWhen(any=conditions) if when.any else FeatureWhen(all=conditions)


def used(variant: StoredVariant, own: Collection[str]) -> UsedVariant:
    """The variant as an answer and its messages name it; what the request names itself goes by its own names."""
    members = {each.id: each.label for group in variant.groups.values() for each in group.members}
    names = members | {each.id: name for name, each in variant.pinned.items()}
    return UsedVariant(
        name=variant.name,
        version=variant.version,
        names={id: name for id, name in names.items() if id not in own},
        groups=groups_by_member(variant.features, variant.groups),
    )


def check_numbers(both: SteeringRequest, variant: StoredVariant, limits: Limits) -> None:
    """Raises InvalidEdit or InvalidInput where variant and request together have too many edits or aborts."""
    if len(both.edits) > limits.edits:
        raise InvalidEdit(
            f"{len(both.edits)} edits with those of the variant {variant.address!r}; at most {limits.edits} are "
            "allowed. Send fewer features.",
            param="features",
        )
    if len(both.aborts) > limits.aborts:
        raise InvalidInput(
            f"{len(both.aborts)} aborts with those of the variant {variant.address!r}; send at most {limits.aborts}",
            param="abort_when",
        )
