"""A process of NOVA's: it has the package, psycopg and boto3, and no Django."""

import os
import subprocess
import sys
from pathlib import Path

from tests.checkout import ROOT

TIMEOUT_SECONDS = 60

NO_DJANGO = """
import sys
sys.path.insert(0, %r)
sys.modules["django"] = sys.modules["environ"] = None
from nova_credentials import reader
"""


def run(code: str, database_url: str, *, package: Path = ROOT, **environment: str) -> str:
    """Return what the code prints; `package` is the folder or the wheel that the reader is imported from."""
    return run_by(sys.executable, NO_DJANGO % str(package) + code, database_url, **environment)


def run_by(python: str | Path, code: str, database_url: str, **environment: str) -> str:
    """Return what the code prints in an interpreter that sees nothing of this process' environment."""
    keys = {"AWS_ACCESS_KEY_ID": "embedded", "AWS_SECRET_ACCESS_KEY": "embedded"}
    endpoint = {"AWS_ENDPOINT_URL_SECRETS_MANAGER": os.environ["AWS_ENDPOINT_URL_SECRETS_MANAGER"]}
    done = subprocess.run(
        [python, "-I", "-c", code],
        env={"DATABASE_URL": database_url} | endpoint | keys | environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
