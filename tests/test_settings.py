"""What the site asks of its surroundings, as whoever starts it is told."""

import os
import re
import runpy
import secrets
import subprocess
import sys
from typing import Any
from unittest.mock import patch

import psutil
import pytest
from django.core.exceptions import ImproperlyConfigured

from nova_admin.environment import DEVELOPMENT_KEY, load_env_file
from tests.checkout import ROOT, manage, manage_on_terminal

PRODUCTION = {
    "DEBUG": "",
    "SECRET_KEY": secrets.token_urlsafe(64),
    "NOVA_FINGERPRINT_KEY": secrets.token_urlsafe(64),
    "NOVA_AUDIT_KEY": secrets.token_urlsafe(64),
    "ALLOWED_HOSTS": "example.invalid",
    "DATABASE_URL": "postgresql:///unused",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER": "",
    "AWS_ACCESS_KEY_ID": "example",
    "AWS_SECRET_ACCESS_KEY": "example",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    "AWS_EC2_METADATA_DISABLED": "true",
    # The tests' own settings switch these lines of the gates off.
    "NOVA_CLEAN_STREAK": "3",
    "NOVA_DUAL_READ_HOURS": "24",
    "NOVA_PURGE_AFTER_DAYS": "7",
    "NOVA_MIN_READS": "20",
}

DEVELOPMENT = {"DEBUG": "1", "DATABASE_URL": "", "AWS_ENDPOINT_URL_SECRETS_MANAGER": ""}
NAMED = {
    "DATABASE_URL": "postgresql:///unused",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:1",
}


def read_settings(environment: dict[str, str]) -> dict[str, Any]:
    """Return the settings of a process with these variables; reading them starts nothing and changes no variable."""
    with patch.dict(os.environ, environment):
        before = dict(os.environ), psutil.Process().children(recursive=True)
        try:
            return runpy.run_path(str(ROOT / "nova_admin" / "settings.py"))
        finally:
            assert (dict(os.environ), psutil.Process().children(recursive=True)) == before


def read_refusal(environment: dict[str, str]) -> str:
    """Return what `manage.py` says of these variables, which it prints in one line."""
    try:
        read_settings(environment)
    except ImproperlyConfigured as error:
        return str(error)
    return ""


def test_production_starts_with_everything_set_and_a_level_of_logging_in_small_letters():
    assert manage("check", **PRODUCTION | {"LOG_LEVEL": "debug"}).returncode == 0


def test_production_refuses_to_start_without_what_it_needs():
    line = "{} is not set. Set it, or set DEBUG=1 for development."
    result = manage("check", **PRODUCTION | {"SECRET_KEY": ""})
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [f"Not configured: {line.format('SECRET_KEY')}"]
    for name in ("DATABASE_URL", "ALLOWED_HOSTS"):
        assert read_refusal(PRODUCTION | {name: ""}) == line.format(name)


def test_production_refuses_to_start_without_aws():
    result = manage("check", **PRODUCTION | {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""})
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "AWS_ACCESS_KEY_ID" in result.stderr


def test_a_wrong_database_url_is_not_repeated():
    result = manage("check", **PRODUCTION | {"DATABASE_URL": "postgres//user:example-word@host"})
    assert result.returncode == 2
    assert "DATABASE_URL" in result.stderr
    assert "example-word" not in result.stdout + result.stderr


def test_a_service_of_libpq_is_named_for_this_database_alone():
    assert "PGSERVICE is set" in read_refusal(PRODUCTION | {"PGSERVICE": "example"})
    assert read_refusal(PRODUCTION | {"DATABASE_URL": "postgresql:///?service=example"}) == ""


def test_the_demo_is_not_there_in_production():
    result = manage("demo", **PRODUCTION)
    assert result.returncode != 0
    assert "Unknown command: 'demo'" in result.stderr


def test_an_unreachable_database_is_one_line():
    result = manage(
        "client_status",
        **PRODUCTION | {"DATABASE_URL": "postgresql://nova@127.0.0.1:1/nova?connect_timeout=2"},
    )
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("The database does not answer")


