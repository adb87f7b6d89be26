"""Mail servers that answer, but never to an end: a mail takes so many seconds at most, and holds up nobody else."""

import socket
import threading
from contextlib import contextmanager

import pytest

from migration.core import mails
from migration.core.mails import send_mail_to
from migration.core.notices import DeliveryOutcome
from migration.models import NoticeDelivery
from migration.secrets.deletions import NO_SECRET
from nova_admin.environment import NotifySettings
from tests.factories import make_user
from tests.migration.logins.tests.servers import Certificates
from tests.migration.site.notices.conftest import TEAM, send_now
from tests.migration.site.notices.sinks import HOST, MailSink, opened
from tests.migration.site.notices.test_sending import record

pytestmark = pytest.mark.django_db(transaction=True)

# For one that is to be left, and for one that takes its mail: on a busy machine, too.
SECONDS, ENOUGH = 0.6, 5.0
# So many bytes, one each BETWEEN_BYTES, and no more: who is there until then didn't leave by itself.
MOST_BYTES, BETWEEN_BYTES = 600, 0.05
OTHERS = "others@ops.example"


ANSWERS = {b"EHLO": b"250 here", b"MAIL": b"250 yes", b"RCPT": b"250 yes", b"DATA": b"354 go"}


class DribblingServer:
    """Speaks SMTP up to a command, to which it answers with a line of half a minute; "": it begins so."""

    def __init__(self, at: str) -> None:
        self.at, self.over, self.mails, self.calls = at.encode(), threading.Event(), [], 0
        self.was_heard_out = False
        self.server = socket.create_server((HOST, 0))
        self.port = self.server.getsockname()[1]
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self) -> None:
        while not self.over.is_set():
            try:
                accepted, _ = self.server.accept()
            except OSError:
                return
            self.calls += 1
            threading.Thread(target=self._speak, args=(accepted,), daemon=True).start()

    def _speak(self, accepted: socket.socket) -> None:
        with accepted, accepted.makefile("rb") as lines:
            if not self.at:
                self._dribble(accepted, b"220")
                return
            accepted.sendall(b"220 here\r\n")
            for line in lines:
                command = line[:4].upper()
                if command == self.at:
                    self._dribble(accepted, b"221" if command == b"QUIT" else b"250")
                    return
                accepted.sendall(ANSWERS[command] + b"\r\n")
                if command == b"DATA":
                    mail = b"".join(iter(lines.readline, b".\r\n"))
                    if self.at == b"DONE":
                        self._dribble(accepted, b"250")
                        return
                    self.mails.append(mail)
                    accepted.sendall(b"250 taken\r\n")

    def _dribble(self, accepted: socket.socket, code: bytes) -> None:
        """Each read meets a byte long before its own time-out."""
        try:
            accepted.sendall(code + b"-")
            for _ in range(MOST_BYTES):
                if self.over.wait(BETWEEN_BYTES):
                    return
                accepted.sendall(b"x")
            self.was_heard_out = True
        except OSError:
            pass

    def close(self) -> None:
        self.over.set()
        self.server.close()


@contextmanager
def dribbling(at: str, settings):
    server = DribblingServer(at)
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = HOST, server.port, 5
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(autouse=True)
def few_seconds(monkeypatch) -> None:
    monkeypatch.setattr(mails, "MAIL_SECONDS", SECONDS)


# "TLS": it dribbles in place of a handshake.
@pytest.mark.parametrize("at", ["", "EHLO", "MAIL", "RCPT", "DATA", "DONE", "TLS"])
def test_a_mail_server_that_dribbles_is_left_in_time(settings, at):
    over_tls = at == "TLS"
    settings.NOVA_NOTIFY = NotifySettings(emails=(TEAM,))
    settings.EMAIL_USE_SSL = over_tls
    record()

    with dribbling("" if over_tls else at, settings) as server:
        send_now()

    assert not server.was_heard_out
    delivery = NoticeDelivery.objects.get()
    assert delivery.outcome in (DeliveryOutcome.TIMED_OUT, DeliveryOutcome.TLS_PROBLEM)
    assert over_tls or delivery.outcome == DeliveryOutcome.TIMED_OUT


def test_a_mail_gets_to_a_server_that_speaks_tls_from_the_first_byte_on(
    settings, monkeypatch, tmp_path
):
    monkeypatch.setattr(mails, "MAIL_SECONDS", ENOUGH)
    certificates = Certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", certificates.file)
    settings.NOVA_NOTIFY = NotifySettings(emails=(TEAM,))
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    record()

    with opened(MailSink(certificates.right)) as sink:
        settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_USE_SSL = HOST, sink.port, True
        send_now()

    assert NoticeDelivery.objects.get().outcome == DeliveryOutcome.SENT
    assert len(sink.mails) == 1


def test_a_mail_that_was_taken_is_sent_though_the_server_is_slow_to_say_goodbye(
    settings, monkeypatch
):
    monkeypatch.setattr(mails, "MAIL_SECONDS", ENOUGH)
    settings.NOVA_NOTIFY = NotifySettings(emails=(TEAM,))
    record()

    with dribbling("QUIT", settings) as server:
        send_now()

    assert NoticeDelivery.objects.get().outcome == DeliveryOutcome.SENT
    assert len(server.mails) == 1


def test_it_costs_one_time_out_whatever_number_of_mails_and_no_webhook_waits(webhook, settings):
    settings.NOVA_NOTIFY = NotifySettings((webhook.url,), (TEAM, OTHERS), loopback_allowed=True)
    record("1"), record("2")

    with dribbling("", settings) as server:
        send_now()

    assert not server.was_heard_out
    assert server.calls == 1
    assert len(webhook.taken) == 2
    assert NoticeDelivery.objects.filter(outcome=DeliveryOutcome.TIMED_OUT).count() == 1
    assert NoticeDelivery.objects.waiting().count() == 4


def test_a_page_that_mails_a_user_waits_no_longer(settings):
    user = make_user("ada", email="ada@ops.example")

    with dribbling("MAIL", settings) as server:
        assert not send_mail_to(user, subject=NO_SECRET(), text=NO_SECRET())

    assert not server.was_heard_out
