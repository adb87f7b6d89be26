"""Deletes what was kept long enough."""

from migration.core.comparisons import Comparison
from migration.core.notices import Notice
from migration.core.secrets import PlannedVersion
from migration.core.workers import Worker
from migration.logins.models import LoginTest
from migration.nova.models import ReaderProcess
from migration.people import lockouts
from migration.runs.models import Run
from migration.runs.plans import RunPlan


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
    lockouts.forget_old_attempts_and_sessions()
