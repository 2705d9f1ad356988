"""Every example in a docstring of the SDK runs, and each public class, method and error has one.

The server is the one that ships for tests; what the examples find there is said in ``featurehub.sdk``. A line with
``await`` runs as in a notebook or in ``python -m asyncio``.
"""

import ast
import asyncio
import doctest
import inspect
import types
import typing
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

import featurehub
import featurehub.sdk
import featurehub.testing
from featurehub import AsyncClient, Client, Variant
from featurehub.records import Label
from featurehub.settings import Frozen
from featurehub.testing import fake_server

KEY = "operators only"
METHOD = types.FunctionType | classmethod | property
PACKAGES = (featurehub, featurehub.sdk, featurehub.testing)
CHAT = [{"role": "user", "content": "Is my loan safe?"}]


def exported() -> dict[str, Any]:
    return {name: getattr(package, name) for package in PACKAGES for name in package.__all__}


def is_ours(kind: Any) -> bool:
    return isinstance(kind, type) and kind.__module__.split(".")[0] == "featurehub" and kind is not Frozen


def methods(kind: type) -> Iterator[tuple[str, Any]]:
    """The methods and properties that a class itself defines, but for what only the server calls."""
    for name, each in vars(kind).items():
        if isinstance(each, METHOD) and kind is not featurehub.testing.WordEngine:
            yield name, each


def documented(kind: type) -> Iterator[tuple[str, Any]]:
    """Those that users call by their names."""
    validators = getattr(kind, "__pydantic_decorators__", None)
    ours = {"of", *(validators.model_validators if validators else ())}
    return ((name, each) for name, each in methods(kind) if not name.startswith("_") and name not in ours)


def returned(method: Any) -> Iterator[Any]:
    """The classes in what a method says that it returns."""
    function = method.fget if isinstance(method, property) else getattr(method, "__func__", method)
    kind = function.__annotations__.get("return")
    # Names that are imported for type checkers alone are of other packages.
    with suppress(NameError):
        yield from within(eval(kind, vars(inspect.getmodule(function))) if isinstance(kind, str) else kind)


def within(kind: Any) -> Iterator[Any]:
    """A class, and those that it is generic in."""
    yield kind
    for each in typing.get_args(kind):
        yield from within(each)


def reached(kind: type, seen: dict[type, None]) -> None:
    """Adds a class, those that it inherits from, and those that its methods and operators return."""
    if not is_ours(kind) or kind in seen:
        return
    seen[kind] = None
    for each in (*kind.__mro__, *(each for _, method in methods(kind) for each in returned(method))):
        reached(each, seen)


def public() -> dict[str, Any]:
    """What a user can meet, by its name."""
    classes: dict[type, None] = {}
    for each in exported().values():
        reached(each, classes)
    found: dict[str, Any] = {package.__name__: package for package in PACKAGES}
    found |= {name: each for name, each in exported().items() if isinstance(each, types.FunctionType)}
    for kind in classes:
        found[kind.__name__] = kind
        found |= {f"{kind.__name__}.{name}": each for name, each in documented(kind)}
    return found


PUBLIC = public()


@pytest.fixture(scope="module")
def names() -> Iterator[dict[str, Any]]:
    """What the examples find."""
    labels = ("pirate", "formal", Label(name="banking", further=("loan", "deposit")))
    with pytest.MonkeyPatch.context() as patch, fake_server(labels, model="demo", operator_key=KEY) as server:
        patch.setenv("FEATUREHUB_BASE_URL", server.url)
        patch.setenv("FEATUREHUB_OPERATOR_KEY", KEY)
        with Client() as client:
            client.groups.save("sea talk", client.feature("pirate") | -0.5 * client.feature("formal"))
            client.variants.save("pirate-bank", Variant("demo").set("pirate", 0.7))
            yield exported() | {"client": client, "chat": CHAT}


@pytest.fixture(scope="module")
def loop(names: Any) -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def async_client(loop: asyncio.Runner) -> Iterator[AsyncClient]:
    client = AsyncClient()
    yield client
    loop.run(client.close())


@pytest.mark.parametrize("name", PUBLIC)
def test_it_has_an_example_that_runs(
    name: str, names: Any, loop: asyncio.Runner, async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execute(code: types.CodeType, known: dict[str, Any]) -> None:
        if code.co_flags & inspect.CO_COROUTINE:
            loop.run(types.FunctionType(code, known)())
        else:
            exec(code, known)

    monkeypatch.setattr(doctest, "exec", execute, raising=False)
    own = names | ({"client": async_client} if name.startswith("Async") else {})
    [test] = doctest.DocTestFinder(recurse=False).find(PUBLIC[name], name, globs=own) or [None]
    assert test is not None, f"the docstring of {name} has no example"
    assert test.examples, f"the docstring of {name} has no example"
    said: list[str] = []
    doctest.DocTestRunner().run(test, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, said.append)
    assert not said, "".join(said)


def test_the_names_are_those_of_the_sdk() -> None:
    wanted = {
        "featurehub", "fake_server", "Client.feature", "AsyncClient.tokenize", "Features.search", "Features.inspect",
        "NamedFeatures.neighbors", "AutoFeatures.autosteer", "Readings.attribute", "AsyncReadings.logits",
        "Variants.save", "AsyncGroups.remove", "SteeredCompletions.create", "AsyncSteeredResponses.create",
        "Variant.set_when", "FeatureGroup.pick", "Combinable.parts", "Inspection.matrix", "InspectedToken.top",
        "GroupMember", "FeatureWhen", "AutosteerResult.features", "FeatureNotFound", "WordEngine",
    }  # fmt: skip
    assert wanted <= set(PUBLIC)
