"""From a request that names groups to one that names their members, by their ids.

1. An edit of a group with weight w is an edit of each member of weight m with w · m, in the same mode and under the
   same condition. ``ablate`` takes no weight, so that it ablates every member.
2. Activations of a group are those of its members.
3. A condition waits for one feature: a group is refused there, since its members may be active one by one.
4. What a request may ask for holds for what comes out. A feature that comes twice, by itself or in two groups, is
   refused.
"""

import json
from collections.abc import Iterable, Mapping

from api.request import ReturnActivations, SteeringRequest
from featurehub.edits import TOP_K_MAX
from featurehub.errors import InvalidEdit, InvalidInput
from featurehub.features import Edit
from featurehub.groups import FeatureGroup, GroupMember
from featurehub.settings import Limits

__all__ = ["groups_by_member", "with_members"]

Groups = Mapping[str, FeatureGroup]


def with_members(asked: SteeringRequest, groups: Groups, limits: Limits) -> SteeringRequest:
    """The same request with the members of its groups, by id, in place of the groups.

    Args:
        asked: The request.
        groups: What it names, by name.
        limits: What one request may ask for.

    Raises:
        InvalidEdit: There are too many edits then, or a feature comes twice.
        InvalidInput: A condition names a group, or too many activations are to be returned.
    """
    if not groups:
        return asked
    for param, condition in asked.conditions:
        if condition.feature in groups:
            raise _no_condition(param, condition.model_dump(mode="json"), groups[condition.feature])
    reads = None if asked.reads is None else _readings(asked.reads, groups)
    return asked.model_copy(update={"edits": _edits(asked.edits, groups, limits), "reads": reads})


def groups_by_member(edits: Iterable[str], groups: Groups) -> dict[str, str]:
    """The name of the group through which each member is edited, by the member's id."""
    return {member.id: groups[name].name for name in edits if name in groups for member in groups[name].members}


def _edits(edits: Mapping[str, Edit], groups: Groups, limits: Limits) -> dict[str, Edit]:
    found: dict[str, Edit] = {}
    for name, edit in edits.items():
        parts = {each.id: _part(edit, each) for each in groups[name].members} if name in groups else {name: edit}
        if repeated := parts.keys() & found:
            twice = sorted(repeated)[0]
            raise InvalidEdit(f"{name!r} edits {twice} once more; send each feature once", param=f"features.{name}")
        found |= parts
    if len(found) > limits.edits:
        raise InvalidEdit(
            f"{len(edits)} names stand for {len(found)} edits, the members of groups counted; at most {limits.edits} "
            "are allowed. Send fewer features.",
            param="features",
        )
    return found


def _part(edit: Edit, member: GroupMember) -> Edit:
    """What an edit of the group is for this member."""
    return edit if edit.weight is None else edit.model_copy(update={"weight": edit.weight * member.weight})


def _readings(reads: ReturnActivations, groups: Groups) -> ReturnActivations:
    named = [[each.id for each in groups[name].members] if name in groups else [name] for name in reads.features]
    features = tuple(dict.fromkeys(each for part in named for each in part))
    if len(features) > TOP_K_MAX:
        raise InvalidInput(
            f"activations of {len(features)} features, the members of groups counted; at most {TOP_K_MAX} are returned",
            param="return_activations.features",
        )
    return reads.model_copy(update={"features": features})


def _no_condition(param: str, condition: Mapping[str, object], group: FeatureGroup) -> InvalidInput:
    instead = {"any": [{**condition, "feature": each.id} for each in group.members]}
    return InvalidInput(
        f"{group.name!r} is a group of {len(group.members)} features, and a condition waits for one. To wait for any "
        f'of them, write {json.dumps(instead)}; to wait for all, write "all".',
        param=param,
    )
