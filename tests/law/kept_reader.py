"""A process of NOVA's that has the package of an earlier release, and reads one client whenever it is asked to."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.keep_release import KEPT
from tests.nova_credentials.nova_process import NO_DJANGO

RELEASE = "0.2.0.dev0"
READ = """
import json
for slug in sys.stdin:
    try:
        read = reader.get_all_credentials(slug.strip())
        login, mail = read["database"], read["email"]
        answer = {
            "password": login and login.db_password,
            "port": login and str(login.db_port),
            "mail": mail and mail.email_password,
        }
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
"""


class KeptReader:
    """Caches nothing. `close_kept_readers` ends it."""

    def __init__(self, database_url: str, endpoint: str) -> None:
        wheel = KEPT / f"nova_credentials-{RELEASE}-py3-none-any.whl"
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-c", NO_DJANGO % str(wheel) + READ],
            env={
                "DATABASE_URL": database_url,
                "AWS_ENDPOINT_URL_SECRETS_MANAGER": endpoint,
                "AWS_ACCESS_KEY_ID": "embedded",
                "AWS_SECRET_ACCESS_KEY": "embedded",
                "NOVA_CACHE_SECONDS": "0",
                "NOVA_READ_TIMEOUT_SECONDS": "60",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def read(self, slug: str) -> dict[str, str | None]:
        """Each field's text, None where there is no row; or the `error`."""
        self.process.stdin.write(f"{slug}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        with self.process as process:  # it ends where its input does
            process.stdin.close()


_kept: dict[str, KeptReader] = {}


def kept_reader(database_url: str) -> KeptReader:
    """One for all worlds of this process, as it is always the same database and the same AWS."""
    if database_url not in _kept:
        endpoint = os.environ["AWS_ENDPOINT_URL_SECRETS_MANAGER"]
        _kept[database_url] = KeptReader(database_url, endpoint)
    return _kept[database_url]


def close_kept_readers() -> None:
    while _kept:
        _kept.popitem()[1].close()
