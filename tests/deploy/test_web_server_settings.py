"""deploy/gunicorn.conf.py: where it listens, with how many processes, and how it logs, of the file of settings too."""

import os
import subprocess
import sys
from subprocess import CompletedProcess

import pytest

from nova_admin.env_file import fill_example
from tests.checkout import ROOT

SHOW = (
    "import runpy; c = runpy.run_path('deploy/gunicorn.conf.py'); import nova_admin.web_server as w;"
    " print(c['bind'], c['workers'], c['logconfig_dict']['formatters']['chosen']['()'].__name__, w.SECONDS)"
)


def read_config(tmp_path, **settings: str) -> CompletedProcess[str]:
    file = tmp_path / "site.env"
    file.write_text(fill_example(settings))
    return subprocess.run(
        [sys.executable, "-c", SHOW], cwd=ROOT, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "NOVA_ENV_FILE": str(file)},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({}, "0.0.0.0:8000 3 JsonFormatter 20.0"),
        ({"DEBUG": "1", "PORT": ""}, "0.0.0.0:8000 3 TextLogFormatter 20.0"),
        (
            {
                "BIND_ADDRESS": "127.0.0.1",
                "PORT": "8100",
                "WEB_CONCURRENCY": "5",
                "REQUEST_SECONDS": "7.5",
            },
            "127.0.0.1:8100 5 JsonFormatter 7.5",
        ),
        ({"BIND_ADDRESS": "::1", "NOVA_LOG_FORMAT": "text"}, "[::1]:8000 3 TextLogFormatter 20.0"),
        ({"BIND_ADDRESS": "unix:/run/x/site"}, "unix:/run/x/site 3 JsonFormatter 20.0"),
    ],
    ids=["nothing set", "development", "all", "IPv6", "socket"],
)
def test_the_web_server_reads_its_settings_from_the_file(tmp_path, settings, shown):
    done = read_config(tmp_path, **settings)

    assert (done.stdout.strip(), done.stderr) == (shown, "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("WEB_CONCURRENCY", "0"),
        ("REQUEST_SECONDS", "0"),
        ("NOVA_LOG_FORMAT", "xml"),
    ],
)
def test_a_wrong_setting_of_the_web_server_is_named_in_one_line(tmp_path, name, value):
    done = read_config(tmp_path, **{name: value})

    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Not configured: {name} is ")