WRONG = [
    ("DEBUG", "perhaps"),
    ("LOG_LEVEL", "loud"),
    ("NOVA_LOG_FORMAT", "xml"),
    ("NOVA_WORKERS", "abc"),
    ("NOVA_WORKERS", "0"),
    ("NOVA_CLEAN_STREAK", "-1"),
    ("NOVA_SWEEP_MINUTES", "1.5"),
    ("NOVA_DUAL_READ_HOURS", "-1"),
    ("NOVA_DUAL_READ_HOURS", "nan"),
    ("NOVA_DUAL_READ_HOURS", "1e999"),
    ("NOVA_PURGE_AFTER_DAYS", "a week"),
    ("NOVA_PURGE_AFTER_DAYS", "9999999"),
    ("NOVA_MIN_READS", "0.5"),
    ("SECURE_HSTS_SECONDS", "a year"),
    ("SECURE_SSL_REDIRECT", "maybe"),
    ("AWS_PROFILE", "not-there"),
    ("AWS_REGION", "us east"),
    ("NOVA_ENVIRONMENT", "x" * 41),
    ("NOVA_HOST_NAME", "north\nsouth"),
    ("NOVA_REDIS_URL", "redis.example:6379"),
    ("Q_CLUSTER_NAME", "north"),
    ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "nonsense"),
    ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://host:port"),
    ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://secretsmanager.example.com"),
    ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "HTTP://127.0.0.1:4566"),
    ("AWS_ENDPOINT_URL", "https://storage.example.com"),
    ("NOVA_TRUSTED_PROXIES", "proxy.example.com"),
    ("NOVA_TRUSTED_PROXIES", "10.0.0.1/8"),
    ("NOVA_TRUSTED_PROXIES", "*"),
    ("NOVA_TRUSTED_PROXIES", "0.0.0.0/0"),
    ("NOVA_TRUSTED_PROXIES", "10.0.0.5, ::/0"),
    ("NOVA_SECRET_PREFIX", ""),
    ("NOVA_SECRET_PREFIX", "/"),
    ("NOVA_SECRET_PREFIX", "nova clients"),
    ("NOVA_SECRET_PREFIX", "clientes/ñ"),
    ("NOVA_SECRET_PREFIX", "x" * 256),
    ("NOVA_SECRET_LAYOUT", "both"),
    ("DATABASE_URL", "postgresql://host"),
    ("ALLOWED_HOSTS", " , "),
    ("SESSION_COOKIE_AGE", "half an hour"),
    ("NOVA_SESSION_LIMIT", "59"),
    ("AXES_FAILURE_LIMIT", "0"),
    ("AXES_COOLOFF_TIME", "25"),
]


def test_a_wrong_setting_is_named_in_one_line():
    told = {(name, value): read_refusal(PRODUCTION | {name: value}) for name, value in WRONG}

    assert len(told) == len(WRONG)
    assert {
        each: line for each, line in told.items() if not re.fullmatch(f"{each[0]} .+", line)
    } == {}


WEAK_KEYS = {
    "one letter": "a",
    "short": "kT4-zQ9_wB7xR2mV8nL5pJ3hF6dS1gA0cY4eU7iO9tKq2W",
    "49 characters": "kT4-zQ9_wB7xR2mV8nL5pJ3hF6dS1gA0cY4eU7iO9tKq2WZ5X"[:49],
    "few different ones": "abcdefg" * 12,
    "Django's": "django-insecure-kT4zQ9wB7xR2mV8nL5pJ3hF6dS1gA0cY4eU7iO9tKq2WZ5X",
    "the development key": "development-only-key-" + "0" * 40,
    "the first release's in its Makefile": "a-long-key-for-the-check-only-" + "0" * 39 + "7",
    "the first release's in its tests": "key-of-the-tests-" + "0" * 40,
    "an example": "Example-kT4zQ9wB7xR2mV8nL5pJ3hF6dS1gA0cY4eU7iO9tKq2WZ5X",
    "to be changed": "please-CHANGEME-kT4zQ9wB7xR2mV8nL5pJ3hF6dS1gA0cY4eU7iO9tKq2WZ",
}


def test_a_key_that_can_be_guessed_is_refused_with_what_to_run():
    for name, key in (
        *(("SECRET_KEY", key) for key in WEAK_KEYS.values()),
        ("NOVA_FINGERPRINT_KEY", WEAK_KEYS["49 characters"]),
        ("NOVA_AUDIT_KEY", WEAK_KEYS["Django's"]),
        ("NOVA_METRICS_TOKEN", WEAK_KEYS["an example"]),
    ):
        line = read_refusal(PRODUCTION | {name: key})

        assert line.startswith(f"{name} is publicly known, shorter than 50 characters"), key
        assert line.endswith("python manage.py make_settings")
        assert key == "a" or key not in line


