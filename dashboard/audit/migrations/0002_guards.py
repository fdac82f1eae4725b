from django.db import migrations

from dashboard.audit import guards, triggers


def begin(apps, schema_editor):
    apps.get_model("audit", "Head").objects.create()
    triggers.install(schema_editor.connection, guards.LEDGER)


def end(apps, schema_editor):
    triggers.drop(schema_editor.connection, guards.LEDGER)
    apps.get_model("audit", "Head").objects.all().delete()


class Migration(migrations.Migration):
    """The one head row, and the guards. Without the head nothing can be recorded, and so nothing can be done."""

    dependencies = [("audit", "0001_initial")]
    operations = [migrations.RunPython(begin, end)]
