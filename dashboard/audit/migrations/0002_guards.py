from django.db import migrations

from dashboard.audit import guards


def begin(apps, schema_editor):
    apps.get_model("audit", "Head").objects.create()
    guards.install(schema_editor.connection)


def end(apps, schema_editor):
    guards.drop(schema_editor.connection)
    apps.get_model("audit", "Head").objects.all().delete()


class Migration(migrations.Migration):
    """The one head row, and the guards. Without the head nothing can be recorded, and so nothing can be done."""

    dependencies = [("audit", "0001_initial")]
    operations = [migrations.RunPython(begin, end)]
