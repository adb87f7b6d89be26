"""Asks the site of this container whether it lives; exits with 1 if not. For the health check of the image."""

import http.client
import os
import sys


def is_alive() -> bool:
    """Say whether /healthz answers within two seconds."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", int(os.environ.get("PORT", "8000")), timeout=2
    )
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if is_alive() else 1)
