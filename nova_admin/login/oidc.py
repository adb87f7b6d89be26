"""Speaks OpenID Connect with the provider: sends people there, and believes only a token that was made for this login.

Knows no users. Every answer is checked by OpenID Connect Core 3.1.3.7; what is wrong raises OidcError. Anybody may
begin a login: that stores nothing on the site, and what the provider says of itself is asked for once in KEPT_SECONDS.
"""

from __future__ import annotations

import base64
import http.client
import json
import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt
from allauth.socialaccount.providers.oauth2.utils import generate_code_challenge
from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse

from migration.core.outgoing import Deadline, LoginFailedError
from migration.people.lockouts import widen_address
from migration.site.notices import open_connection
from nova_admin.environment import OidcProvider
from nova_credentials.messages import Message, MessageError, Sentence

# For all that is asked of the provider in one login.
TIMEOUT_SECONDS = 10.0
# What the provider says of itself, and its keys, are kept for so long; that it failed, too, so that a provider that
# hangs is waited for by one thread. A key that isn't among them is looked for again, this often at most.
KEPT_SECONDS, FAILED_SECONDS, KEYS_AGAIN_SECONDS = 600, 10, 60
# So long a thread waits for another that asks.
WAIT_SECONDS = 1.0
# A login may take so long, and a browser may have so many under way.
BEGUN_SECONDS, MOST_BEGUN = 600, 3
# So many answers that have to be shown to the provider are taken from one address, in each process of the site.
MOST_ANSWERS_A_MINUTE = 30
# No others: `none` signs nothing, and HS256 would be signed with a secret that is no key.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
# How far the clocks of the provider and the site may be apart.
LEEWAY_SECONDS = 60
# Allauth's column has no more room; the standard allows 255 ASCII characters.
LONGEST_SUBJECT = 191

NO_ANSWER = Sentence(
    "no_answer",
    "The login provider does not answer as it should. Try again; if it stays so, tell your Administrators.",
)
TOO_MANY_LOGINS = Sentence(
    "too_many_logins", "Too many logins came from your address. Wait a minute and try again."
)
NO_NEW_LOGIN = Sentence(
    "no_new_login",
    "The login provider did not say that you have just logged in there, so it proves nothing. Try again; if it stays"
    " so, tell your Administrators: the provider has to send auth_time.",
)
PROVIDER_REFUSED = Sentence("provider_refused", "The login provider did not log you in.")
WRONG_TOKEN = Sentence(
    "wrong_token",
    "The login provider's answer is not valid for this site (%(why)s), so nobody was logged in. Tell your"
    " Administrators if it stays so.",
)
# Why a token is wrong.
WRONG_ISSUER = Sentence("wrong_issuer", "another issuer")
WRONG_AUDIENCE = Sentence("wrong_audience", "for another site")
EXPIRED = Sentence("expired", "expired, or the clock of this site is wrong")
WRONG_SIGNATURE = Sentence("wrong_signature", "its signature is wrong")
WRONG_NONCE = Sentence("wrong_nonce", "an answer to another login")
MALFORMED = Sentence("malformed", "something is missing in it")
REASONS = {
    jwt.InvalidIssuerError: WRONG_ISSUER(),
    jwt.InvalidAudienceError: WRONG_AUDIENCE(),
    jwt.ExpiredSignatureError: EXPIRED(),
    jwt.ImmatureSignatureError: EXPIRED(),
    jwt.InvalidSignatureError: WRONG_SIGNATURE(),
    jwt.InvalidKeyError: WRONG_SIGNATURE(),
}

Claims = dict[str, Any]


class OidcError(MessageError):
    """The provider's answer gives nobody a login."""


@dataclass(frozen=True)
class Endpoints:
    """The addresses that the provider of OpenID Connect names, and whether it takes the secret by Basic."""

    authorization: str
    token: str
    keys: str
    by_basic: bool


@dataclass(frozen=True)
class Kept:
    """What the provider said at an address, None where it failed, and when, on the monotonic clock."""

    said: Claims | None = field(repr=False)
    at: float

    def is_older(self, seconds: float) -> bool:
        return time.monotonic() - self.at > (FAILED_SECONDS if self.said is None else seconds)


_kept: dict[str, Kept] = {}
_asking = threading.Lock()


