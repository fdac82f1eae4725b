import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('accounts', '0002_groups'),
    ]

    operations = [
        migrations.CreateModel(
            name='Channel',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=64, unique=True)),
                ('label', models.CharField(help_text='As pages write it: `chat`, `mail to j.lind`.', max_length=170)),
                ('seq', models.BigIntegerField(help_text='Entries up to here are deliveries, or do not concern it.')),
                ('due_at', models.DateTimeField()),
                ('tries', models.PositiveIntegerField(default=0, help_text='Failed ones in a row.')),
                ('failing_since', models.DateTimeField(null=True)),
                ('error', models.CharField(blank=True, max_length=64)),
                ('recorded', models.BooleanField(default=False, help_text='The ledger has this outage.')),
                ('person', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.person')),
            ],
            options={
                'ordering': ('person_id', 'name'),
            },
        ),
        migrations.CreateModel(
            name='Delivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('label', models.CharField(max_length=170)),
                ('entry', models.BigIntegerField()),
                ('object', models.CharField(blank=True, db_index=True, max_length=200)),
                ('message', models.BigIntegerField()),
                ('at', models.DateTimeField(help_text='Of the last try.')),
                ('ok', models.BooleanField(default=False, help_text="The receiver's server took it.")),
                ('tries', models.PositiveIntegerField(default=0)),
                ('error', models.CharField(blank=True, max_length=64)),
                ('channel', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='deliveries', to='notifications.channel')),
            ],
            options={
                'verbose_name_plural': 'deliveries',
                'ordering': ('pk',),
                'constraints': [models.UniqueConstraint(fields=('channel', 'entry'), name='each_entry_once_per_channel')],
            },
        ),
    ]
