"""A provider of OpenID Connect on the loopback: real keys and signatures, and whatever lie a test wants."""

import base64
import hashlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

KEY_NAME = "key-1"


class FakeProvider:
    """Logs in whoever a test says. `lies` replace claims of the token, `said` what it says of itself."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.reset()

    def __enter__(self) -> "FakeProvider":
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                self.answer(provider.answer_get(self.path))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self.answer(
                    provider.answer_token(dict(parse_qsl(body)), self.headers["Authorization"])
                )

            def answer(self, found: tuple[int, Any]) -> None:
                status, body = found
                provider.asked_for.append(self.path)
                provider.headers_seen.append(dict(self.headers))
                if provider.misbehave:
                    provider.misbehave(self)
                    return
                self.send_response(status)
                if status == 307:
                    self.send_header("Location", body)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True, args=(0.01,))
        self.thread.start()
        self.issuer = f"http://127.0.0.1:{self.server.server_port}/realm"
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def reset(self) -> None:
        self.lies: dict[str, Any] = {}
        self.said: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.signing_key: Any = self.key
        self.algorithm = "RS256"
        self.key_name = KEY_NAME
        self.status = 200
        self.asked: dict[str, str] = {}
        self.claims: dict[str, Any] = {}
        self.asked_for: list[str] = []
        self.headers_seen: list[dict[str, str]] = []
        self.misbehave: Any = None  # answers a request in its place, given the handler

    def answer_get(self, path: str) -> tuple[int, Any]:
        if path == "/realm/keys":
            public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
            return 200, {"keys": [public | {"kid": self.key_name, "use": "sig", "alg": "RS256"}]}
        assert path == "/realm/.well-known/openid-configuration"
        return 200, {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
        } | self.said

    def log_in(self, address: str, **claims: Any) -> str:
        """What the provider's page does with a browser: returns the address to which it sends it back."""
        parts = urlsplit(address)
        self.asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.claims = claims
        self.code = secrets.token_urlsafe(8)
        back = urlsplit(self.asked["redirect_uri"])
        return f"{back.path}?{urlencode({'code': self.code, 'state': self.asked['state']})}"

    def answer_token(self, sent: dict[str, str], authorization: str | None) -> tuple[int, Any]:
        if self.status != 200:
            return self.status, f"{self.issuer}/elsewhere"
        digest = hashlib.sha256(sent["code_verifier"].encode()).digest()
        proof = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        basic = base64.b64decode((authorization or " ").partition(" ")[2]).decode()
        known = (
            basic == "nova:example-client-secret"
            or sent.get("client_secret") == "example-client-secret"
        )
        if sent["code"] != self.code or proof != self.asked["code_challenge"] or not known:
            return 400, {"error": "invalid_grant"}
        return 200, {
            "access_token": "unused",
            "token_type": "Bearer",
            "id_token": self.make_token(),
        }

    def make_token(self) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": "nova",
            "iat": now,
            "exp": now + 300,
            "sub": "subject-1",
            "nonce": self.asked["nonce"],
            "groups": ["ops"],
            **self.claims,
            **self.lies,
        }
        kept = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(kept, self.signing_key, self.algorithm, {"kid": KEY_NAME} | self.header)
