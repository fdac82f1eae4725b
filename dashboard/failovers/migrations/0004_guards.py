"""The guards of this room, and the first number of a request."""

from django.db import migrations

from dashboard.failovers import guards
from dashboard.failovers.models import FIRST_NUMBER


def begin(apps, editor):
    connection = editor.connection
    guards.install(connection)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM failovers_request")
        if cursor.fetchone()[0]:
            return  # the numbers have begun
        if connection.vendor == "postgresql":
            cursor.execute(f"ALTER SEQUENCE failovers_request_id_seq RESTART WITH {FIRST_NUMBER}")
        else:  # a table that was remade on the way may have its row already, and a second one counts for nothing
            cursor.execute("DELETE FROM sqlite_sequence WHERE name = 'failovers_request'")
            cursor.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('failovers_request', %s)", [FIRST_NUMBER - 1])


def end(apps, editor):
    guards.drop(editor.connection)


class Migration(migrations.Migration):
    dependencies = [("failovers", "0003_four_eyes")]
    operations = [migrations.RunPython(begin, end)]
