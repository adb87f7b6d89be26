"""Which names and origins production starts with."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from nova_admin.environment import require_hosts_or_domains, require_https_origins
from tests.checkout import manage
from tests.test_settings import DEVELOPMENT, NAMED, PRODUCTION

EVERY_NAME = ["*", ".", "..", ".com", ".localhost", "", "*.example.com", "nova.example.com*"]
NO_NAME = ["https://nova.example.com", "nova.example.com:8000", "nova example.com", "nova.example.com.",
           "nova.example.com/", "-nova", "nova..example", "[::1", "[x]"]  # fmt: skip


def test_production_refuses_to_answer_to_every_name():
    """The attack: with `*` the deploy check was content, and links in answers could be steered by the Host header."""
    result = manage("check", "--deploy", **PRODUCTION | {"ALLOWED_HOSTS": "nova.example.com, *"})

    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("Not configured: ALLOWED_HOSTS has an entry that lets any name in")


@pytest.mark.parametrize("name", EVERY_NAME + NO_NAME)
def test_a_host_that_is_every_name_or_none_is_refused_and_not_repeated(name):
    with pytest.raises(ImproperlyConfigured, match=r"^ALLOWED_HOSTS has an entry") as caught:
        require_hosts_or_domains(["nova.example.com", name])
    assert len(name) < 9 or name not in str(caught.value)


def test_hosts_addresses_and_domains_are_taken():
    require_hosts_or_domains(
        ["nova.example.com", "NOVA", "localhost", "127.0.0.1", "[::1]", ".example.com", "my_host", "xn--nio-8ma.es"]
    )  # fmt: skip


@pytest.mark.parametrize(
    "origin",
    [
        *("http://nova.example.com", "https://*", "https://*.", "https://*.com", "https://"),
        *("nova.example.com", "*", "null", "https://nova.example.com/x", "https://a@nova.example"),
        *("https://nova.example.com:port", "https://*nova.example.com"),
    ],
)
def test_an_origin_that_others_can_post_from_is_refused(origin):
    with pytest.raises(ImproperlyConfigured, match=r"^CSRF_TRUSTED_ORIGINS has an entry"):
        require_https_origins(["https://nova.example.com", origin])


def test_origins_by_https_are_taken():
    require_https_origins(
        ["https://nova.example.com", "https://nova:8443", "https://*.example.com", "https://[::1]:8443"]
    )  # fmt: skip


def test_development_may_answer_to_every_name():
    named = {"SECRET_KEY": PRODUCTION["SECRET_KEY"], "ALLOWED_HOSTS": "*"}
    assert manage("check", **DEVELOPMENT | NAMED | named).returncode == 0
