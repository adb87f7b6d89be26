"""Notes that each worker process lives. Knows no task."""

from __future__ import annotations

import os
import socket
import threading

from django.db import Error, connection

from migration.models import Worker

BEAT_SECONDS = 5.0


def start_heartbeat(**_: object) -> None:
    """Start a thread, in each worker process, that notes every BEAT_SECONDS that the process lives."""
    threading.Thread(target=_beat_for_ever, name="heartbeat", daemon=True).start()


def _beat_for_ever() -> None:
    name = f"{socket.gethostname()}:{os.getpid()}"
    never = threading.Event()
    while True:
        try:
            Worker.objects.record_heartbeat(name)
        except Error:
            # PostgreSQL may be restarting; the next beat connects again.
            connection.close()
        never.wait(BEAT_SECONDS)
