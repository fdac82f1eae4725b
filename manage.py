#!/usr/bin/env python
"""Django's command line for Failover Desk. `make help` lists what people usually want."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    from dashboard.embedded import adopt_keys

    try:
        adopt_keys(os.environ, *sys.argv[1:2])
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as refusal:
        sys.exit(str(refusal))
