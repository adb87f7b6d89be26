"""The open items of some clients have an index of their own, which no look at a run's batches takes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("migration", "0057_problems"),
    ]

    operations = [
        migrations.RemoveIndex(model_name="runitem", name="open_item_client"),
        migrations.AddIndex(
            model_name="runitem",
            index=models.Index(
                condition=models.Q(("finished_at", None)),
                fields=["client"],
                name="open_item_client",
            ),
        ),
    ]
