from django.db import migrations, models

from dashboard.audit import guards, triggers

COLUMNS = ("tag", "actor", "object")


def lift(apps, editor):
    """SQLite remakes the table, which the guards would refuse."""
    triggers.drop(editor.connection, guards.LEDGER)


def guard_the_ledger(apps, editor):
    triggers.install(editor.connection, guards.LEDGER)


def guard(apps, editor):
    guards.install(editor.connection)


def unguard(apps, editor):
    guards.drop(editor.connection)


def revoke(apps, editor):
    """On PostgreSQL: whoever does not own the ledger may read it and add to it, and nothing else, triggers or not."""
    if editor.connection.vendor != "postgresql":
        return
    with editor.connection.cursor() as cursor:
        for table in ("audit_entry", "audit_checkpoint"):
            cursor.execute(
                "SELECT DISTINCT quote_ident(grantee) FROM information_schema.role_table_grants g"
                " JOIN pg_tables t ON t.tablename = g.table_name AND t.schemaname = g.table_schema"
                " WHERE g.table_name = %s AND g.table_schema = current_schema()"
                " AND g.grantee NOT IN ('PUBLIC', t.tableowner)",
                [table],
            )
            for (grantee,) in cursor.fetchall():
                cursor.execute(f"REVOKE UPDATE, DELETE, TRUNCATE, TRIGGER ON {table} FROM {grantee}")
            cursor.execute(f"REVOKE UPDATE, DELETE, TRUNCATE, TRIGGER ON {table} FROM PUBLIC")


class Migration(migrations.Migration):
    """Indexes by which a page of a large ledger is found, and the checkpoints. The ledger is the same afterwards."""

    dependencies = [("audit", "0002_guards")]
    operations = [
        migrations.RunPython(lift, guard_the_ledger),
        *[
            migrations.AlterField("entry", column, models.CharField(max_length=200, blank=column == "object"))
            for column in COLUMNS
        ],
        *[
            migrations.AddIndex("entry", models.Index(fields=[column, "seq"], name=f"audit_entry_by_{column}"))
            for column in COLUMNS
        ],
        migrations.CreateModel(
            name="Checkpoint",
            fields=[
                ("number", models.BigIntegerField(primary_key=True, serialize=False)),
                ("seq", models.BigIntegerField()),
                ("hash", models.BinaryField(max_length=32)),
                ("at", models.DateTimeField()),
                ("note", models.TextField()),
            ],
            options={"ordering": ("number",)},
        ),
        migrations.CreateModel(
            name="Sink",
            fields=[
                ("name", models.CharField(max_length=16, primary_key=True, serialize=False)),
                ("wanted", models.BooleanField(default=False, help_text="The settings of the relay name it.")),
                ("number", models.BigIntegerField(default=0, help_text="Number of the last checkpoint that it took.")),
                ("failures", models.PositiveIntegerField(default=0, help_text="In a row.")),
                ("trouble", models.CharField(blank=True, default="", max_length=200)),
                ("next_try_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.RunPython(guard, unguard),
        migrations.RunPython(revoke, migrations.RunPython.noop),
    ]
