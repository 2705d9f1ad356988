"""`featurehub doctor --server`: which SAEs a running server steers with, by its ``/healthz``."""

from pydantic import ValidationError
from rich.text import Text

from api.health import Health
from featurehub.cli.colors import colored
from featurehub.cli.overhead import fetch, root_of
from featurehub.cli.progress import output
from featurehub.errors import InvalidInput
from featurehub.features import State

__all__ = ["show_health"]

FAILING = 503


def show_health(server: str) -> None:
    """Prints whether the server can steer, and a line for each of its SAEs: its hook point and its state.

    Args:
        server: Address of a server that `featurehub serve` started, such as http://127.0.0.1:8000.

    Raises:
        InvalidInput: It is no such address, or no such server.
        EngineUnavailable: Nothing answers there.
    """
    url = f"{root_of(server)}/healthz"
    try:
        health = Health.model_validate_json(fetch(url, FAILING))
    except ValidationError:
        raise InvalidInput(f"{url} has nothing of featurehub: is it a `featurehub serve` server?") from None
    if health.status == "failing":
        output.print(Text.assemble(("✗", "red"), f" engine {health.engine}, feature database {health.store}"))
    for sae in health.saes:
        mark = ("✓", "green") if sae.state is State.FRESH else ("!", "yellow")
        output.print(Text.assemble(mark, f" SAE {sae.name} at {sae.hook}: ", colored(sae.state)), soft_wrap=True)
