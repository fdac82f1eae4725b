"""The rules of policies, without database: who satisfies what, which policy wins, and what a change weakens."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from dashboard.failovers.policy import ANYONE, DEFAULT, Policy, Rules, Scope, Share, covering, lacking, together
from dashboard.failovers.weakening import approvals, differences, place, weakened, weaker

GROUPS = ["storage", "security", "network"]
CLUSTERS = ["dr-west", "dr-east"]
PREFIXES = ["", "/dr", "/dr/a", "/dr/a/b", "/dr/ab", "/drx"]
TAGS = ["gold", "silver"]

counts = st.dictionaries(st.sampled_from([ANYONE, *GROUPS]), st.integers(1, 3), min_size=1)
shares = counts.map(lambda given: tuple(Share(group=group, count=count) for group, count in given.items()))
voters = st.dictionaries(st.integers(1, 7), st.frozensets(st.sampled_from(GROUPS)), max_size=7)
minutes = st.integers(1, 4).map(lambda quarters: timedelta(minutes=15 * quarters))
rules = st.builds(
    Rules,
    shares=shares,
    decide=minutes,
    run=minutes,
    break_glass=st.booleans(),
    ticket_patterns=st.sampled_from([(), ("INC[0-9]+",), ("CHG[0-9]+",)]),
)
scopes = st.builds(
    Scope,
    cluster=st.sampled_from(["", *CLUSTERS]),
    path_prefix=st.sampled_from(PREFIXES),
    tag=st.sampled_from(["", *TAGS]),
)
policies = st.lists(st.builds(Policy, name=st.sampled_from("abcde"), scope=scopes, rules=rules), max_size=4).map(
    lambda found: list({policy.name: policy for policy in found}.values())
)
places = st.tuples(
    st.sampled_from(CLUSTERS),
    st.sampled_from(["/dr/", "/dr/a/", "/dr/a/b/c", "/dr/ab", "/elsewhere"]),
    st.frozensets(st.sampled_from(TAGS)),
)


def most_filled(needed, people):
    """The most places that these people fill, by trying every choice of each of them."""
    open_places = [share.group for share in needed for _ in range(share.count)]

    def fill(waiting, free):
        if not waiting:
            return 0
        person, *rest = waiting
        best = fill(rest, free)
        for group in set(free):
            if group == ANYONE or group in people[person]:
                left = list(free)
                left.remove(group)
                best = max(best, 1 + fill(rest, left))
        return best

    return fill(list(people), open_places)


def enough(rules_, people):
    return not lacking(rules_.shares, people)


@given(shares, st.dictionaries(st.integers(1, 5), st.frozensets(st.sampled_from(GROUPS)), max_size=5))
def test_what_is_lacking_is_what_no_other_placing_of_the_votes_could_fill(needed, people):
    open_places = lacking(needed, people)
    assert sum(share.count for share in open_places) == sum(s.count for s in needed) - most_filled(needed, people)


@given(shares, voters)
def test_whoever_fills_the_lacking_places_completes_it(needed, people):
    more = [share.group for share in lacking(needed, people) for _ in range(share.count)]
    joined = dict(people) | {100 + n: frozenset({group} - {ANYONE}) for n, group in enumerate(more)}
    assert not lacking(needed, joined)


@given(shares, voters)
def test_fewer_people_than_places_are_never_enough(needed, people):
    total = sum(share.count for share in needed)
    for some in combinations(people, max(total - 1, 0)):
        assert lacking(needed, {person: people[person] for person in some})


def test_somebody_in_two_groups_leaves_the_place_that_only_another_can_fill():
    needed = (Share(group="storage", count=1), Share(group="security", count=1))
    both, storage = frozenset({"storage", "security"}), frozenset({"storage"})
    assert lacking(needed, {1: both, 2: storage}) == ()
    assert lacking(needed, {1: both}) == (Share(group="security", count=1),)


@given(st.lists(rules, min_size=1, max_size=3), voters)
def test_whoever_satisfies_the_rules_together_satisfies_each(several, people):
    joint = together(several)
    if enough(joint, people):
        assert all(enough(each, people) for each in several)


@given(st.lists(rules, min_size=1, max_size=4))
def test_together_takes_the_shortest_times_all_patterns_and_break_glass_only_from_all(several):
    joint = together(several)
    assert joint.decide == min(each.decide for each in several)
    assert joint.run == min(each.run for each in several)
    assert joint.break_glass == all(each.break_glass for each in several)
    assert set(joint.ticket_patterns) == {pattern for each in several for pattern in each.ticket_patterns}
    assert not any(weaker(joint, each) for each in several if not joint.ticket_patterns)


@given(st.lists(rules, min_size=1, max_size=3))
def test_together_asks_nobody_twice_without_need(several):
    joint = together(several)
    named: dict[str, int] = {}
    for each in several:
        for share in each.shares:
            if share.group != ANYONE:
                named[share.group] = max(named.get(share.group, 0), share.count)
    assert joint.required == max(sum(named.values()), *(each.required for each in several))


def test_together_of_nothing_is_the_default():
    assert together([]) == DEFAULT
    assert DEFAULT.required == 1
    assert (DEFAULT.decide, DEFAULT.run) == (timedelta(minutes=30), timedelta(minutes=15))
    assert not DEFAULT.break_glass


@given(policies, places)
def test_the_winner_is_the_most_specific_of_those_that_cover(standing, spot):
    found = covering(standing, *spot)
    assert {policy.name for policy in found} == {policy.name for policy in standing if policy.scope.covers(*spot)}
    for loser in found[1:]:
        assert found[0].scope.specificity >= loser.scope.specificity
        if found[0].scope.specificity == loser.scope.specificity:
            assert found[0].rules.required >= loser.rules.required


@given(policies, places, st.randoms())
def test_the_winner_does_not_depend_on_the_order_in_which_policies_are_read(standing, spot, chance):
    mixed = list(standing)
    chance.shuffle(mixed)
    assert covering(mixed, *spot) == covering(standing, *spot)


def test_a_path_prefix_covers_whole_components_only():
    scope = Scope(path_prefix="/dr/a")
    assert [path for path in ("/dr/a", "/dr/a/", "/dr/a/b", "/dr/ab", "/dr") if scope.covers("dr-west", path, ())] == [
        "/dr/a",
        "/dr/a/",
        "/dr/a/b",
    ]


def test_a_longer_prefix_beats_a_tag_and_a_tag_beats_a_cluster():
    def named(name, **scope):
        return Policy(name=name, scope=Scope(**scope), rules=DEFAULT)

    path, tag, cluster = named("path", path_prefix="/dr"), named("tag", tag="gold"), named("cluster", cluster="dr-west")
    every = named("every")
    found = covering([every, cluster, tag, path], "dr-west", "/dr/a/", {"gold"})
    assert [policy.name for policy in found] == ["path", "tag", "cluster", "every"]


def test_of_equals_the_one_that_asks_for_more_wins_and_then_the_first_by_name():
    more = Policy(name="z", rules=Rules(shares=(Share(count=2),)))
    one, other = Policy(name="b", rules=DEFAULT), Policy(name="c", rules=DEFAULT)
    assert covering([other, one, more], "dr-west", "/dr/", ()) == [more, one, other]


@given(scopes, scopes, places)
def test_what_scopes_say_about_each_other_holds_for_every_relationship(one, other, spot):
    if one.within(other) and one.covers(*spot):
        assert other.covers(*spot)
    if one.covers(*spot) and other.covers(*spot):
        assert one.meets(other)


@given(rules, rules, voters)
def test_without_a_sentence_whoever_satisfies_the_new_rules_satisfies_the_old(new, old, people):
    if not weaker(new, old) and enough(new, people):
        assert enough(old, people)
        assert new.decide <= old.decide
        assert new.run <= old.run
        assert old.break_glass or not new.break_glass


@given(rules)
def test_the_same_rules_are_not_weaker(same):
    assert weaker(same, same) == []


@given(policies, st.builds(Policy, name=st.just("x"), scope=scopes, rules=rules), places)
def test_a_new_policy_without_a_sentence_weakens_no_relationship(standing, new, spot):
    if weakened(new, None, standing):
        return
    before, after = covering(standing, *spot), covering([*standing, new], *spot)
    assert not weaker(after[0].rules if after else DEFAULT, before[0].rules if before else DEFAULT)


@given(policies, scopes, scopes, rules, rules, places)
def test_a_change_without_a_sentence_weakens_no_relationship(others, scope, elsewhere, old, new, spot):
    before = Policy(name="x", scope=scope, rules=old)
    after = Policy(name="x", scope=elsewhere, rules=new)
    for changed in (after, dataclasses.replace(after, scope=scope)):
        if weakened(changed, before, others):
            continue
        first, then = covering([*others, before], *spot), covering([*others, changed], *spot)
        assert not weaker(then[0].rules if then else DEFAULT, first[0].rules if first else DEFAULT)


def test_removing_a_policy_always_weakens():
    assert weakened(None, Policy(name="x", rules=DEFAULT), [])


def test_every_way_to_weaken_has_its_sentence():
    old = Rules(
        shares=(Share(group="storage", count=2), Share(count=1)),
        ticket_patterns=("INC[0-9]+",),
    )
    new = Rules(
        shares=(Share(group="security", count=2),),
        decide=timedelta(hours=1),
        run=timedelta(minutes=20),
        break_glass=True,
    )
    assert weaker(new, old) == [
        "Two people must approve, before three.",
        "Nobody of storage need approve, before two.",
        "A request waits 1 h for its decision, before 30 min.",
        "An approval is good for starting for 20 min, before 15 min.",
        "Break-glass becomes allowed.",
        "The ticket need not match a pattern.",
    ]
    assert weaker(dataclasses.replace(old, ticket_patterns=("CHG[0-9]+",)), old) == [
        "The ticket must match another pattern."
    ]


def test_a_place_for_anybody_that_becomes_one_for_a_group_weakens_nothing():
    old = Rules(shares=(Share(group="storage", count=1), Share(count=1)))
    assert weaker(Rules(shares=(Share(group="storage", count=2),)), old) == []


def test_a_new_policy_is_compared_with_what_it_puts_aside():
    strict = Policy(name="strict", scope=Scope(cluster="dr-west"), rules=Rules(shares=(Share(count=3),)))
    slow = Rules(shares=(Share(count=2),), decide=timedelta(hours=1))
    below = Policy(name="below", scope=Scope(path_prefix="/dr"), rules=slow)
    assert weakened(below, None, [strict]) == [
        "In place of strict: two people must approve, before three.",
        "In place of strict: a request waits 1 h for its decision, before 30 min.",
        "In place of the default: a request waits 1 h for its decision, before 30 min.",
    ]
    elsewhere = dataclasses.replace(below, scope=Scope(cluster="dr-east", path_prefix="/dr"))
    assert weakened(elsewhere, None, [strict]) == [
        "In place of the default: a request waits 1 h for its decision, before 30 min."
    ]
    # Where another policy rules everywhere, the default has nothing to lose.
    every = Policy(name="every", rules=Rules(decide=timedelta(hours=2)))
    assert weakened(elsewhere, None, [every]) == []


def test_a_policy_made_stronger_that_now_wins_a_tie_is_compared_with_the_loser():
    quick = Policy(name="a", scope=Scope(tag="gold"), rules=Rules(shares=(Share(count=2),)))
    before = Policy(name="b", scope=Scope(tag="silver"), rules=Rules(decide=timedelta(hours=1)))
    after = dataclasses.replace(before, rules=dataclasses.replace(before.rules, shares=(Share(count=3),)))
    assert weakened(after, before, [quick]) == [
        "In place of a: a request waits 1 h for its decision, before 30 min.",
    ]


def test_rules_read_as_people_say_them():
    assert approvals(DEFAULT.shares) == "one other person"
    two = (Share(group="storage", count=2), Share(group="security", count=1))
    assert approvals(two) == "two of storage, one of security"
    assert approvals((*two, Share(count=13))) == "two of storage, one of security, 13 more people"
    assert place(Scope()) == "every relationship"
    assert place(Scope(cluster="dr-west")) == "dr-west"
    assert place(Scope(cluster="dr-west", path_prefix="/dr/a")) == "/dr/a on dr-west"
    assert place(Scope(tag="gold", path_prefix="/dr")) == "tag gold below /dr on every cluster"


def test_a_difference_names_only_what_changes():
    before = Policy(name="x", rules=DEFAULT)
    after = dataclasses.replace(before, rules=Rules(shares=(Share(count=2),)))
    assert differences(after, before) == [("Approvals", "one other person", "two other people")]
    assert [label for label, _, new in differences(None, before) if new] == []
    assert all(not old for _, old, _ in differences(after, None))
