"""Does a server do what its OpenAPI document says? Requests that are made from it, to every operation.

    python tests/benchmarks/schema.py http://127.0.0.1:8000 [--examples 200] [--only /v1/features]

An answer must be none with a 5xx, have a documented status and content type, and be of the documented form. Prints the
operations with the number of requests and, for each that fails, the first lines of what is wrong. vLLM's own
operations are marked: what they say of themselves is vLLM's.
"""

import argparse
import os
from collections import Counter

from requests.exceptions import Timeout
from rich.console import Console
from schemathesis import openapi
from schemathesis.core.failures import Failure

from api.app import ROUTERS
from api.gate import STEERED_PATHS
from featurehub.settings import OPERATOR_KEY
from tests.schema import DRAWS_ANSWERS, holds, operations

SLOW = 5
"""Requests to an operation that draws answers."""
PATIENCE = 120.0
"""Seconds that an answer may take, such as that to a batch of chats on a busy machine."""
LINES = 12
console = Console(width=140, highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server")
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    routes = (getattr(route, "path", "") for router in ROUTERS for route in router.routes)
    ours = {*STEERED_PATHS, *(each.replace(":path}", "}") for each in routes)}
    headers, seen = {"x-featurehub-key": os.environ.get(OPERATOR_KEY, "")}, Counter[str]()
    for each in operations(openapi.from_url(f"{options.server}/openapi.json")):
        if options.only not in each.path:
            continue
        examples = SLOW if each.label in DRAWS_ANSWERS else options.examples
        whose = "" if each.path in ours else " (vLLM's)"
        try:
            holds(each, examples, headers, PATIENCE)
        except* (Failure, Timeout) as errors:
            seen[f"fails{whose}"] += 1
            said = "\n".join(str(error) for error in errors.exceptions).splitlines()[:LINES]
            console.print(f"{each.label}{whose}: FAILS", *(f"    {line}" for line in said), sep="\n", markup=False)
        else:
            seen[f"holds{whose}"] += 1
            console.print(f"{each.label}{whose}: {examples} requests hold", markup=False)
    console.print(dict(seen))


if __name__ == "__main__":
    main()
