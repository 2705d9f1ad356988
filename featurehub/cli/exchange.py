"""`featurehub saes serve`: tells a running server which SAEs to steer with."""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence

from featurehub.cli.health import show_health
from featurehub.cli.overhead import root_of
from featurehub.errors import EngineUnavailable, InvalidInput
from featurehub.settings import OPERATOR_KEY

__all__ = ["exchange_saes"]

LONGEST = 900
"""Seconds to wait: SAEs are loaded, and requests that use those that go may run for minutes."""


def exchange_saes(saes: Sequence[str], server: str) -> None:
    """Makes a server steer with these SAEs and no others, and prints what it then has.

    Args:
        saes: Names, aliases or beginnings of the ids of SAEs that are registered in the server's database.
        server: Address of the server, such as http://127.0.0.1:8000.

    Raises:
        InvalidInput: It is no such address, or the server refuses; the message is the server's.
        EngineUnavailable: Nothing answers there.
    """
    url = f"{root_of(server)}/v1/saes"
    headers = {"content-type": "application/json", "x-featurehub-key": os.environ.get(OPERATOR_KEY, "")}
    body = json.dumps({"saes": list(saes)}).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=LONGEST):
            pass
    except urllib.error.HTTPError as error:
        raise InvalidInput(message_of(error.read()) or f"{url} answers {error.code}") from None
    except ValueError:
        raise InvalidInput(f"{url!r} is no address; give one like http://127.0.0.1:8000", param="server") from None
    except OSError as error:
        raise EngineUnavailable(f"nothing answers at {url}: {error}") from None
    show_health(server)


def message_of(body: bytes) -> str:
    """The message of an error in OpenAI's shape; "" where it has another."""
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return ""