EMBEDDED = NAMED | {
    "NOVA_EMBEDDED_DATABASE": NAMED["DATABASE_URL"],
    "NOVA_EMBEDDED_AWS": NAMED["AWS_ENDPOINT_URL_SECRETS_MANAGER"],
}


def test_the_development_key_is_there_for_the_embedded_stores_alone():
    for key in ("", DEVELOPMENT_KEY):
        of_key = DEVELOPMENT | {"SECRET_KEY": key}
        assert read_settings(of_key | EMBEDDED)["SECRET_KEY"] == DEVELOPMENT_KEY
        # A store that somebody named, while the other is an embedded one.
        for marker in ("NOVA_EMBEDDED_DATABASE", "NOVA_EMBEDDED_AWS"):
            line = read_refusal(of_key | EMBEDDED | {marker: ""})
            assert line.startswith("SECRET_KEY is ")
            assert "make_settings" in line


OPTIONAL = [
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "AWS_PROFILE",
    "AWS_REGION",
    "CSRF_TRUSTED_ORIGINS",
    "LOG_LEVEL",
    "NOVA_CLEAN_STREAK",
    "NOVA_DUAL_READ_HOURS",
    "NOVA_HOST_NAME",
    "NOVA_MIN_READS",
    "NOVA_PURGE_AFTER_DAYS",
    "NOVA_REDIS_URL",
    "NOVA_SECRET_LAYOUT",
    "NOVA_SWEEP_MINUTES",
    "NOVA_WORKERS",
    "SECURE_HSTS_SECONDS",
    "SECURE_SSL_REDIRECT",
]
SHOW = (
    "from django.conf import settings as s; from migration.core.aws_store import secrets_manager;"
    "print(s.AWS_REGION, s.LOG_LEVEL, s.NOVA_CLEAN_STREAK, s.NOVA_SECRET_LAYOUT, s.NOVA_SWEEP_MINUTES,"
    " s.NOVA_DUAL_READ_HOURS, s.NOVA_PURGE_AFTER_DAYS, s.NOVA_MIN_READS,"
    " s.NOVA_WORKERS, s.SECURE_HSTS_SECONDS, s.SECURE_SSL_REDIRECT, s.CSRF_TRUSTED_ORIGINS,"
    " secrets_manager().sm.meta.endpoint_url)"
)


def test_an_empty_setting_means_its_default():
    result = manage("shell", "-v", "0", "-c", SHOW, **PRODUCTION | dict.fromkeys(OPTIONAL, ""))
    assert result.stdout.split() == [
        "us-east-1", "INFO", "3", "client", "15", "24.0", "7.0", "20", "2", "31536000", "True", "[]",
        "https://secretsmanager.us-east-1.amazonaws.com",
    ]  # fmt: skip


def test_times_of_evidence_take_decimals_and_zero():
    found = read_settings(
        PRODUCTION | {"NOVA_DUAL_READ_HOURS": "0.02", "NOVA_PURGE_AFTER_DAYS": "0"}
    )

    assert (found["NOVA_DUAL_READ_HOURS"], found["NOVA_PURGE_AFTER_DAYS"]) == (0.02, 0.0)


DEMO = {"NOVA_DEMO": "1", "NOVA_DEMO_PLACES": "mail.localhost:993=40001"}


def test_logins_reach_what_the_demo_serves_in_a_demo_on_embedded_stores_alone():
    for environment in (
        PRODUCTION | DEMO,
        # A store that somebody named, in development.
        PRODUCTION | {"DEBUG": "1"} | NAMED | DEMO,
        DEVELOPMENT | EMBEDDED | DEMO | {"NOVA_DEMO": "0"},
    ):
        found = read_settings(environment)
        assert (found["NOVA_DEMO"], found["NOVA_DEMO_PLACES"]) == (False, {})
    show = "import nova_admin.settings as s; print(s.NOVA_DEMO_PLACES)"

    result = manage("shell", "-v", "0", "-c", show, **DEVELOPMENT | EMBEDDED | DEMO)

    assert (result.stdout, result.stderr) == ("{('mail.localhost', 993): 40001}\n", "")


def test_the_demo_serves_names_of_this_machine_alone():
    unfit = ("mail.localhost:993", "mail.example:993=1", "127.0.0.1:993=1", "x.localhost:993=a")
    for places in unfit:
        line = read_refusal(DEVELOPMENT | EMBEDDED | DEMO | {"NOVA_DEMO_PLACES": places})

        assert "NOVA_DEMO_PLACES is not a list of host.localhost:port=port" in line
        assert places not in line


