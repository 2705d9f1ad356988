"""Everything that a feature's page shows, in one statement, however many features its SAE has.

It lies in several tables. The statement's rows are of several parts: each has values in the columns of its part, and
nulls in those of the others.

1. feature: the feature's own row, with the name and the latents of its cluster;
2. name: the names that everyone knows it by;
3. label: the newest ``LABELS`` versions of its label;
4. other: the labels of the latents that the feature's row and its cluster name;
5. verdict: what the newest ``VERDICTS`` drift reports found that say something of it. A report without any verdict
   speaks for every latent (``featurehub.store.drift``).
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    cast,
    exists,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
    type_coerce,
    union,
    union_all,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import JSON, TypeEngine

from featurehub.errors import FeatureNotFound
from featurehub.features import Feature, State
from featurehub.records import Calibration, Cluster, FeatureDetails, PastVerdict
from featurehub.store.rows import FIELDS, NamedFeature, label_of, row_of
from featurehub.store.schema import (
    Base,
    ClusterRecord,
    FeatureRecord,
    LabelRecord,
    NameRecord,
    ReportRecord,
    VerdictRecord,
)
from featurehub.verdicts import state_of

__all__ = ["load_details"]

LABELS, VERDICTS = 100, 20
OWN = tuple("artifact_id" if name == "artifact" else name for name in FIELDS)


class elements(FunctionElement[Any]):  # noqa: N801 (named as SQL's functions are)
    """The elements of a JSON list as rows with a ``value``."""

    inherit_cache = True


@compiles(elements, "sqlite")
def _in_sqlite(element: elements, compiler: Any, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


@compiles(elements, "postgresql")
def _in_postgres(element: elements, compiler: Any, **options: Any) -> str:
    return f"json_array_elements({compiler.process(element.clauses, **options)})"


def table(record: type[Base]) -> Table:
    found = record.__table__
    assert isinstance(found, Table)
    return found


F, L, N, C = table(FeatureRecord), table(LabelRecord), table(NameRecord), table(ClusterRecord)
R, V = table(ReportRecord), table(VerdictRecord)
TYPES: dict[str, TypeEngine[Any]] = {
    "part": Text(),
    "place": Integer(),
    **{column.name: column.type for each in (F, L, V, R) for column in each.columns if column.name != "number"},
    **{"name": Text(), "key": Text(), "kind": Text(), "members": JSON()},
}
"""The columns of the statement."""
OWNER = F.c.id == bindparam("id")


def part(name: str, place: ColumnElement[Any], *columns: ColumnElement[Any]) -> Select[Any]:
    """Rows of one part, with nulls in the columns that it does not have."""
    given = {each.name: each for each in columns} | {"part": literal_column(f"'{name}'"), "place": place}
    return select(*((given.get(each, cast(null(), type))).label(each) for each, type in TYPES.items()))


def newest(rows: Select[Any], count: int) -> Select[Any]:
    return select(rows.order_by(literal_column("place").desc()).limit(count).subquery())


def numbers(source: FromClause, column: ColumnElement[Any]) -> Select[Any]:
    """The numbers in a JSON list of the feature's row."""
    each = elements(column).table_valued("value")
    return select(cast(cast(each.c.value, Text), Integer)).select_from(source.join(each, true())).where(OWNER)


def statement() -> Any:
    """The statement, whose parameter is the feature's ``id``."""
    clustered = F.outerjoin(C, and_(C.c.artifact_id == F.c.artifact_id, C.c.number == F.c.cluster))
    own = part("feature", F.c.latent, *F.columns, C.c.name, C.c.latents.label("members"))
    each = elements(F.c.coactive).table_valued("value")
    latent = type_coerce(each.c.value, JSON)["latent"].as_integer()
    coactive = select(latent).select_from(F.join(each, true())).where(OWNER)
    named = union(numbers(F, F.c.neighbors), numbers(clustered, C.c.latents), coactive)
    artifact = select(F.c.artifact_id).where(OWNER).scalar_subquery()
    other = F.alias()
    has_verdicts = exists().where(V.alias().c.report_id == R.c.id)
    reason = func.coalesce(V.c.reason, R.c.report["reason"].as_string()).label("reason")
    verdicts = part("verdict", R.c.number, R.c.id, R.c.model, R.c.created, R.c.state, V.c.reads, V.c.steers, reason)
    judged = F.join(R, R.c.artifact_id == F.c.artifact_id).outerjoin(
        V, and_(V.c.report_id == R.c.id, V.c.latent == F.c.latent)
    )
    says = or_(V.c.latent.is_not(None), ~has_verdicts)
    everyone = and_(N.c.feature_id == bindparam("id"), N.c.owner == "")
    return union_all(
        own.select_from(clustered).where(OWNER),
        part("name", N.c.id, N.c.name, N.c.key, N.c.kind).where(everyone),
        newest(part("label", L.c.version, *L.columns).where(L.c.feature_id == bindparam("id")), LABELS),
        part("other", other.c.latent, other.c.latent, other.c.label).where(
            other.c.artifact_id == artifact, other.c.latent.in_(named)
        ),
        newest(verdicts.select_from(judged).where(OWNER, says), VERDICTS),
    )


PAGE = statement()


def load_details(session: Session, feature_id: str) -> FeatureDetails:
    """Everything that a feature's page shows. Raises FeatureNotFound."""
    parts: defaultdict[str, list[Any]] = defaultdict(list)
    for row in session.execute(PAGE, {"id": feature_id}):
        parts[row.part].append(row)
    for found in parts.values():
        found.sort(key=lambda row: row.place)
    if not parts["feature"]:
        raise FeatureNotFound(f"there is no feature with the id {feature_id!r}")
    [own] = parts["feature"]
    statistics = row_of(own)
    shown = type(statistics).model_fields.keys() & FeatureDetails.model_fields.keys()
    return FeatureDetails(
        feature=_feature(own, parts["name"]),
        **{name: getattr(statistics, name) for name in shown},
        calibration=None if own.calibration is None else Calibration.model_validate(own.calibration),
        labels=tuple(label_of(each) for each in parts["label"]),
        cluster=None if own.members is None else Cluster(name=own.name, latents=tuple(own.members)),
        others={each.latent: each.label for each in parts["other"]},
        drift=tuple(_verdict(each) for each in reversed(parts["verdict"])),
    )


def _feature(own: Any, names: Sequence[Any]) -> Feature:
    known = [(each.name, each.key, each.kind) for each in names]
    return NamedFeature([getattr(own, name) for name in OWN], known).value


def _verdict(row: Any) -> PastVerdict:
    reads, steers = (None, None) if row.reads is None else (State(row.reads), State(row.steers))
    state = State(row.state) if reads is None or steers is None else state_of(reads, steers)
    return PastVerdict(
        report=row.id, model=row.model, created=row.created, state=state, reads=reads, steers=steers, reason=row.reason
    )
