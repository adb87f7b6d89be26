"""Problems of the site that are found by what others have stored, or by what AWS answers now."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from django.utils import timezone

from migration.core.problems import Look
from migration.doctor.iam import find_lacking_permissions
from migration.doctor.site import find_missing_answers, find_missing_aws, find_overdue_sweep
from migration.models import ClientMigration, Comparison, Run
from nova_admin.embedded.conditions import Conditions
from nova_admin.embedded.faults import Fault, FaultRule
from tests.factories import make_many
from tests.migration.logins.tests.servers import HOST, Certificates

pytestmark = pytest.mark.usefixtures("stores")


def told(find) -> list[tuple[str, str]]:
    return [(each.state.value, each.message.key) for each in find(Look())]


def ago(**time: float):
    return timezone.now() - timedelta(**time)


def enter_both_stores(since) -> None:
    make_many(1, phase="dual_write")
    ClientMigration.objects.update(phase_changed_at=since)


def sweep(at) -> None:
    run = Run.objects.create(kind=Run.Kind.COMPARE)
    Run.objects.filter(pk=run.pk).update(created_at=at)


class TestSweep:
    @pytest.fixture(autouse=True)
    def every_quarter(self, settings):
        settings.NOVA_SWEEP_MINUTES = 15

    def test_without_a_client_in_both_stores_none_is_due(self):
        make_many(1, phase="postgres")
        assert told(find_overdue_sweep) == [("ok", "no_sweep_yet")]

        sweep(ago(days=1))
        assert told(find_overdue_sweep) == [("ok", "sweep_began")]

    def test_a_client_that_has_just_come_waits_for_the_next_one(self):
        enter_both_stores(ago(minutes=29))

        assert told(find_overdue_sweep) == [("ok", "no_sweep_yet")]

    def test_one_that_has_waited_for_two_is_told(self):
        enter_both_stores(ago(minutes=31))
        assert told(find_overdue_sweep) == [("failed", "sweep_never_began")]

        sweep(ago(minutes=31))
        assert told(find_overdue_sweep) == [("failed", "sweep_is_overdue")]
        sweep(ago(minutes=29))
        assert told(find_overdue_sweep) == [("ok", "sweep_began")]

    def test_a_comparison_that_somebody_started_is_none(self):
        enter_both_stores(ago(minutes=31))
        Run.objects.create(kind=Run.Kind.COMPARE, by_name="maria")

        assert told(find_overdue_sweep) == [("failed", "sweep_never_began")]


def test_aws_that_refuses_every_call_is_away_and_lacks_permissions(aws):
    assert told(find_missing_aws) == [("ok", "aws_is_there")]
    assert "failed" not in dict(told(find_lacking_permissions))

    aws.conditions.set(Conditions(faults=(FaultRule(fault=Fault.DENIED),)))

    assert told(find_missing_aws) == [("failed", "aws_refuses")]
    assert ("failed", "action_refused") in told(find_lacking_permissions)


class AwsWithoutSecrets(BaseHTTPRequestHandler):
    """Answers every call that there is no such secret."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(400)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.end_headers()
        self.wfile.write(b'{"__type": "ResourceNotFoundException"}')

    def log_message(self, *_) -> None:
        pass


@contextmanager
def aws_with_a_certificate(certificates: Certificates) -> Iterator[str]:
    """Its address, at a port of its own: clients are kept by address."""
    with HTTPServer((HOST, 0), AwsWithoutSecrets) as server:
        server.socket = certificates.right.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"https://{HOST}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_certificate_that_this_host_does_not_trust_is_told_with_what_makes_it_trusted(
    settings, monkeypatch, tmp_path
):
    """As where a proxy or an endpoint has one of the company's own authority."""
    certificates = Certificates(tmp_path)
    with aws_with_a_certificate(certificates) as settings.AWS_ENDPOINT_URL:
        (found,) = find_missing_aws(Look())
    assert (found.state, found.message.key) == ("failed", "aws_is_away")
    assert "SSLError" in str(found.message)
    assert found.remedy.key == "trust_aws"

    monkeypatch.setenv("AWS_CA_BUNDLE", certificates.file)
    with aws_with_a_certificate(certificates) as settings.AWS_ENDPOINT_URL:
        (found,) = find_missing_aws(Look())
    assert found.ok


@pytest.mark.parametrize(
    ("rows", "state"),
    [
        ([], "ok"),
        ([("unchecked", "throttled"), ("unchecked", "data")], "failed"),
        # AWS answered, and refused the data of one.
        ([("unchecked", "data")], "ok"),
        ([("unchecked", "throttled"), ("match", "")], "ok"),
    ],
)
def test_aws_is_gone_if_it_answered_none_of_the_comparisons_of_the_last_hour(rows, state):
    make_many(len(rows), phase="dual_write")
    for comparison, (status, error) in zip(Comparison.objects.all(), rows, strict=True):
        Comparison.objects.filter(pk=comparison.pk).update(status=status, error_class=error)
    assert [each for each, _ in told(find_missing_answers)] == [state]

    Comparison.objects.update(compared_at=ago(hours=2))
    assert told(find_missing_answers) == [("ok", "aws_answers")]
