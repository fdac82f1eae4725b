"""What a change of a policy takes away, in sentences: as long as there is one, a second person must confirm it. Pure.

A change can weaken beyond its own policy: a policy that did not rule before may take the place of a stricter one, or of
the default. So a change is compared with everything that it puts aside.
"""

from __future__ import annotations

from collections.abc import Collection

from dashboard.failovers.policy import ANYONE, DEFAULT, Policy, Rules, Scope, Share
from dashboard.words import bare, duration, visible

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_FALLBACK = Policy(name="the default", rules=DEFAULT)


def number(count: int) -> str:
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


def people(count: int) -> str:
    return f"{number(count)} {'person' if count == 1 else 'people'}"


def approvals(shares: Collection[Share]) -> str:
    """`two of storage, one of security`, `one other person`, `one of storage, two more people`."""
    named = [f"{number(share.count)} of {share.group}" for share in shares if share.group != ANYONE]
    more = sum(share.count for share in shares if share.group == ANYONE)
    if more:
        named.append(f"{number(more)} {'more' if named else 'other'} {'person' if more == 1 else 'people'}")
    return ", ".join(named)


def place(scope: Scope) -> str:
    """`every relationship`, `dr-west`, `/dr/finance on dr-west`, `tag gold below /dr on every cluster`."""
    where = bare(scope.path_prefix) if scope.path_prefix else ""
    what = f"tag {visible(scope.tag)}" if scope.tag else ""
    if not (where or what):
        return visible(scope.cluster) or "every relationship"
    below = f"{what} below {where}" if where and what else where or what
    return f"{below} on {visible(scope.cluster) or 'every cluster'}"


def lines(policy: Policy) -> dict[str, str]:
    """A policy as people read it: label → words."""
    rules = policy.rules
    return {
        "Covers": place(policy.scope),
        "Approvals": approvals(rules.shares),
        "A request waits": duration(rules.decide),
        "Good for starting": duration(rules.run),
        "Break-glass": "allowed" if rules.break_glass else "not allowed",
        "Prompt for the reason": " ".join(map(visible, rules.prompts)) or "none",
        "Ticket pattern": " ".join(map(visible, rules.ticket_patterns)) or "none",
    }


def differences(after: Policy | None, before: Policy | None) -> list[tuple[str, str, str]]:
    """Label, words before, words after: of what changes. A policy that is not there yet, or no more, has no words."""
    new, old = (lines(after) if after else {}), (lines(before) if before else {})
    return [
        (label, old.get(label, ""), new.get(label, ""))
        for label in (new or old)
        if old.get(label, "") != new.get(label, "")
    ]


def weaker(new: Rules, old: Rules) -> list[str]:
    """Whoever satisfies the new rules may not satisfy the old ones: why. [] when they always do."""
    found = []
    if new.required < old.required:
        found.append(f"{people(new.required).capitalize()} must approve, before {number(old.required)}.")
    counts = {share.group: share.count for share in new.shares}
    for share in old.shares:
        now = counts.get(share.group, 0)
        # A place for anybody may become one for a group: the sum above tells whether any place is gone.
        if share.group != ANYONE and now < share.count:
            must = f"{number(now).capitalize()} of {share.group} must" if now else f"Nobody of {share.group} need"
            found.append(f"{must} approve, before {number(share.count)}.")
    if new.decide > old.decide:
        found.append(f"A request waits {duration(new.decide)} for its decision, before {duration(old.decide)}.")
    if new.run > old.run:
        found.append(f"An approval is good for starting for {duration(new.run)}, before {duration(old.run)}.")
    if new.break_glass and not old.break_glass:
        found.append("Break-glass becomes allowed.")
    if set(old.ticket_patterns) - set(new.ticket_patterns):
        found.append(
            "The ticket must match another pattern." if new.ticket_patterns else "The ticket need not match a pattern."
        )
    return found


def weakened(after: Policy | None, before: Policy | None, others: Collection[Policy]) -> list[str]:
    """What putting `after` in the place of `before` (None: there is none) weakens anywhere, today or for relationships
    to come. [] is a promise: no relationship whatsoever gets weaker rules."""
    if after is None:
        return ["The policy is removed: what it covers falls to the next policy, or to the default."]
    found = []
    if before is not None:
        if after.scope != before.scope:
            found.append(f"It covers {place(after.scope)}, before {place(before.scope)}.")
        found += weaker(after.rules, before.rules)
    standing = [*others, *([before] if before else [])]
    for other in [*(other for other in others if after.rank < other.rank), _FALLBACK]:
        # Where somebody else rules already, the other one has nothing to lose.
        aside = any(
            after.scope.within(each.scope) and (other is _FALLBACK or each.rank < other.rank) for each in standing
        )
        if after.scope.meets(other.scope) and not aside:
            found += [f"In place of {other.name}: {_inside(words)}" for words in weaker(after.rules, other.rules)]
    return found


def _inside(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