class AnswerLimit:
    """Counts the answers of each address in a minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minute, self._counts = 0, Counter[str]()

    def admits(self, address: str) -> bool:
        minute = int(time.monotonic()) // 60
        with self._lock:
            if minute != self._minute:
                self._minute, self._counts = minute, Counter()
            self._counts[address] += 1
            return self._counts[address] <= MOST_ANSWERS_A_MINUTE


answer_limit = AnswerLimit()


@dataclass(frozen=True)
class BegunLogin:
    """What the answer to a login has to fit; kept by the browser alone, signed.

    `proves`: the login on this site in which somebody has to prove anew who they are, or nothing.
    """

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    next_url: str = field(repr=False)
    begun_at: int
    proves: str = field(default="", repr=False)


def get_cookie_name() -> str:
    """Return the name of the cookie with the logins that a browser has begun; over https no other host can set it."""
    return f"{'__Host-' if settings.SESSION_COOKIE_SECURE else ''}oidc"


def read_begun_logins(request: HttpRequest) -> list[BegunLogin]:
    """Return the logins that this browser has begun lately."""
    try:
        found = signing.loads(
            request.COOKIES.get(get_cookie_name(), ""), salt=__name__, max_age=BEGUN_SECONDS
        )
    except signing.BadSignature:
        return []
    begun = [BegunLogin(*each) for each in found]
    return [each for each in begun if 0 <= time.time() - each.begun_at <= BEGUN_SECONDS]


def keep_begun_logins(response: HttpResponse, begun: list[BegunLogin]) -> None:
    """Have the browser keep the newest of these logins, and nothing where there are none."""
    if not begun:
        response.delete_cookie(get_cookie_name(), samesite="Lax")
        return
    kept = [list(vars(each).values()) for each in begun[-MOST_BEGUN:]]
    response.set_cookie(
        get_cookie_name(),
        signing.dumps(kept, salt=__name__, compress=True),
        max_age=BEGUN_SECONDS,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",  # the provider sends the browser back from another site
    )


def begin_at_provider(
    provider: OidcProvider, *, callback: str, next_url: str, proves: str = ""
) -> tuple[str, BegunLogin]:
    """Return the provider's address for a login, and what its answer has to fit; raises OidcError.

    With `proves` the provider has to ask for a login even of somebody whom it knows.
    """
    endpoints = read_endpoints(provider)
    proof = generate_code_challenge()
    begun = BegunLogin(
        state=secrets.token_urlsafe(32),
        nonce=secrets.token_urlsafe(32),
        verifier=proof["code_verifier"],
        next_url=next_url,
        begun_at=int(time.time()),
        proves=proves,
    )
    asked = {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": callback,
        "scope": provider.scopes,
        "state": begun.state,
        "nonce": begun.nonce,
        "code_challenge": proof["code_challenge"],
        "code_challenge_method": proof["code_challenge_method"],
        **({"prompt": "login", "max_age": 0} if proves else {}),
    }
    joint = "&" if urlsplit(endpoints.authorization).query else "?"
    return f"{endpoints.authorization}{joint}{urlencode(asked)}", begun


def read_login(
    request: HttpRequest, provider: OidcProvider, begun: BegunLogin, *, callback: str
) -> Claims:
    """Return the claims about who logged in; raises OidcError."""
    code = request.GET.get("code")
    if not code or "error" in request.GET:
        raise OidcError(PROVIDER_REFUSED())
    # RFC 9207: an answer of another provider than the one that was asked.
    if request.GET.get("iss", provider.issuer) != provider.issuer:
        raise _make_token_error(WRONG_ISSUER())
    if not answer_limit.admits(widen_address(request.META.get("REMOTE_ADDR", ""))):
        raise OidcError(TOO_MANY_LOGINS())
    endpoints = read_endpoints(provider)
    token = _exchange_code(endpoints, provider, code, callback=callback, verifier=begun.verifier)
    claims = verify_token(token, provider, keys_at=endpoints.keys, nonce=begun.nonce)
    if begun.proves:
        # The person has to have logged in there since this was begun.
        at = claims.get("auth_time")
        if not isinstance(at, int | float) or at < begun.begun_at - LEEWAY_SECONDS:
            raise OidcError(NO_NEW_LOGIN())
    return claims


def read_endpoints(provider: OidcProvider) -> Endpoints:
    """Return where the provider's endpoints are; raises OidcError where it calls itself otherwise."""
    found = _read_kept(f"{provider.issuer.rstrip('/')}/.well-known/openid-configuration")
    if found.get("issuer") != provider.issuer:
        raise _make_token_error(WRONG_ISSUER())
    names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
    addresses = [found.get(name) for name in names]
    if not all(_is_safe(address, provider) for address in addresses):
        raise OidcError(NO_ANSWER())
    # Where nothing is said, it is basic (OpenID Connect Discovery, 3).
    methods = found.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    authorization, token, keys = map(str, addresses)
    return Endpoints(authorization, token, keys, by_basic="client_secret_basic" in methods)


