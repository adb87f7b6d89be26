"""Speaks OpenID Connect with the provider: sends people there, and believes only a token that was made for this login.

Knows no users. Every answer is checked by OpenID Connect Core 3.1.3.7; what is wrong raises OidcError.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import jwt
import requests
from allauth.socialaccount.internal import statekit
from allauth.socialaccount.providers.oauth2.utils import generate_code_challenge

from nova_admin.login import sentences
from nova_credentials.messages import MessageError

if TYPE_CHECKING:
    from django.http import HttpRequest

    from nova_admin.login.settings import OidcProvider
    from nova_credentials.messages import Message

TIMEOUT_SECONDS = 10
# No others: `none` signs nothing, and HS256 would be signed with a secret that is no key.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
# How far the clocks of the provider and the site may be apart.
LEEWAY_SECONDS = 60
LONGEST_SUBJECT = 255
REASONS = {
    jwt.InvalidIssuerError: sentences.WRONG_ISSUER(),
    jwt.InvalidAudienceError: sentences.WRONG_AUDIENCE(),
    jwt.ExpiredSignatureError: sentences.EXPIRED(),
    jwt.ImmatureSignatureError: sentences.EXPIRED(),
    jwt.InvalidSignatureError: sentences.WRONG_SIGNATURE(),
    jwt.InvalidKeyError: sentences.WRONG_SIGNATURE(),
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


def make_login_address(
    request: HttpRequest, provider: OidcProvider, *, callback: str, next_url: str
) -> str:
    """Return the provider's address for a login, and note in the session what its answer has to hold."""
    endpoints = read_endpoints(provider)
    nonce, proof = secrets.token_urlsafe(32), generate_code_challenge()
    state = {"nonce": nonce, "verifier": proof["code_verifier"], "next": next_url}
    asked = {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": callback,
        "scope": provider.scopes,
        "state": statekit.stash_state(request, provider_id=provider.issuer, state=state),
        "nonce": nonce,
        "code_challenge": proof["code_challenge"],
        "code_challenge_method": proof["code_challenge_method"],
    }
    joint = "&" if urlsplit(endpoints.authorization).query else "?"
    return f"{endpoints.authorization}{joint}{urlencode(asked)}"


def read_login(
    request: HttpRequest, provider: OidcProvider, *, callback: str
) -> tuple[Claims, str]:
    """Return the claims about who logged in, and where they wanted to go; raises OidcError."""
    state = statekit.unstash_state(
        request, provider_id=provider.issuer, state_id=request.GET.get("state", "")
    )
    if state is None:
        raise OidcError(sentences.NOT_BEGUN_HERE())
    code = request.GET.get("code")
    if not code or "error" in request.GET:
        raise OidcError(sentences.PROVIDER_REFUSED())
    # RFC 9207: an answer of another provider than the one that was asked.
    if request.GET.get("iss", provider.issuer) != provider.issuer:
        raise _make_token_error(sentences.WRONG_ISSUER())
    endpoints = read_endpoints(provider)
    token = _exchange_code(endpoints, provider, code, callback=callback, verifier=state["verifier"])
    return verify_token(token, provider, keys=_ask(endpoints.keys), nonce=state["nonce"]), state[
        "next"
    ]


def read_endpoints(provider: OidcProvider) -> Endpoints:
    """Ask the provider where its endpoints are; raises OidcError where it calls itself otherwise."""
    found = _ask(f"{provider.issuer.rstrip('/')}/.well-known/openid-configuration")
    if found.get("issuer") != provider.issuer:
        raise _make_token_error(sentences.WRONG_ISSUER())
    names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
    addresses = [found.get(name) for name in names]
    if not all(_is_safe(address, provider) for address in addresses):
        raise OidcError(sentences.NO_ANSWER())
    # Where nothing is said, it is basic (OpenID Connect Discovery, 3).
    methods = found.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    authorization, token, keys = map(str, addresses)
    return Endpoints(authorization, token, keys, by_basic="client_secret_basic" in methods)


def verify_token(token: object, provider: OidcProvider, *, keys: Claims, nonce: str) -> Claims:
    """Return the claims of an id token; raises OidcError unless all of them are for this site and this login."""
    claims = _decode_token(str(token), provider, keys)
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if claims.get("azp", None if several else provider.client_id) != provider.client_id:
        raise _make_token_error(sentences.WRONG_AUDIENCE())
    if not secrets.compare_digest(str(claims["nonce"]).encode(), nonce.encode()):
        raise _make_token_error(sentences.WRONG_NONCE())
    if not 0 < len(claims["sub"]) <= LONGEST_SUBJECT:
        raise _make_token_error(sentences.MALFORMED())
    return claims


def _decode_token(token: str, provider: OidcProvider, keys: Claims) -> Claims:
    """Return the claims if the provider signed them, for this site and this time."""
    try:
        algorithm = jwt.get_unverified_header(token).get("alg")
        if algorithm not in ALGORITHMS:
            raise _make_token_error(sentences.WRONG_SIGNATURE())
        claims: Claims = jwt.decode(
            token,
            key=_find_key(token, keys),
            algorithms=[algorithm],
            audience=provider.client_id,
            issuer=provider.issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": ["iss", "sub", "aud", "exp", "iat", "nonce"]},
        )
    except jwt.PyJWTError as error:
        found = (why for kind, why in REASONS.items() if isinstance(error, kind))
        raise _make_token_error(next(found, sentences.MALFORMED())) from None
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
    if endpoints.by_basic:
        # OAuth has both encoded within (RFC 6749, 2.3.1).
        encoded = urlencode({provider.client_id: provider.client_secret}).partition("=")
        return _ask(endpoints.token, data=sent, auth=(encoded[0], encoded[2])).get("id_token")
    sent |= {"client_id": provider.client_id, "client_secret": provider.client_secret}
    return _ask(endpoints.token, data=sent).get("id_token")


def _find_key(token: str, keys: Claims) -> jwt.PyJWK:
    """Return the provider's key with which the token says it is signed."""
    found = jwt.PyJWKSet.from_dict(keys).keys
    name = jwt.get_unverified_header(token).get("kid")
    fitting = [key for key in found if name in (None, key.key_id)]
    if len(fitting) != 1:
        raise jwt.InvalidKeyError
    return fitting[0]


def _ask(address: str, **sent: Any) -> Claims:
    """Return the provider's JSON; raises OidcError. It may not send on to others: a client secret may be in it."""
    method = "POST" if sent else "GET"
    try:
        answer = requests.request(
            method, address, timeout=TIMEOUT_SECONDS, allow_redirects=False, **sent
        )
        found = answer.json() if answer.status_code == requests.codes.ok else None
    except (requests.RequestException, ValueError):
        found = None
    if not isinstance(found, dict):
        raise OidcError(sentences.NO_ANSWER())
    return found


def _is_safe(address: object, provider: OidcProvider) -> bool:
    """Say whether it is an address to which people and secrets may be sent."""
    schemes = ("https://", "http://") if provider.over_http else ("https://",)
    return isinstance(address, str) and address.startswith(schemes)


def _make_token_error(why: Message) -> OidcError:
    return OidcError(sentences.WRONG_TOKEN(why=why))
