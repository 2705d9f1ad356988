"""`featurehub doctor --server`: what steering costs a running server, by its ``/metrics``."""

import urllib.error
import urllib.request
from collections.abc import Mapping

from rich.text import Text

from api.budget import Refused, percent
from featurehub.cli.progress import output
from featurehub.errors import EngineUnavailable, InvalidInput

__all__ = ["fetch", "root_of", "show_overhead"]

PREFIX = "featurehub_overhead_"


def show_overhead(server: str) -> None:
    """Prints what steering takes of each step, the budget, and what is refused for its sake.

    Args:
        server: Address of a server that `featurehub serve` started, such as http://127.0.0.1:8000.

    Raises:
        InvalidInput: It is no such address, or the server there does not say what steering costs.
        EngineUnavailable: Nothing answers there.
    """
    url = f"{root_of(server)}/metrics"
    gauges = overhead_gauges(fetch(url))
    if not gauges:
        raise InvalidInput(f"{url} has nothing of featurehub: is it a `featurehub serve` server?")
    host, op = (gauges.get(f'share{{part="{part}"}}', 0.0) for part in ("host", "op"))
    budget, refused = gauges.get("budget", 0.0), Refused(int(gauges.get("refused", 0.0)))
    within = not budget or host + op <= budget
    output.print(
        Text.assemble(
            ("✓", "green") if within else ("✗", "red"),
            f" steering takes {percent(host + op)} of each step: host {percent(host)}, op {percent(op)}; ",
            f"budget {percent(budget)}; refused: {refused.words}" if budget else "no budget",
        ),
        soft_wrap=True,
    )


def root_of(server: str) -> str:
    """The address of a server without what its routes begin with."""
    return server.rstrip("/").removesuffix("/v1")


def fetch(url: str, *expected: int) -> str:
    """What a server answers at this address.

    Args:
        url: The address.
        expected: Statuses that mean an error but have an answer all the same.

    Raises:
        InvalidInput: It is no address, or the server answers with another error.
        EngineUnavailable: Nothing answers there.
    """
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.read().decode()
    except urllib.error.HTTPError as error:
        if error.code in expected:
            return error.read().decode()
        raise InvalidInput(f"{url} answers {error.code}: is it a `featurehub serve` server?") from None
    except ValueError:
        raise InvalidInput(f"{url!r} is no address; give one like http://127.0.0.1:8000", param="server") from None
    except OSError as error:
        raise EngineUnavailable(f"nothing answers at {url}: {error}") from None


def overhead_gauges(text: str) -> Mapping[str, float]:
    """Our gauges in Prometheus' text format, by their names without what all of them begin with."""
    lines = (line.removeprefix(PREFIX) for line in text.splitlines() if line.startswith(PREFIX))
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}
