"""What the site knows of a client's values, as its tests ask it."""

from django.db import connection

from credentials.models import EmailCredential
from migration.models import AuditEvent, KnownValue
from migration.pushes.saves import CLIENT_SAVED_EVENT
from tests.factories import update
from tests.page_forms import open_form, send_form

LOST_KEY = "another-key-" * 5
FACTS = ("stands_in_tables", "stood_in_tables", "stood_in_copy", "stood_in_legacy")


def known(pk: int, kind: str = "database") -> KnownValue:
    return KnownValue.objects.get(client_id=pk, kind=kind, replaced_at=None)


def facts(pk: int, kind: str = "database") -> list[str]:
    """Where the present value of the login stands, and stood."""
    row = known(pk, kind)
    return [name for name in FACTS if getattr(row, name)]


def list_to_rotate() -> dict[int, list[tuple[str, int]]]:
    """Client id -> its credentials to be rotated, each as type and id."""
    credentials: dict[int, list[tuple[str, int]]] = {}
    found = KnownValue.objects.to_rotate().order_by("client_id", "kind", "credential_id")
    for client_id, kind, pk in found.values_list("client_id", "kind", "credential_id"):
        credentials.setdefault(client_id, []).append((kind, pk))
    return credentials


def kinds_to_rotate(pk: int) -> list[str]:
    return [kind for kind, _pk in list_to_rotate().get(pk, [])]


def save_values(browser, pk: int, **values: str) -> None:
    """Types secrets into the client's form; the fields are named by their prefix and column."""
    url = f"/admin/credentials/client/{pk}/change/"
    saved = AuditEvent.objects.filter(code=CLIENT_SAVED_EVENT)
    before = saved.count()
    assert send_form(browser, url, open_form(browser, url) | values).status_code == 302
    assert saved.count() == before + 1, "the save was refused"


def save_password(browser, pk: int, value: str) -> None:
    save_values(browser, pk, **{"databases-0-db_password": value})


def write_mail_password(pk: int, value: str) -> None:
    """As NOVA's own scripts do."""
    row = EmailCredential.objects.get(client_id=pk)
    update("client_email_credentials", row.pk, email_password_encrypted=value)


def forget_all() -> None:
    """As on a site that was just upgraded from a release that noted nothing."""
    KnownValue.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM migration_notedclient")
