import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('fleet', '0003_source_read_only_since'),
    ]

    operations = [
        migrations.CreateModel(
            name='Tag',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('path_prefix', models.CharField(max_length=1024)),
                ('name', models.CharField(max_length=32)),
                ('cluster', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='tags', to='fleet.cluster')),
            ],
            options={
                'ordering': ('cluster__name', 'path_prefix', 'name'),
                'constraints': [models.UniqueConstraint(fields=('cluster', 'path_prefix', 'name'), name='a_tag_once_per_path_prefix')],
            },
        ),
    ]
