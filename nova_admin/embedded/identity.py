"""Answers, in the embedded AWS, whose an access key is: the one call of STS that a login test makes.

It knows the access keys of the demo's clients; the signature of any other is refused, as AWS would.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from http import HTTPStatus
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

ACCOUNT = "123456789012"
# Shaped as AWS's own are: a form takes no others.
KEY_ID, KEY_ID_LENGTH = "DEMOKEYID", 20
SECRET, SECRET_LENGTH = "demo/secret/access/key/", 40
MOST_BYTES = 1024
_SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/([a-z0-9-]+)/sts/aws4_request,"
    r" SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)
_IDENTITY = (
    '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
    f"<Arn>arn:aws:iam::{ACCOUNT}:user/demo</Arn><UserId>DEMO</UserId><Account>{ACCOUNT}</Account>"
    "</GetCallerIdentityResult></GetCallerIdentityResponse>"
)
_REFUSAL = (
    '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
    "<Error><Type>Sender</Type><Code>%s</Code></Error></ErrorResponse>"
)


def make_access_key_id(number: int) -> str:
    """Return the id of the key with this number."""
    return f"{KEY_ID}{number:0{KEY_ID_LENGTH - len(KEY_ID)}}"


def make_secret_access_key(access_key_id: str) -> str:
    """Return the secret key of a demo's client; "" for an id that the embedded AWS doesn't know."""
    number = access_key_id.removeprefix(KEY_ID)
    if number == access_key_id:
        return ""
    return f"{SECRET}{number.zfill(SECRET_LENGTH - len(SECRET))}"


def add_caller_identity(app: WSGIApplication) -> WSGIApplication:
    """Answer the calls of STS, which any client's key may make, before `app` sees them."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        found = _SIGNED.fullmatch(environ.get("HTTP_AUTHORIZATION", ""))
        if found is None:
            return app(environ, start_response)
        problem = _find_problem(environ, found)
        status = HTTPStatus.FORBIDDEN if problem else HTTPStatus.OK
        body = (_REFUSAL % problem if problem else _IDENTITY).encode()
        headers = [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))]
        start_response(f"{status.value} {status.phrase}", headers)
        return [body]

    return answer


def _find_problem(environ: WSGIEnvironment, signed: re.Match[str]) -> str:
    """Return AWS's code of what is wrong with the key or its signature, or ""."""
    body = environ["wsgi.input"].read(min(int(environ.get("CONTENT_LENGTH") or 0), MOST_BYTES))
    access_key_id, region, names, signature = signed.groups()
    secret = make_secret_access_key(access_key_id)
    if not secret:
        return "InvalidClientTokenId"
    if b"Action=GetCallerIdentity" not in body:
        return "InvalidAction"
    expected = _sign(environ, body, (access_key_id, secret), region, names.split(";"))
    return "" if hmac.compare_digest(expected, signature) else "SignatureDoesNotMatch"


def _sign(
    environ: WSGIEnvironment, body: bytes, key: tuple[str, str], region: str, names: list[str]
) -> str:
    """Sign the request as its sender did who has this secret key."""
    from botocore.auth import SigV4Auth  # noqa: PLC0415  # starting the server doesn't need it
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415
    from botocore.credentials import Credentials  # noqa: PLC0415

    headers = {
        name: environ.get("CONTENT_TYPE" if name == "content-type" else _name_variable(name), "")
        for name in names
        if name != "host"
    }
    url = f"http://{environ.get('HTTP_HOST', '')}/"
    request = AWSRequest(method="POST", url=url, data=body, headers=headers)
    request.context["timestamp"] = environ.get("HTTP_X_AMZ_DATE", "")
    signer = SigV4Auth(Credentials(*key), "sts", region)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    return str(signer.signature(text, request))


def _name_variable(header: str) -> str:
    return f"HTTP_{header.upper().replace('-', '_')}"