def verify_token(token: object, provider: OidcProvider, *, keys_at: str, nonce: str) -> Claims:
    """Return the claims of an id token; raises OidcError unless all of them are for this site and this login."""
    claims = _decode_token(str(token), provider, keys_at)
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if claims.get("azp", None if several else provider.client_id) != provider.client_id:
        raise _make_token_error(WRONG_AUDIENCE())
    if not secrets.compare_digest(str(claims["nonce"]).encode(), nonce.encode()):
        raise _make_token_error(WRONG_NONCE())
    if not 0 < len(claims["sub"]) <= LONGEST_SUBJECT:
        raise _make_token_error(MALFORMED())
    return claims


def _decode_token(token: str, provider: OidcProvider, keys_at: str) -> Claims:
    """Return the claims if the provider signed them, for this site and this time."""
    try:
        algorithm = jwt.get_unverified_header(token).get("alg")
        if algorithm not in ALGORITHMS:
            raise _make_token_error(WRONG_SIGNATURE())
        claims: Claims = jwt.decode(
            token,
            key=_find_key(token, keys_at),
            algorithms=[algorithm],
            audience=provider.client_id,
            issuer=provider.issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": ["iss", "sub", "aud", "exp", "iat", "nonce"]},
        )
    except jwt.PyJWTError as error:
        found = (why for kind, why in REASONS.items() if isinstance(error, kind))
        raise _make_token_error(next(found, MALFORMED())) from None
    return claims


def _exchange_code(
    endpoints: Endpoints, provider: OidcProvider, code: str, *, callback: str, verifier: str
) -> object:
    sent = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": callback,
        "code_verifier": verifier,
    }
    headers = {}
    if endpoints.by_basic:
        # OAuth has both encoded within (RFC 6749, 2.3.1).
        names = urlencode({provider.client_id: provider.client_secret}).replace("=", ":", 1)
        headers["Authorization"] = f"Basic {base64.b64encode(names.encode()).decode()}"
    else:
        sent |= {"client_id": provider.client_id, "client_secret": provider.client_secret}
    answer = _ask(endpoints.token, form=sent, headers=headers)
    if answer is None:
        raise OidcError(NO_ANSWER())
    return answer.get("id_token")


def _find_key(token: str, keys_at: str) -> jwt.PyJWK:
    """Return the provider's key with which the token says it is signed."""
    name = jwt.get_unverified_header(token).get("kid")
    for oldest in (KEPT_SECONDS, KEYS_AGAIN_SECONDS):
        found = jwt.PyJWKSet.from_dict(_read_kept(keys_at, oldest=oldest)).keys
        fitting = [key for key in found if name in (None, key.key_id)]
        if len(fitting) == 1:
            return fitting[0]
    raise jwt.InvalidKeyError


def _read_kept(address: str, *, oldest: float = KEPT_SECONDS) -> Claims:
    """Return what the provider says at the address, asked for anew where it is older; raises OidcError."""
    kept = _kept.get(address)
    if kept is None or kept.is_older(oldest):
        if not _asking.acquire(timeout=WAIT_SECONDS):
            raise OidcError(NO_ANSWER())
        try:
            kept = _kept.get(address)
            if kept is None or kept.is_older(oldest):
                kept = _kept[address] = Kept(_ask(address), time.monotonic())
        finally:
            _asking.release()
    if kept.said is None:
        raise OidcError(NO_ANSWER())
    return kept.said


def _ask(
    address: str, *, form: dict[str, str] | None = None, headers: dict[str, str] | None = None
) -> Claims | None:
    """Return the provider's JSON, asked for by GET, or by POST of the form; None where it gives none in time.

    No redirect is followed, as a client secret may be in it, and nothing is unpacked.
    """
    try:
        with Deadline(TIMEOUT_SECONDS) as deadline:
            parts = urlsplit(address)
            with open_connection(parts, deadline=deadline, loopback_allowed=True) as connection:
                path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                if form is None:
                    connection.request("GET", path)
                else:
                    typed = {"Content-Type": "application/x-www-form-urlencoded"}
                    body = urlencode(form)
                    connection.request("POST", path, body, typed | (headers or {}))
                answer = connection.getresponse()
                found = json.loads(answer.read()) if answer.status == http.HTTPStatus.OK else None
    except (LoginFailedError, OSError, http.client.HTTPException, ValueError, RecursionError):
        # Not there, too slow, too long, no HTTP, or no JSON that can be read.
        return None
    return found if isinstance(found, dict) else None


def _is_safe(address: object, provider: OidcProvider) -> bool:
    """Say whether it is an address to which people and secrets may be sent."""
    schemes = ("https://", "http://") if provider.over_http else ("https://",)
    return isinstance(address, str) and address.startswith(schemes)


def _make_token_error(why: Message) -> OidcError:
    return OidcError(WRONG_TOKEN(why=why))
