from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('fleet', '0004_tags'),
    ]

    operations = [
        migrations.AddField(
            model_name='recoverypoint',
            name='copied',
            field=models.BigIntegerField(help_text='Bytes, as the job reported them last; empty when it was not seen so late.', null=True),
        ),
        migrations.AddField(
            model_name='recoverypoint',
            name='covers',
            field=models.DurationField(help_text='What is kept reaches so much further than before it.', null=True),
        ),
    ]
