"""A change of a policy stays as it was proposed, and is decided once."""

from django.db import migrations

from dashboard.failovers import guards


def install(apps, editor):
    guards.install(editor.connection)


class Migration(migrations.Migration):
    dependencies = [("failovers", "0005_guards")]
    operations = [migrations.RunPython(install, migrations.RunPython.noop)]
