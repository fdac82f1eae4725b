"""Anything at any moment, round after round: `python -m tests.chaos --rounds 300 --seed 7`.

Twenty simulated clusters, a whole desk, people, and from two to five troubles a round; after each the auditor compares
the clusters' own journal, the database and the ledger. What happens in round n is a function of the seed and of n, so a
round can be named; when exactly a process is hit by it is not, and no two runs are the same. The first finding ends the
run: it prints all that is known of it and leaves the folder.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.chaos import rounds
from tests.faults.site import Site, own_database


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", default="", help="default: another each time")
    parser.add_argument("--first", type=int, default=1, help="number of the first round")
    parser.add_argument("--engine", choices=["sqlite", "postgres"], default="sqlite")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
    with ExitStack() as stack:
        database = None
        if asked.engine == "postgres":
            from tests.postgres import running_postgres

            database = own_database(stack.enter_context(running_postgres(durable=True)))
        site = Site(folder, database=database, scale=rounds.SCALE)
        stack.callback(site.close)
        seed, began = asked.seed or secrets.token_hex(4), time.monotonic()
        print(f"seed {seed}, rounds {asked.first} to {asked.first + asked.rounds - 1}, {asked.engine}", flush=True)
        site.simulate(rounds.world(seed))
        site.prepare()
        run = rounds.Run(site, seed, lambda line: print(line, flush=True))
        clean = rounds.play(run, asked.first, asked.rounds)
        print(f"{time.monotonic() - began:.0f} s" + ("" if clean else f"; the folder is left: {folder}"), flush=True)
    if clean:
        shutil.rmtree(folder)
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
