"""``POST /v1/features/{name}/labels``: a person's label becomes the next version of a feature's label."""

from typing import Annotated

from fastapi import APIRouter, Header
from pydantic import Field, field_validator

from api.deployment import CurrentDeployment
from api.exchange import check_operator
from api.features import FeatureCard, Sae, card
from featurehub.names import single_spaced
from featurehub.settings import Frozen, Limits
from featurehub.store import Label, Labeled, Provenance

__all__ = ["METHOD", "NewLabel", "router"]

METHOD = "person"
"""How such a label was found, as its provenance says."""
router = APIRouter(prefix="/v1/features", tags=["features"])
Key = Annotated[str, Header()]


class NewLabel(Frozen):
    """A label as a person writes it.

    Attributes:
        label: The feature's new name, as a whole. White space is made single.
        author: Who gives it, for the label's history.
    """

    label: str = Field(min_length=1, max_length=Limits().name_chars)
    author: str = Field(min_length=1, max_length=100)

    @field_validator("label", "author")
    @classmethod
    def _visible(cls, text: str) -> str:
        if not (words := single_spaced(text)):
            raise ValueError("it has at least one visible character")
        return words


@router.post("/{name:path}/labels")
def relabel(
    asked: NewLabel, name: str, deployment: CurrentDeployment, artifact: Sae = None, x_featurehub_key: Key = ""
) -> FeatureCard:
    """Gives a feature a label: its next version, and its name from now on. Its former names still find it.

    The new label has no score, and search by meaning finds it once it was embedded (`featurehub features embed`). A
    label that the same person gave last is not stored again. For operators, since it changes what names mean.
    """
    check_operator(x_featurehub_key, deployment)
    with deployment.store.write() as writer:
        reader = writer.reader
        scope = reader.scope(artifact) if artifact else deployment.scope
        id = reader.resolve(name, scope).id
        writer.put_label(id, Labeled(label=Label(name=asked.label)), Provenance(author=asked.author, method=METHOD))
        return card(reader.resolve(id, scope), reader, deployment)
