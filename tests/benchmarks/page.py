"""How soon the search page stands, and how soon results follow a key, where there are many features.

    python tests/benchmarks/page.py LABELS.json [--features 100000] [--queries 12] [--database FILE]

1. Features: those of ``search_load``, in SQLite, with vectors of the embedder that queries are embedded by. A database
   that is named is filled where it is not there yet, and stays.
2. The registry's app behind a real server in this process, and a headless Chromium, on the same processors.
3. Printed: milliseconds from the start of loading until the first text is painted, and until the first features stand;
   and from each key until its results stand, pause before the search included. Every key waits for the one before it.
"""

import argparse
import json
import random
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from api.app import create_app
from featurehub.embedding import open_embedder
from featurehub.store import open_store
from tests.benchmarks.machine import processor
from tests.benchmarks.search_load import BASE, SEED, fill, told
from tests.browser import launched, running_app, watched

WATCH = """() => {
    window.keys = [];
    let began = 0;
    document.getElementById("q").addEventListener("input", () => { began = performance.now(); }, true);
    const stands = () => { if (began) keys.push(performance.now() - began); began = 0; };
    new MutationObserver(() => requestAnimationFrame(stands)).observe(rows, { childList: true });
}"""
PAINTED = "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"
KEYS = "count => window.keys.length >= count"


def opened(page: Page, address: str) -> tuple[float, float]:
    """Milliseconds until the first text is painted, and until features stand."""
    page.goto(address)
    page.wait_for_selector("#rows > li")
    return page.evaluate(PAINTED), page.evaluate("performance.now()")


def typed(page: Page, queries: list[str]) -> list[float]:
    """Milliseconds from each key until its results stand."""
    times: list[float] = []
    for query in queries:
        page.locator("#q").fill("")
        page.wait_for_timeout(1500)
        page.evaluate("window.keys.length = 0")
        for at, letter in enumerate(query, 1):
            page.locator("#q").press(letter if letter != " " else "Space")
            page.wait_for_function(KEYS, arg=at)
        times += page.evaluate("window.keys")
    return times


def measure(database: Path, queries: list[str]) -> None:
    """Steps 2 and 3."""
    with closing(open_store(database)) as store:
        with store.read() as reader:
            count = sum(reader.count_features(each.manifest.id)[0] for each in reader.artifacts())
        print(f"{count:,} features in SQLite on {processor()}", flush=True)
        with (
            running_app(create_app(store)) as address,
            sync_playwright() as playwright,
            launched(playwright) as browser,
        ):
            opens = []
            for turn in range(6):
                with watched(browser, []) as page:
                    painted = opened(page, f"{address}/search")
                    print(
                        f"  opened: painted after {painted[0]:.0f} ms, features after {painted[1]:.0f} ms", flush=True
                    )
                    opens += [painted] if turn else []
            print("  medians, the first left out:", *np.median(opens, axis=0).round(), flush=True)
            with watched(browser, []) as page:
                opened(page, f"{address}/search")
                page.evaluate(WATCH)
                times = typed(page, queries)
            print(f"  key to results: {told(times)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--features", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=12)
    parser.add_argument("--database", type=Path)
    options = parser.parse_args()
    published = list(
        dict.fromkeys(" ".join(each["description"].split()) for each in json.loads(options.labels.read_text()))
    )
    embedder, drawn = open_embedder("minilm"), random.Random(SEED)
    sample = drawn.sample(published, BASE)
    queries = [" ".join(drawn.choice(published).split()[:2])[:16] for _ in range(options.queries)]
    with tempfile.TemporaryDirectory() as folder:
        database = options.database or Path(folder) / "features.db"
        if not database.exists():
            with closing(open_store(database)) as store:
                fill(store, published, embedder.embed(sample), options.features, embedder.identity)
                with store.write() as writer:
                    writer.vectors.index()
        measure(database, queries)


if __name__ == "__main__":
    main()
