"""The models that `featurehub serve --demo` and `--planted` serve, and their server as a child process."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from featurehub.cli.demo.smollm2 import ensure_smollm2, smollm2_database
from featurehub.cli.options import demo_model
from featurehub.cli.progress import ConsoleProgress, output, phase
from featurehub.cli.server import served
from featurehub.demo.bundle import bundled_model
from featurehub.settings import home

__all__ = ["NAME", "PORT", "SERVED_MEMORY", "Demo", "planted", "serving", "smollm2", "wait_forever"]

NAME = "demo"
"""The name by which requests ask for a demo's model."""
PORT = int(os.environ.get("PORT", "8000"))
SERVED_MEMORY = ("--gpu-memory-utilization", "0.25")
"""Arguments of vLLM's server, before the operator's own: the demos' servers and engines share one GPU."""


class Demo(NamedTuple):
    """What is served.

    Attributes:
        model: Folder of the model.
        sae: Folder of its SAE.
        database: Path of the feature database.
    """

    model: Path
    sae: Path
    database: str

    @property
    def arguments(self) -> list[str]:
        """The arguments of ``featurehub serve`` for it, without a port."""
        own = [str(self.model), "--sae", str(self.sae), "--db", self.database]
        return [*own, "--eager", "--served-model-name", NAME, *SERVED_MEMORY]


def smollm2(model: Path | None = None) -> Demo:
    """SmolLM2 with the SAE that ships; both are made ready at first use.

    Args:
        model: Folder of a model that is served in its place.
    """
    with phase("unpacking the SAE and its features"):
        sae = ensure_smollm2()
    # Only here, since what embeds takes seconds to import.
    from featurehub.runs.embed import embed_if_possible

    embed_if_possible(smollm2_database(), sae.manifest.id, ConsoleProgress())
    return Demo(model or demo_model(""), sae.folder, smollm2_database())


def planted(model: Path | None = None) -> Demo:
    """The planted model with its SAE, which is built at first use.

    Args:
        model: Folder of a model that is served in its place.
    """
    # Only here, since what builds SAEs takes seconds to import.
    from featurehub.cli.demo.planted import ensure_planted, planted_database

    return Demo(model or bundled_model(), ensure_planted().folder, planted_database())


@contextmanager
def serving(arguments: Sequence[str], what: str, port: int) -> Iterator[str]:
    """Runs ``featurehub serve`` while the ``with`` block runs, and shows that it starts.

    Args:
        arguments: Arguments of the command, without ``--port``.
        what: What is served, for people.
        port: The port to serve on.

    Yields:
        The base URL, ending in ``/v1``.

    Raises:
        EngineUnavailable: The server does not start.
    """
    with ExitStack() as stack:
        with phase(f"starting vLLM's server on {what}"):
            url = stack.enter_context(served(arguments, port, home() / "demo" / f"server-{port}.log"))
        yield url


def wait_forever() -> None:
    """Waits for Ctrl-C."""
    output.print("Serving until you press Ctrl-C.")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        output.print("stopped")
