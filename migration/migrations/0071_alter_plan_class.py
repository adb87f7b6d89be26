from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("migration", "0070_searches_of_some"),
    ]

    operations = [
        migrations.AlterField(
            model_name="planrow",
            name="plan_class",
            field=models.CharField(
                choices=[
                    ("new", "New in AWS"),
                    ("unchanged", "Unchanged"),
                    ("updated", "Updated over this site's version"),
                    ("overwritten", "Overwritten: someone else's version"),
                    ("left_alone", "Left alone"),
                    ("failing", "Will fail"),
                    ("will", "Would be done"),
                    ("nothing", "Nothing to do"),
                    ("refused", "Refused"),
                ],
                max_length=16,
            ),
        ),
    ]
