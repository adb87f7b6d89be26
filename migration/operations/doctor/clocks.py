"""Compares the clocks of PostgreSQL and AWS with this host's: leases, streaks and signatures depend on them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from django.db import Error, connection

from migration.models.secrets import Secret
from migration.models.workers import Worker
from migration.operations.aws_store import secret_names, secrets_manager
from migration.operations.doctor import sentences
from migration.operations.doctor.brief_reads import read_briefly
from migration.operations.doctor.findings import (
    CheckName,
    report_failure,
    report_ok,
    report_unlooked,
)
from nova_credentials.aws.clock import read_aws_clock
from nova_credentials.aws.secrets_manager import SecretsManagerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from migration.operations.doctor.findings import DoctorOptions, Finding
    from nova_credentials.messages import Message

# AWS tells whole seconds, and a call takes some time; a signature is refused from five minutes on.
TOLERATED = timedelta(seconds=5)


def examine_clocks(_asked: DoctorOptions) -> Iterator[Finding]:
    """Compare both stores' clocks with this host's."""
    yield _compare_clocks(sentences.CLOCK_POSTGRES(), ask_postgres)
    yield from _compare_workers()
    name = _choose_secret()
    try:
        yield _compare_clocks(sentences.CLOCK_AWS(), lambda: ask_aws(name))
    except SecretsManagerError as error:
        yield report_unlooked(
            CheckName.CLOCKS, sentences.CLOCK_NOT_ASKED(code=error.code), sentences.REACH_AWS()
        )


def _compare_workers() -> Iterator[Finding]:
    """Name the hosts with workers whose clocks are off: they hold runs, streaks and times in a phase against theirs."""
    off: dict[str, timedelta] = {}
    with read_briefly():
        workers = list(Worker.objects.alive().order_by("name").values_list("name", "clock_ahead"))
    for name, ahead in workers:
        if ahead is not None and abs(ahead) > TOLERATED:
            off.setdefault(name.partition(":")[0], ahead)
    for host, ahead in off.items():
        seconds = round(abs(ahead).total_seconds())
        differs = sentences.HOST_CLOCK_AHEAD if ahead > timedelta() else sentences.HOST_CLOCK_BEHIND
        message = differs(host=host, n=seconds)
        yield report_failure(CheckName.CLOCKS, message, sentences.SET_THE_CLOCKS())


def ask_postgres() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def ask_aws(name: str) -> datetime:
    return read_aws_clock(secrets_manager(interactive=True), name)


def _choose_secret() -> str:
    """Return the name of a secret that is known, or one as a client's, which the site's policy allows to ask for."""
    try:
        with read_briefly():
            known = Secret.objects.order_by("name").values_list("name", flat=True).first()
    except Error:
        known = None
    return known or next(iter(secret_names("check_nova").values()))


def _compare_clocks(whose: Message, ask: Callable[[], datetime]) -> Finding:
    before = datetime.now(UTC)
    theirs = ask().astimezone(UTC)
    after = datetime.now(UTC)
    # Where between the two it was asked is unknown, so the smallest difference counts.
    behind, ahead = before - theirs, theirs - after
    off = max(behind, ahead, timedelta())
    if off <= TOLERATED:
        return report_ok(CheckName.CLOCKS, sentences.CLOCK_AGREES(whose=whose))
    seconds = round(off.total_seconds())
    differs = sentences.CLOCK_IS_BEHIND if behind > ahead else sentences.CLOCK_IS_AHEAD
    return report_failure(
        CheckName.CLOCKS, differs(whose=whose, n=seconds), sentences.SET_THE_CLOCKS()
    )
