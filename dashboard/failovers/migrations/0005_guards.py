"""A failover moves along its states only, and a request gets no more failovers than it was made for."""

from django.db import migrations

from dashboard.audit import triggers
from dashboard.audit.triggers import Guard
from dashboard.failovers import guards

REPLACED = [
    Guard(name=name, table="failovers_failover", event="UPDATE", words="")
    for name in ("failovers_sent_only_from_approved", "failovers_an_ending_is_final")
]


def install(apps, editor):
    triggers.drop(editor.connection, REPLACED)
    guards.install(editor.connection)


class Migration(migrations.Migration):
    dependencies = [("failovers", "0004_guards")]
    operations = [migrations.RunPython(install, migrations.RunPython.noop)]
