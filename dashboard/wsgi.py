"""The WSGI entry for gunicorn: `gunicorn dashboard.wsgi`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
application = get_wsgi_application()

from dashboard.checks import refuse_to_start  # noqa: E402 - settings and apps come first

refuse_to_start(role="web")
