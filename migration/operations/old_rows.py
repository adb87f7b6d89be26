"""Deletes what was kept long enough."""

from migration.models import (
    Comparison,
    LoginTest,
    Notice,
    PlannedVersion,
    ReaderProcess,
    Run,
    RunPlan,
    Worker,
)
from migration.operations import wrong_passwords


def forget_old_rows() -> None:
    """Delete the old rows of every table that keeps some for a time."""
    Comparison.objects.forget_old()
    Run.objects.forget_sweeps()
    RunPlan.objects.forget_old()
    Worker.objects.forget_old()
    ReaderProcess.objects.forget_old()
    PlannedVersion.objects.forget_old()
    LoginTest.objects.forget_old()
    Notice.objects.forget_old()
    wrong_passwords.forget_old_attempts_and_sessions()
