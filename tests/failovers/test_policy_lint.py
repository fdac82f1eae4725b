"""What would fail in the night is said by day."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command

from dashboard.accounts import people
from dashboard.accounts.models import Group, User
from dashboard.audit.chain import SYSTEM
from dashboard.failovers import amending, policies
from dashboard.failovers.policy_lint import lint, summary, survey
from dashboard.fleet.models import Cluster, Tag
from tests.conftest import PASSWORD


def run(*words: str) -> str:
    out = io.StringIO()
    call_command("policy", *words, stdout=out)
    return out.getvalue()


def there():
    """The policy gold as it stands."""
    found = policies.find("gold")
    assert found is not None
    return found


def group(name, *users):
    Group.objects.create(name=name).members.add(*[user.person for user in users])


def roles(user, *names):
    User.objects.filter(pk=user.pk).update(roles=list(names))


def red():
    return [each.words for each in lint() if each.level == "red"]


def amber():
    return [each.words for each in lint() if each.level == "amber"]


def test_the_demonstration_s_people_satisfy_the_default(pair, cast):
    assert lint() == []
    assert summary(lint()) == "in order"


def test_a_policy_that_nobody_can_satisfy_is_red(pair, cast):
    group("storage", cast.lind, cast.osei)
    run("set", "gold", "--share", "storage=3")
    assert red() == ["Policy gold on dr: three of storage must approve, and only j.lind and k.osei can approve there."]
    assert summary(lint()) == "red: 1"


def test_members_who_are_no_approvers_do_not_count(pair, cast):
    group("storage", cast.lind, cast.viewer, cast.okafor)
    run("set", "gold", "--share", "storage=2")
    assert red() == ["Policy gold on dr: two of storage must approve, and only j.lind can approve there."]


def test_the_requester_does_not_count(pair, cast):
    roles(cast.lind, "operator", "approver")
    group("storage", cast.lind, cast.osei)
    run("set", "gold", "--share", "storage=2")
    assert red() == ["Policy gold on dr: when j.lind asks, only k.osei is left, and two of storage must approve."]
    run("set", "gold", "--share", "storage=1")
    assert red() == []


def test_only_the_requester_could_approve(pair, cast):
    roles(cast.lind, "operator", "approver")
    roles(cast.osei, "viewer")
    assert red() == ["The default on dr: when j.lind asks, nobody is left, and one other person must approve."]


def test_the_default_is_judged_where_no_policy_rules_and_only_there(pair, cast):
    for user in (cast.lind, cast.osei):
        roles(user, "viewer")
    assert red() == ["The default on dr: one other person must approve, and nobody can approve there."]
    run("set", "gold", "--share", "2")
    assert red() == ["Policy gold on dr: two other people must approve, and nobody can approve there."]


def test_roles_count_only_on_the_clusters_that_they_are_for(pair, cast):
    roles(cast.lind, "approver@dr-east")
    roles(cast.osei, "approver@dr")
    run("set", "gold", "--share", "2")
    assert red() == ["Policy gold on dr: two other people must approve, and only k.osei can approve there."]
    roles(cast.osei, "approver@dr", "operator@dr-east")  # may ask elsewhere, not here
    run("set", "gold", "--share", "1")
    assert red() == []
    roles(cast.osei, "approver@dr", "operator@dr")
    assert red() == ["Policy gold on dr: when k.osei asks, nobody is left, and one other person must approve."]


def test_somebody_in_two_groups_stands_for_one_of_them(pair, cast):
    group("storage", cast.lind)
    group("security", cast.lind)
    run("set", "gold", "--share", "storage=1", "--share", "security=1")
    assert red() == [
        "Policy gold on dr: one of security, one of storage must approve, and only j.lind can approve there."
    ]
    Group.objects.get(name="storage").members.add(cast.osei.person)
    assert red() == []


def test_persons_are_counted_not_accounts(pair, cast):
    roles(cast.osei, "viewer")
    people.add("j.lind-2", roles=["approver"], password=PASSWORD, actor=SYSTEM, person="j.lind")
    run("set", "gold", "--share", "2")
    assert red() == [
        (
            "Policy gold on dr: two other people must approve, and only j.lind can approve there. "
            "j.lind counts once, with two accounts."
        )
    ]
    run("set", "gold", "--share", "1")
    assert red() == []
    assert amber() == ["Policy gold on dr: only j.lind can approve there. j.lind counts once, with two accounts."]


def test_a_group_that_is_gone_or_empty_is_red(pair, cast):
    group("storage", cast.lind)
    group("legal")
    run("set", "gold", "--share", "storage=1", "--share", "legal=1")
    assert red() == ["Policy gold: one of legal must approve, and nobody is in that group."]
    Group.objects.get(name="legal").delete()
    assert red() == ["Policy gold: one of legal must approve, and there is no such group."]


def test_a_policy_that_covers_nothing_is_amber(pair, cast):
    run("set", "typo", "--path", "/rd/finance")
    run("set", "tagged", "--tag", "tier-1")
    assert amber() == [
        "Policy tagged has no effect: no relationship is covered by it today.",
        "Policy typo has no effect: no relationship is covered by it today.",
    ]
    Tag.objects.create(cluster=Cluster.objects.get(), path_prefix="/dr", name="tier-1")
    assert amber() == ["Policy typo has no effect: no relationship is covered by it today."]


def test_a_policy_that_always_loses_covers_something_all_the_same(pair, cast):
    run("set", "every")
    run("set", "below", "--path", "/dr")
    assert amber() == []
    found = survey()
    assert (found.count("every"), found.count("below"), found.covered["every"]) == (0, 1, 1)


def test_a_policy_for_a_cluster_that_is_gone_is_amber(pair, cast):
    run("set", "gold", "--cluster", "dr")
    assert amber() == []
    Cluster.objects.update(name="dr-new")
    assert amber() == ["Policy gold has no effect: there is no cluster dr any more."]


def test_two_equally_specific_policies_that_meet_are_amber_and_the_winner_is_named(pair, cast):
    cluster = Cluster.objects.get()
    for name in ("tier-1", "tier-2"):
        Tag.objects.create(cluster=cluster, path_prefix="/dr", name=name)
    run("set", "alpha", "--tag", "tier-1")
    run("set", "beta", "--tag", "tier-2")
    assert amber() == [
        "Policy alpha and beta are equally specific on dr:/dr/finance. alpha wins there: it is the first by name."
    ]
    run("set", "beta", "--share", "2")
    pair.world.relate(pair.world.clusters["prod"], "/prod/hr", pair.target, "/dr/hr")
    pair.read()
    assert amber() == [
        "Policy beta and alpha are equally specific on dr:/dr/finance and 1 more. beta wins there: it asks for more."
    ]


def test_a_cluster_that_cannot_be_asked_for_at_once_is_amber(pair, cast):
    pair.world.relate(pair.world.clusters["prod"], "/prod/hr", pair.target, "/dr/hr")
    pair.read()
    group("storage", cast.lind, cast.osei)
    group("security", cast.lind, cast.osei)
    run("set", "finance", "--path", "/dr/finance", "--share", "storage=2")
    run("set", "hr", "--path", "/dr/hr", "--share", "security=1")
    assert red() == []
    assert amber() == [
        (
            "All of dr in one request: two of storage, one of security must approve, and only j.lind and k.osei can "
            "approve there. Ask in several requests."
        )
    ]


def test_hidden_relationships_do_not_count(pair, cast):
    run("set", "gold", "--share", "2")
    assert survey().count("gold") == 1
    pair.row.__class__.objects.update(hidden=True)
    assert survey().count("gold") == 0


def test_the_number_of_queries_does_not_grow_with_the_fleet(fleet, cast, django_assert_max_num_queries):
    for name in ("dr-west", "dr-east", "dc2-archive"):
        run("set", f"of-{name}", "--cluster", name, "--share", "2")
    assert Cluster.objects.count() > 3
    with django_assert_max_num_queries(8):
        lint()


@pytest.fixture
def fleet(db):
    from dashboard.fleet import access
    from tests.web.fleet import Fleet

    yield Fleet()
    access.forget_transports()


# ── The shell ──


def test_the_shell_sets_lists_and_removes(pair, cast):
    group("storage", cast.lind, cast.osei)
    assert run(
        "set", "gold", "--path", "/dr", "--share", "storage=2", "--share", "1", "--wait", "60", "--break-glass"
    ).splitlines() == [
        "Covers: /dr on every cluster",
        "Approvals: two of storage, one more person",
        "A request waits: 1 h",
        "Good for starting: 15 min",
        "Break-glass: allowed",
        "Prompt for the reason: none",
        "Ticket pattern: none",
        "Weaker: In place of the default: a request waits 1 h for its decision, before 30 min.",
        "Weaker: In place of the default: break-glass becomes allowed.",
    ]
    assert run("set", "gold", "--no-break-glass", "--ticket", "INC[0-9]+").splitlines() == [
        "Break-glass: not allowed, before allowed",
        "Ticket pattern: INC[0-9]+, before none",
    ]
    kept = there()
    assert (kept.scope.path_prefix, kept.rules.required) == ("/dr", 3)
    listed = run("list")
    assert "gold: 1 relationship\n  Covers: /dr on every cluster\n" in listed
    assert "(default): 0 relationships\n" in listed
    assert "Removed.\n" in run("remove", "gold")
    assert policies.find("gold") is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("set", "gold", "--share", "legal=1"), "There is no group legal."),
        (("set", "gold", "--share", "many"), "is not a share"),
        (("set", "gold", "--ticket", "(a+)+"), "could take too long"),
        (("set", "no name"), "is not a name"),
        (("remove", "gold"), "There is no policy gold."),
    ],
)
def test_the_shell_says_in_one_sentence_what_cannot_be(cast, words, said):
    with pytest.raises(CommandError, match=said):
        run(*words)


def test_lint_ends_with_1_when_something_is_red_and_only_then(pair, cast):
    assert run("lint") == "Policies: in order.\n"
    run("set", "idle", "--path", "/elsewhere")
    assert "amber: Policy idle has no effect" in run("lint")
    run("set", "gold", "--share", "3")
    with pytest.raises(SystemExit) as ended:
        run("lint")
    assert ended.value.code == 1


def test_what_a_change_of_the_shell_breaks_is_said_by_lint_and_not_forbidden(pair, cast):
    """Rules stand before the people who satisfy them come."""
    run("set", "gold", "--share", "20")
    assert amending.waiting() == []
    assert len(red()) == 1
