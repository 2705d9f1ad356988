"""The features that tell two sets of chats apart, as ``client.features.contrast`` returns them."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict

from featurehub.sdk.rows import warnings_of
from featurehub.sdk.tables import table

__all__ = ["Contrast", "ContrastOptions", "ContrastRow"]


class ContrastOptions(TypedDict, total=False):
    """What ``contrast`` asks for.

    Attributes:
        sae: The only SAE that is asked, by its id, name or alias; by default all that are served.
        limit: How many features are returned of each set, in [1, 100].
        model: As in a chat completion.
    """

    sae: str
    limit: int
    model: str


class ContrastRow(NamedTuple):
    """A feature that tells the sets apart.

    Attributes:
        id: The feature's id, or ``sae:<artifact>/<latent>`` for a latent without a label.
        label: Its label; "" where it has none.
        sae: Id of its SAE.
        effect: How far apart the sets are, in spreads; above 0 where the feature is stronger in the first.
        mean_1: Mean activation in the first set.
        mean_2: The same in the second.
        accuracy: How well it tells chats apart that chose nothing, .5 by chance; None where a set has a single chat.
    """

    id: str
    label: str
    sae: str
    effect: float
    mean_1: float
    mean_2: float
    accuracy: float | None


class Contrast(NamedTuple):
    """The features that are stronger in either set, the largest effect first. Jupyter shows both as a table.

    >>> other = [{"role": "user", "content": "Are you a pirate?"}]
    >>> found = client.features.contrast([chat, chat], [other, other])
    >>> found.dataset_1[0].label, found.dataset_1[0].accuracy
    ('banking: loan, deposit', 1.0)

    Attributes:
        dataset_1: Those that are stronger in the first set.
        dataset_2: Those that are stronger in the second.
        warnings: What the server warned of.
    """

    dataset_1: tuple[ContrastRow, ...]
    dataset_2: tuple[ContrastRow, ...]
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, body: Any) -> "Contrast":
        """What the server has answered."""
        first, second = (tuple(map(row_of, body[name])) for name in ("dataset_1", "dataset_2"))
        return cls(first, second, warnings_of(body))

    def _repr_html_(self) -> str:
        rows = [table_row(name, each) for name, own in (("1", self[0]), ("2", self[1])) for each in own]
        return table(("stronger in", "feature", "effect", "accuracy"), rows)


def row_of(row: Mapping[str, Any]) -> ContrastRow:
    return ContrastRow(*(row[name] for name in ContrastRow._fields))


def table_row(name: str, row: ContrastRow) -> tuple[str, ...]:
    accuracy = "" if row.accuracy is None else f"{row.accuracy:.2f}"
    return name, row.label or row.id, f"{row.effect:.3g}", accuracy
