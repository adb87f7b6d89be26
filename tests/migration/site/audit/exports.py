"""Everything that gives the audit away, looked through for secrets by `tests/test_no_secret_escapes.py`."""

from collections.abc import Callable
from typing import Any

from django.urls import reverse

from migration.core.audit_chain import record_process_start
from migration.models import AuditEvent
from tests.haystack import Haystack


def look_at_the_audit(haystack: Haystack, browser: Any, command: Callable[..., None]) -> None:
    """Its pages are among those of every model, its table among all tables."""
    command("audit", "verify", "--format", "json")
    url = reverse("admin:migration_auditevent_export")
    for kind in ("json", "csv"):
        command("audit", "export", "--format", kind)
        response = browser.post(url, {"format": kind})
        haystack.add(f"page {url}", b"".join(response.streaming_content).decode())
    record_process_start()
    assert AuditEvent.objects.values("code").distinct().count() > 10
