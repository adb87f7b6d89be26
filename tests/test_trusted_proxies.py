"""The forwarded headers of a request are believed of the proxies that NOVA_TRUSTED_PROXIES names, and of no others."""

import http.client
import json
import logging
import threading
from wsgiref.simple_server import make_server

import pytest
from django.core.servers.basehttp import WSGIRequestHandler
from django.test import RequestFactory

from nova_admin import trusted_proxies
from nova_admin.trusted_proxies import (
    FOR,
    HOST,
    PROTO,
    TrustedProxies,
    apply_forwarded_headers,
    believe_trusted_proxies,
)

PROXY, CLIENT = "10.0.0.5", "198.51.100.7"
PROXIES = TrustedProxies.parse("10.0.0.0/24, 10.9.0.1 ,2001:db8::/32, fe80::1")
NONE = TrustedProxies.parse("")
INVENTED = {FOR: "192.0.2.9", PROTO: "https", HOST: "evil.example"}


def address_of(peer: str, forwarded: str, proxies: TrustedProxies = PROXIES) -> str:
    meta = {"REMOTE_ADDR": peer, FOR: forwarded}
    apply_forwarded_headers(meta, proxies)
    assert FOR not in meta
    return meta["REMOTE_ADDR"]


@pytest.mark.parametrize("proxies", [NONE, PROXIES])
def test_headers_of_anybody_are_taken_out(proxies):
    """The attack: whoever reached the site chose the address on record, the scheme and the host."""
    meta = {"REMOTE_ADDR": CLIENT, "wsgi.url_scheme": "http", **INVENTED}

    apply_forwarded_headers(meta, proxies)

    assert meta == {"REMOTE_ADDR": CLIENT, "wsgi.url_scheme": "http"}


def test_a_web_server_that_believes_its_own_machine_decides_nothing():
    """gunicorn makes the scheme https where a process on 127.0.0.1 says so."""
    meta = {"REMOTE_ADDR": "127.0.0.1", "wsgi.url_scheme": "https", PROTO: "https"}
    apply_forwarded_headers(meta, NONE)
    assert meta["wsgi.url_scheme"] == "http"

    meta = {"REMOTE_ADDR": "127.0.0.1", "wsgi.url_scheme": "https"}  # it ends TLS itself
    apply_forwarded_headers(meta, NONE)
    assert meta["wsgi.url_scheme"] == "https"


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (CLIENT, CLIENT),
        (f"192.0.2.9, {CLIENT}", CLIENT),  # the first one was sent by the client
        (f"192.0.2.9,{CLIENT} , 10.0.0.6,10.9.0.1", CLIENT),
        (f"10.0.0.7, {CLIENT}", CLIENT),  # a client that plays a proxy
        ("10.0.0.7, 10.0.0.6", "10.0.0.7"),  # a request that a proxy made itself
        (", ".join([CLIENT] + ["10.0.0.6"] * 500), CLIENT),
        (", ".join(["10.0.0.6"] * 500 + [CLIENT]), CLIENT),
        (f"{CLIENT}:49152", CLIENT),
        ("[2001:db9::7]:443, [2001:db8::5]", "2001:db9::7"),
        ("2001:DB9:0::7", "2001:db9::7"),
        ("fe80::7%eth0, fe80::1%eth0", "fe80::7"),
        ("[fe80::7%25eth0]:1", "fe80::7"),
        (f"::ffff:{CLIENT}", CLIENT),
    ],
)
def test_the_client_is_the_last_address_that_is_no_proxys(forwarded, client):
    assert address_of(PROXY, forwarded) == client


@pytest.mark.parametrize(
    "garbage",
    [
        *("", ",", " ", "unknown", "_hidden", "nova.example.com", "x" * 5000, "' OR 1=1 --"),
        *("1.2.3.4.5", "1.2.3", "0x7f.1", "010.0.0.1", "1.2.3.4:", "1.2.3.4:999999", "[1.2.3.4", "::1]"),
        *("fe80::7%eth0\n forged", "\u00b9.2.3.4", "for=1.2.3.4", "<script>"),
    ],
)  # fmt: skip
def test_garbage_is_never_an_address(garbage):
    known = {"", "fe80::7", "1.2.3.4"} | {PROXY}
    assert address_of(PROXY, garbage) in known
    assert address_of(PROXY, f"192.0.2.9, {garbage}, 10.0.0.6") in {"10.0.0.6", "fe80::7"}


