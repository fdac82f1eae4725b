"""What lint says of the policies, for pages and probes that come often: it looks at every relationship, so once in a
few seconds is enough for all of them. (The page of policies and the command line ask anew.)"""

from __future__ import annotations

import json
from dataclasses import asdict

from dashboard.failovers.policy_lint import Finding, lint
from dashboard.web.fragments import remembered

KEEP = 20.0


def linted() -> list[Finding]:
    found = remembered("lint", lambda: json.dumps([asdict(each) for each in lint()]), seconds=KEEP)
    return [Finding(**each) for each in json.loads(found)]
