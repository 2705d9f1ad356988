"""Activations of a chat as a matrix, as ``client.features.activations`` returns it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from featurehub.matrix import MatrixColumn, PackedMatrix
from featurehub.sdk.named import Named, key_of, many
from featurehub.sdk.notices import warnings_of
from featurehub.sdk.tables import table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ActivationOptions", "Activations", "activations_body"]


SHOWN = 20


class ActivationOptions(TypedDict, total=False):
    """What ``activations`` asks for.

    Attributes:
        features: Features or their names, at most 64; by default all that are active, at most 64 at each token.
        sae: The only SAE whose active features are returned, by its id, name or alias; by default all that are served.
        model: As in a chat completion.
    """

    features: Named | Iterable[Named]
    sae: str
    model: str


class Activations(NamedTuple):
    """The activations of a chat or text. Jupyter shows the features with the largest ones.

    >>> found = client.features.activations(chat)
    >>> [each.label for each in found.features]
    ['banking: loan, deposit']

    Attributes:
        tokens: The text that each token adds.
        content: Of each token, whether it is somebody's words: no special token, none that the chat template adds.
        features: What the columns are, in the order in which they were asked for.
        packed: The matrix, packed.
        warnings: What the server warned of.
    """

    tokens: tuple[str, ...]
    content: tuple[bool, ...]
    features: tuple[MatrixColumn, ...]
    packed: PackedMatrix
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, body: Any) -> "Activations":
        """What the server has answered."""
        return cls(
            tuple(body["tokens"]),
            tuple(body["content"]),
            tuple(MatrixColumn.model_validate(row, extra="ignore") for row in body["features"]),
            PackedMatrix.model_validate(body["matrix"], extra="ignore"),
            warnings_of(body),
        )

    def matrix(self) -> "NDArray[np.float32]":
        """The matrix, [tokens, features] float32. Needs numpy.

        >>> client.features.activations("my loan", features=["banking"]).matrix().tolist()
        [[0.0], [0.0], [1.0]]
        """
        import numpy as np

        starts, indices, values = self.packed.unpack()
        matrix = np.zeros((self.packed.rows, self.packed.columns), np.float32)
        rows = np.repeat(np.arange(self.packed.rows), np.diff(np.frombuffer(starts, "<i4")))
        matrix[rows, np.frombuffer(indices, "<i4")] = np.frombuffer(values, "<f4")
        return matrix

    def entries(self) -> Iterator[tuple[int, int, float]]:
        """Row, column and value of each activation that is not 0; for programs without numpy.

        >>> [*client.features.activations("my loan", features=["banking"]).entries()]
        [(2, 0, 1.0)]
        """
        return self.packed.entries()

    def _repr_html_(self) -> str:
        largest: dict[int, tuple[float, int]] = dict.fromkeys(range(len(self.features)), (0.0, -1))
        for row, column, value in self.entries():
            largest[column] = max(largest[column], (value, row))
        best = sorted(largest.items(), key=lambda each: -each[1][0])[:SHOWN]
        rows = [
            (self.features[column].label or self.features[column].id, value, self.tokens[row] if row >= 0 else None)
            for column, (value, row) in best
        ]
        return table(("feature", "largest activation", "at"), rows)


def activations_body(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as JSON types."""
    features = options.get("features")
    return {**options, **({} if features is None else {"features": [key_of(each) for each in many(features)]})}
