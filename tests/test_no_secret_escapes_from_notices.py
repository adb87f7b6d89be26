"""Has everything be told of clients with unmistakable passwords: neither a mail, a webhook nor the outbox holds one."""

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from credentials.models import DatabaseCredential
from migration.core.clients import all_clients
from migration.models import Notice, NoticeRecipient
from migration.runs import engine
from migration.runs.models import Run
from migration.secrets.copies import search_copies
from migration.site.notices import look_at_clients
from nova_admin.environment import NotifySettings
from tests.factories import make_client, update
from tests.haystack import Haystack, everything_logged
from tests.migration.site.notices.conftest import TEAM, let_differences_last, send_now
from tests.migration.site.notices.sinks import HOST, PATH, MailSink, WebhookSink, opened
from tests.test_no_secret_escapes import MARKERS, add_pickles, add_tables, command, page, seed


@pytest.fixture
def logins_stay_here():
    """They do: both sinks are on the loopback."""


def test_no_notice_holds_a_value_or_the_path_of_a_webhook(stores, client, settings):
    root = User.objects.create_superuser("root", password="example-login-password")
    client.force_login(root)
    pk, haystack = seed(), Haystack()
    with opened(WebhookSink()) as webhook, opened(MailSink()) as mailbox:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = HOST, mailbox.port
        settings.NOVA_NOTIFY = NotifySettings((webhook.url,), (TEAM,), loopback_allowed=True)
        with everything_logged(haystack):
            engine.finish_inline(
                Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients(), by=root, adopt=True)
            )
            row = DatabaseCredential.objects.filter(client=pk).first()
            marker = MARKERS["db_password_encrypted"]
            update("client_database_credentials", row.pk, db_password_encrypted=f"{marker} anew")
            engine.finish_inline(Run.start(kind=Run.Kind.COMPARE, chosen=all_clients(), by=root))
            make_client("note", name=f"note of {marker} anew"[:90])
            search_copies(client_ids=[pk], by=root)
            let_differences_last()
            look_at_clients()
            send_now()
            command(haystack, "send_notices")
            command(haystack, "send_notices", "--format", "json")
            # One that was added in the browser, and one that is refused.
            add = reverse("admin:migration_run_add_recipient")
            for address in (f"{webhook.url}/added", f"https://169.254.169.254{PATH}"):
                page(haystack, client, add, {"address": address})
            remove = reverse(
                "admin:migration_run_remove_recipient", args=[NoticeRecipient.objects.get().pk]
            )
            page(haystack, client, remove)
            page(haystack, client, reverse("admin:migration_run_test_notices"), {})
            page(haystack, client, reverse("admin:migration_run_notices"))
            page(haystack, client, reverse("admin:migration_run_notices"), {"shown": "mismatch"})
            assert f"{PATH}/added" in webhook.paths
    # A client's name is no secret, whatever somebody wrote there.
    haystack.add("webhook", "\n".join(webhook.taken))
    haystack.add("mails", "\n".join(mail.as_string() for _, mail in mailbox.mails))
    add_tables(haystack)
    add_pickles(haystack)

    assert haystack.found() == []
    assert {*Notice.objects.values_list("event", flat=True)} >= {"mismatch", "run_ended", "test"}
    assert "differ" in haystack.text("webhook")
    assert "example-secret-path" not in "".join(haystack.text(place) for place in haystack.pieces)
