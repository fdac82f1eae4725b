"""Every address of the desk. Names are nouns; what is polled ends in /live/; what only takes a form has a verb."""

from __future__ import annotations

from django.urls import URLPattern, path

from dashboard.web.views import (
    account,
    accounts,
    approvals,
    asking,
    audit,
    clusters,
    failovers,
    meta,
    people,
    relationship,
    relationships,
    several,
    sso,
    wall,
)

urlpatterns: list[URLPattern] = [
    path("sign-in/", accounts.sign_in, name="sign-in"),
    path("sign-in/second-factor/", accounts.second_factor, name="second-factor"),
    path("sign-in/with/sso/", sso.sign_in_with, name="sign-in-with"),
    path("sign-in/with/sso/return/", sso.sign_in_return, name="sign-in-return"),
    path("sign-out/", accounts.sign_out, name="sign-out"),
    path("account/", account.account, name="account"),
    path("account/app/", account.add_app, name="account-app"),
    path("account/key/", account.add_key, name="account-key"),
    path("account/codes/", account.codes, name="account-codes"),
    path("account/factors/<int:pk>/remove/", account.remove_factor, name="factor-remove"),
    path("confirm/challenge/", sso.challenge, name="confirm-challenge"),
    path("confirm/with/sso/", sso.confirm_with, name="confirm-with"),
    path("health/", meta.health, name="health"),
    path("csp-report/", meta.csp_report, name="csp-report"),
    path("", relationships.relationships, name="relationships"),
    path("live/", relationships.live, name="relationships-live"),
    path("relationships/<slug:cluster>/<str:relationship>/", relationship.relationship, name="relationship"),
    path("relationships/<slug:cluster>/<str:relationship>/live/", relationship.live, name="relationship-live"),
    path(
        "relationships/<slug:cluster>/<str:relationship>/read-now/", relationship.read_now, name="relationship-read-now"
    ),
    path("relationships/<slug:cluster>/<str:relationship>/fail-over/", asking.fail_over, name="fail-over"),
    path(
        "relationships/<slug:cluster>/<str:relationship>/fail-over/checks/live/",
        asking.fail_over_checks,
        name="fail-over-checks",
    ),
    path("fail-over/", several.fail_over_several, name="fail-over-several"),
    path("fail-over/select/", several.select, name="select"),
    path("approvals/", approvals.approvals, name="approvals"),
    path("approvals/live/", approvals.approvals_live, name="approvals-live"),
    path("failovers/<str:number>/", failovers.failover, name="failover"),
    path("failovers/<str:number>/live/", failovers.failover_live, name="failover-live"),
    path("failovers/<str:number>/<int:place>/", failovers.failover, name="failover-item"),
    path("failovers/<str:number>/<int:place>/live/", failovers.failover_live, name="failover-item-live"),
    path("failovers/<str:number>/<int:place>/close/", failovers.close, name="failover-item-close"),
    path("failovers/<str:number>/decide/", failovers.decide, name="failover-decide"),
    path("failovers/<str:number>/cancel/", failovers.cancel, name="failover-cancel"),
    path("failovers/<str:number>/review/", failovers.review, name="failover-review"),
    path("failovers/<str:number>/close/", failovers.close, name="failover-close"),
    path("audit/", audit.audit, name="audit"),
    path("audit/<int:seq>/", audit.entry, name="audit-entry"),
    path("wall/", wall.wall, name="wall"),
    path("wall/live/", wall.live, name="wall-live"),
    path("people/", people.people, name="people"),
    path("people/<str:account>/", people.person, name="person"),
    path("clusters/", clusters.clusters, name="clusters"),
    path("clusters/<slug:name>/", clusters.cluster, name="cluster"),
    path("clusters/<slug:name>/read-now/", clusters.read_now, name="cluster-read-now"),
]