def test_at_a_terminal_what_a_command_says_is_not_mixed_with_its_log():
    show = "import nova_admin.settings as s; print(f'The level is {s.LOG_LEVEL}.')"
    waits = f"{show}; input()"  # its terminal lasts as long as it does
    for set_to, level in (({}, "WARNING"), ({"LOG_LEVEL": "INFO"}, "INFO")):
        with manage_on_terminal(
            "shell", "-c", waits, columns=80, **PRODUCTION | set_to
        ) as terminal:
            terminal.wait_for(f"The level is {level}.")

    # A script keeps the log of what it does.
    assert "The level is INFO." in manage("shell", "-c", show, **PRODUCTION).stdout


def test_a_profile_that_is_not_there_is_told_in_development_too_where_aws_is_named():
    named = {"DEBUG": "1", "AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:1"}
    line = read_refusal(PRODUCTION | named | {"AWS_PROFILE": "not-there"})
    assert line.startswith("AWS_PROFILE ")


def python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a process of its own, without `manage.py`."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "nova_admin.settings"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


IMPORT = """
import os, psutil, sys
before = dict(os.environ)
try:
    import nova_admin.settings
finally:
    assert dict(os.environ) == before, "the environment changed"
    assert not psutil.Process().children(recursive=True), "something was started"
"""


def test_importing_the_settings_starts_nothing_and_changes_no_variable():
    of_child = (
        DEVELOPMENT | NAMED | {"NOVA_EMBEDDED_AWS": NAMED["AWS_ENDPOINT_URL_SECRETS_MANAGER"]}
    )

    result = python(IMPORT, **of_child | {"AWS_ROLE_SESSION_NAME": ""})

    assert (result.returncode, result.stderr) == (0, "")
    read_settings(PRODUCTION | {"AWS_REGION": "", "AWS_ROLE_SESSION_NAME": ""})


def test_a_store_that_is_neither_named_nor_started_is_said():
    for name in NAMED:
        line = read_refusal(DEVELOPMENT | NAMED | {name: ""})

        assert line.startswith(f"{name} is not set, and no embedded store")
        assert "start_stores" in line


def test_production_refuses_an_embedded_store_that_it_inherits():
    for name, marker in (
        ("DATABASE_URL", "NOVA_EMBEDDED_DATABASE"),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "NOVA_EMBEDDED_AWS"),
    ):
        line = read_refusal(PRODUCTION | NAMED | {marker: NAMED[name]})

        assert line == f"{name} is an embedded store: production needs a real one."


def test_a_value_that_begins_with_a_dollar_is_a_value():
    key = "$" + secrets.token_urlsafe(64) + r"\$$x"

    assert read_settings(PRODUCTION | {"SECRET_KEY": key})["SECRET_KEY"] == key


def test_an_env_file_sets_what_is_unset_and_no_empty_variable_of_aws(tmp_path):
    file = tmp_path / ".env"
    file.write_text("# A comment\n\nexport LOG_LEVEL=DEBUG\nNOVA_WORKERS=3\nAWS_PROFILE=\n")

    with patch.dict(os.environ, {"LOG_LEVEL": "ERROR", "AWS_REGION": " "}):
        load_env_file.__wrapped__(file)
        names = ("LOG_LEVEL", "NOVA_WORKERS", "AWS_PROFILE", "AWS_REGION")
        found = [os.environ.get(name) for name in names]

    assert found == ["ERROR", "3", None, None]


def test_a_line_of_an_env_file_that_sets_nothing_is_named_and_not_repeated(tmp_path):
    file = tmp_path / ".env"
    file.write_text("DEBUG=1\nSECRET KEY=example-word\n")

    with pytest.raises(ImproperlyConfigured) as refused:
        load_env_file.__wrapped__(file)

    assert str(refused.value) == ".env, line 2, is not NAME=value."


def test_a_web_server_reads_the_env_file_and_starts_no_store(tmp_path, monkeypatch):
    file = tmp_path / "site.env"
    file.write_text(f"DATABASE_URL={NAMED['DATABASE_URL']}\n")
    monkeypatch.delenv("DATABASE_URL")
    of_server = {"DEBUG": "1", "AWS_ENDPOINT_URL_SECRETS_MANAGER": "", "NOVA_ENV_FILE": str(file)}

    result = python("import nova_admin.wsgi", **of_server)

    assert result.returncode == 1
    assert "AWS_ENDPOINT_URL_SECRETS_MANAGER is not set, and no embedded store" in result.stderr
