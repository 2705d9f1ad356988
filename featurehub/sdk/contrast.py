"""The features that tell two sets of chats apart, as ``client.features.contrast`` returns them."""

from typing import Any, NamedTuple, TypedDict

from featurehub.sdk.notices import warnings_of
from featurehub.sdk.tables import table
from featurehub.totals import ContrastRow

__all__ = ["Contrast", "ContrastOptions"]


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
        first, second = (
            tuple(ContrastRow.model_validate(row, extra="ignore") for row in body[name])
            for name in ("dataset_1", "dataset_2")
        )
        return cls(first, second, warnings_of(body))

    def _repr_html_(self) -> str:
        rows = [table_row(name, each) for name, own in (("1", self[0]), ("2", self[1])) for each in own]
        return table(("stronger in", "feature", "effect", "accuracy"), rows)


def table_row(name: str, row: ContrastRow) -> tuple[str, ...]:
    accuracy = "" if row.accuracy is None else f"{row.accuracy:.2f}"
    return name, row.label or row.id, f"{row.effect:.3g}", accuracy
