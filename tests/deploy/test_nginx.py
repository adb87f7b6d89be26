"""deploy/nginx.conf: the site behind it, as its first lines say, answers a login over TLS."""

import http.client
import os
import re
import secrets
import shutil
import socket
import ssl
import subprocess
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlencode

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.contrib.auth.hashers import PBKDF2PasswordHasher

from migration.models import WrongPassword
from tests.checkout import ROOT
from tests.deploy.test_plain_folder import SECONDS, SITE, find_free_port, running
from tests.factories import make_user, nova_uri
from tests.test_settings import PRODUCTION

HOST = "nova.example.com"
PASSWORD = "example-kT4-zQ9_wB7xR2"
EXAMPLE = (ROOT / "deploy/nginx.conf").read_text()


@pytest.fixture
def nginx() -> str:
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        missing = "there is no nginx (apt-get install nginx)"
        if os.environ.get("REQUIRE_NGINX"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def write_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    form, clear = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / f"{HOST}.pem").write_bytes(made.public_bytes(encoding))
    (folder / f"{HOST}.key").write_bytes(key.private_bytes(encoding, form, clear))


@contextmanager
def proxy(nginx: str, folder: Path, ports: dict[int, int]):
    """nginx with the example, at ports of the test's own."""
    site = EXAMPLE.replace("/etc/ssl", str(folder)).replace("/var/log/nginx", str(folder))
    for usual, ours in ports.items():
        site = re.sub(rf"(listen |127\.0\.0\.1:){usual}\b", rf"\g<1>{ours}", site)
    site = site.replace("listen ", "listen 127.0.0.1:")
    (folder / "site.conf").write_text(site)
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    main.write_text(
        f"daemon off; pid {folder}/pid; {user} error_log {folder}/errors.log warn; events {{}}\n"
        f"http {{ {temporary} access_log off; include {folder}/site.conf; }}\n"
    )
    process = subprocess.Popen([nginx, "-c", str(main), "-e", str(folder / "errors.log")])
    try:
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", ports[443]), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "errors.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(SECONDS)


class Browser:
    """Asks the site by its name over TLS, and keeps its cookies."""

    def __init__(self, folder: Path, port: int) -> None:
        self.context = ssl.create_default_context(cafile=folder / f"{HOST}.pem")
        self.port, self.cookies = port, {}

    def ask(self, address: str, body: str | None = None, **headers: str):
        connection = http.client.HTTPSConnection(HOST, self.port, context=self.context, timeout=60)
        # The name is the certificate's; the address is this machine's.
        connection._create_connection = lambda _place, *rest: socket.create_connection(
            ("127.0.0.1", self.port), *rest
        )
        headers |= {"Host": HOST, "Referer": f"https://{HOST}{address}"}
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        with closing(connection):
            connection.request("GET" if body is None else "POST", address, body, headers)
            answer = connection.getresponse()
            for cookie in answer.headers.get_all("Set-Cookie") or ():
                name, _equals, value = cookie.partition(";")[0].partition("=")
                self.cookies[name] = value
            return answer, answer.read().decode()


def test_a_login_over_tls(nginx, built_site, stores, tmp_path):
    # As production keeps a password; the tests' own settings have a quicker way.
    user = make_user("maria", is_superuser=True)
    user.password = PBKDF2PasswordHasher().encode(PASSWORD, secrets.token_hex(8))
    user.save()
    ports = {80: find_free_port(), 443: find_free_port(), 8000: find_free_port()}
    told = re.search(r"^#     (.+)$", EXAMPLE, re.MULTILINE)[1].split()
    environment = PRODUCTION | dict(each.split("=") for each in told) | {
        "DATABASE_URL": nova_uri(),
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": "https://127.0.0.1:1",
        "PORT": str(ports[8000]),
        "WEB_CONCURRENCY": "1",
    }  # fmt: skip
    write_certificate(tmp_path)
    browser = Browser(tmp_path, ports[443])
    log = tmp_path / "site.log"

    with running(built_site, log, SITE, environment), proxy(nginx, tmp_path, ports):
        deadline = time.monotonic() + SECONDS
        while (answer := browser.ask("/healthz")[0]).status != HTTPStatus.OK:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)

        with closing(http.client.HTTPConnection("127.0.0.1", ports[80], timeout=10)) as plain:
            plain.request("GET", "/admin/?q=x", headers={"Host": HOST})
            moved = plain.getresponse()
        assert (moved.status, moved.headers["Location"]) == (301, f"https://{HOST}/admin/?q=x")

        answer, page = browser.ask("/admin/login/")
        assert answer.status == HTTPStatus.OK
        assert "max-age=31536000" in answer.headers["Strict-Transport-Security"]
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[1]
        form = {"username": "maria", "password": PASSWORD, "csrfmiddlewaretoken": token}
        # What a client says of its address is not passed on.
        lie = {"X-Forwarded-For": "192.0.2.7"}
        wrong = urlencode(form | {"password": "example-wrong"})
        assert browser.ask("/admin/login/", wrong, **lie)[0].status == HTTPStatus.OK
        assert WrongPassword.objects.get().address == "127.0.0.1"
        answer, _page = browser.ask("/admin/login/?next=/admin/", urlencode(form))
        assert answer.status == HTTPStatus.FOUND
        assert "__Host-sessionid" in browser.cookies
        answer, page = browser.ask(answer.headers["Location"])
        named = answer.headers["X-Request-ID"]
        assert answer.status in (HTTPStatus.OK, HTTPStatus.FOUND)

        # Larger than any import: the proxy says so, and the site isn't asked.
        answer, _page = browser.ask("/admin/login/", "x" * (11 * 1024 * 1024 + 1))
        assert answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        answer, _page = browser.ask("/admin/login/", "x" * (10 * 1024 * 1024))
        assert (
            answer.status == HTTPStatus.BAD_REQUEST
        )  # it came to the site, which takes smaller forms
        assert browser.ask("/metrics")[0].status == HTTPStatus.NOT_FOUND  # no token is set

    noted = (tmp_path / "nova-admin.log").read_text()
    assert named.replace("-", "") in noted
    assert "/admin" not in noted
    assert "are not believed" not in log.read_text()
    # nginx warns of each body and answer that it puts into a file.
    assert "temporary file" not in (tmp_path / "errors.log").read_text()