@pytest.mark.parametrize("peer", ["10.0.0.5", "::ffff:10.0.0.5", "2001:db8::1", "fe80::1%eth0"])
def test_a_proxy_is_known_however_its_address_is_written(peer):
    assert address_of(peer, CLIENT) == CLIENT


@pytest.mark.parametrize("peer", ["10.0.1.5", "::ffff:10.0.1.5", "2001:db9::1", "", "unix:"])
def test_a_neighbour_is_no_proxy(peer):
    assert address_of(peer, CLIENT) == peer


def test_who_comes_by_a_unix_socket_is_believed_if_that_is_named():
    by_socket = TrustedProxies.parse("unix")
    assert address_of("", CLIENT, by_socket) == CLIENT
    assert address_of("", "", by_socket) == ""
    assert address_of(PROXY, CLIENT, by_socket) == PROXY


def test_scheme_and_host_are_the_last_ones_that_the_proxy_names(settings):
    settings.NOVA_TRUSTED_PROXIES = PROXIES
    settings.ALLOWED_HOSTS = ["nova.example.com"]
    seen = []
    answer = believe_trusted_proxies(
        lambda request: seen.append((request.is_secure(), request.get_host()))
    )
    headers = {"REMOTE_ADDR": PROXY, "HTTP_HOST": "nova.example.com"}
    for more in (
        {PROTO: "https", HOST: "nova.example.com"},
        {PROTO: "http, https", HOST: "evil.example, nova.example.com"},
        {PROTO: "https, http"},
        {},
    ):
        answer(RequestFactory().get("/", **headers, **more))

    assert seen == [(secure, "nova.example.com") for secure in (True, True, False, False)]


def test_two_headers_of_one_name_are_read_as_one_list():
    seen = []

    def app(environ, start_response):
        apply_forwarded_headers(environ, TrustedProxies.parse("127.0.0.1, 10.0.0.6"))
        seen.append([environ["REMOTE_ADDR"], environ.get(FOR), environ.get(PROTO)])
        start_response("200 OK", [])
        return [json.dumps(seen[-1]).encode()]

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_args):
            pass

    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
        connection.putrequest("GET", "/")
        for name, value in (
            ("X-Forwarded-For", "192.0.2.9"),
            ("X-Forwarded-For", CLIENT),
            ("X-Forwarded-For", "10.0.0.6"),
            ("X_Forwarded_For", "192.0.2.10"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Proto", "http"),
        ):
            connection.putheader(name, value)
        connection.endheaders()
        assert json.loads(connection.getresponse().read()) == [CLIENT, None, "http"]
        connection.close()


def test_the_site_redirects_to_https_and_believes_no_invented_scheme(client, settings):
    """The whole chain of middleware: a client that says https over http is still sent to https."""
    settings.SECURE_SSL_REDIRECT = True
    settings.ALLOWED_HOSTS = ["testserver"]
    told = {PROTO: "https", FOR: "192.0.2.9"}

    assert client.get("/", REMOTE_ADDR=CLIENT, **told)["Location"] == "https://testserver/"
    settings.NOVA_TRUSTED_PROXIES = PROXIES
    assert client.get("/", REMOTE_ADDR=CLIENT, **told)["Location"] == "https://testserver/"
    assert client.get("/", REMOTE_ADDR=PROXY, **told)["Location"] == "/admin/"


def test_a_proxy_that_is_not_named_is_logged_once(monkeypatch, caplog):
    monkeypatch.setattr(trusted_proxies, "_logged", set())
    caplog.set_level(logging.WARNING)
    for number in range(30):
        for _ in range(2):
            address_of(f"192.0.2.{number}", "MARKER")

    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 10
    assert said[0] == (
        "X-Forwarded headers of 192.0.2.0 are not believed: NOVA_TRUSTED_PROXIES doesn't name it"
    )
    assert "MARKER" not in caplog.text
