from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("migration", "0035_known_values")]

    operations = [
        migrations.AddField(
            model_name="rotation",
            name="secret_name",
            field=models.CharField(blank=True, db_default="", default="", max_length=512),
        ),
        migrations.AddField(model_name="rotation", name="role", field=models.JSONField(null=True)),
    ]
