"""Every address of the desk. Names are nouns; what is polled ends in /live/; what only takes a form has a verb."""

from __future__ import annotations

from django.urls import URLPattern, path

from dashboard.web.views import accounts, meta

urlpatterns: list[URLPattern] = [
    path("sign-in/", accounts.sign_in, name="sign-in"),
    path("sign-out/", accounts.sign_out, name="sign-out"),
    path("health/", meta.health, name="health"),
    path("csp-report/", meta.csp_report, name="csp-report"),
]
