"""A site that says what it was sent, for the tests of the web server alone."""

import hashlib
import json


def application(environ, start_response):
    body = environ["wsgi.input"].read()
    told = {
        "method": environ["REQUEST_METHOD"],
        "length": len(body),
        "digest": hashlib.sha256(body).hexdigest(),
    }
    answer = json.dumps(told).encode()
    if environ["PATH_INFO"] == "/large":
        answer = b"x" * 50_000_000
    if environ["PATH_INFO"] == "/page":
        answer = b"x" * 150_000
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]
