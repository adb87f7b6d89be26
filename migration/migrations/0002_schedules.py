"""What the workers do by the clock."""

from django.db import migrations

PUSH_PENDING = "Push pending clients"


def schedule(apps, schema_editor):
    apps.get_model("django_q", "Schedule").objects.get_or_create(
        name=PUSH_PENDING,
        defaults={"func": "migration.tasks.push_pending", "schedule_type": "I", "minutes": 1},
    )


def unschedule(apps, schema_editor):
    apps.get_model("django_q", "Schedule").objects.filter(name=PUSH_PENDING).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("migration", "0001_initial"),
        ("django_q", "0018_task_success_index"),
    ]
    operations = [migrations.RunPython(schedule, unschedule)]
