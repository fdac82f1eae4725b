"""Every route of the product is in dashboard/web/urls.py."""

from django.urls import include, path

handler400 = "dashboard.web.views.errors.bad_request"
handler403 = "dashboard.web.views.errors.forbidden"
handler404 = "dashboard.web.views.errors.not_found"
handler500 = "dashboard.web.views.errors.server_error"

urlpatterns = [path("", include("dashboard.web.urls"))]
