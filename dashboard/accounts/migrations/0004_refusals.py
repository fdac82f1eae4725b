import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_sign_in_strength"),
    ]

    operations = [
        migrations.AlterField(
            model_name="signinfailures",
            name="untold",
            field=models.PositiveIntegerField(default=0, help_text="So many that no ledger entry counts yet."),
        ),
        migrations.CreateModel(
            name="AccessRefusals",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "untold",
                    models.PositiveIntegerField(default=0, help_text="So many that no ledger entry counts yet."),
                ),
                ("told_at", models.DateTimeField(null=True)),
                ("route", models.CharField(max_length=64)),
                ("why", models.CharField(max_length=8)),
                ("address", models.CharField(blank=True, max_length=64)),
                ("words", models.CharField(help_text="Of the last one.", max_length=500)),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("account", "route", "why"), name="one_count_per_account_route_and_reason"
                    )
                ],
            },
        ),
    ]
