from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("migration", "0061_acts")]

    operations = [
        migrations.AddField(
            model_name="rotation",
            name="reason",
            field=models.TextField(blank=True, db_default="", default="", verbose_name="reason"),
        ),
    ]
