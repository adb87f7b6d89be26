"""The checkout, and `manage.py` in it, run in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `manage.py` as a person would, in a process of its own."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "nova_admin.settings"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
