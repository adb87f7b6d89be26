"""Notes that each worker process lives. Knows no task."""

from __future__ import annotations

import os
import threading

from django.conf import settings
from django.db import Error, connection

from migration.models import Worker

BEAT_SECONDS = 5.0


def start_heartbeat(**_: object) -> None:
    """Start a thread, in each worker process, that notes every BEAT_SECONDS that the process lives."""
    threading.Thread(target=_beat_for_ever, name="heartbeat", daemon=True).start()


def _beat_for_ever() -> None:
    name = ""
    never = threading.Event()
    while True:
        try:
            if name:
                Worker.objects.record_heartbeat(name)
            else:
                name = Worker.objects.record_start(f"{settings.NOVA_HOST_NAME}:{os.getpid()}")
        except Error:
            # PostgreSQL may be restarting; the next beat connects again.
            connection.close()
        never.wait(BEAT_SECONDS)
