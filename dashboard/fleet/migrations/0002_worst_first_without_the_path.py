"""PostgreSQL refuses a row whose indexed text is longer than a third of a page: one long path, and nothing of its cluster
could be stored."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0001_initial")]
    operations = [
        migrations.RemoveIndex(model_name="relationship", name="relationship_worst_first"),
        migrations.AddIndex(
            model_name="relationship",
            index=models.Index(fields=["grade_rank"], name="relationship_worst_first"),
        ),
    ]
