"""The WSGI entry for gunicorn: `gunicorn dashboard.wsgi`."""

import os
from contextlib import suppress

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
application = get_wsgi_application()

from django.db import InterfaceError, OperationalError, connection  # noqa: E402 - settings and apps come first

from dashboard import database  # noqa: E402
from dashboard.checks import refuse_to_start  # noqa: E402
from dashboard.failovers import selfcheck  # noqa: E402

database.wait_at_most(database.FOR_PEOPLE)
refuse_to_start(role="web")
with suppress(OperationalError, InterfaceError):  # away: pages say so, and whoever sends looks for itself
    selfcheck.look(sends=False)
connection.close()  # the threads that serve open their own
