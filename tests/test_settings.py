"""What the site asks of its surroundings, as whoever starts it is told."""

import os
import secrets
import subprocess
import sys

import pytest

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


def test_production_starts_with_everything_set_and_a_level_of_logging_in_small_letters():
    assert manage("check", **PRODUCTION | {"LOG_LEVEL": "debug"}).returncode == 0


@pytest.mark.parametrize("name", ["SECRET_KEY", "DATABASE_URL", "ALLOWED_HOSTS"])
def test_production_refuses_to_start_without(name):
    result = manage("check", **PRODUCTION | {name: ""})
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        f"Not configured: {name} is not set. Set it, or set DEBUG=1 for development."
    ]


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
    result = manage("check", **PRODUCTION | {"PGSERVICE": "example"})
    assert result.returncode == 2
    assert "PGSERVICE is set" in result.stderr
    named = PRODUCTION | {"DATABASE_URL": "postgresql:///?service=example"}
    assert manage("check", **named).returncode == 0


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


@pytest.mark.parametrize(
    ("name", "value"),
    [
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
    ],
)
def test_a_wrong_setting_is_named_in_one_line(name, value):
    result = manage("check", **PRODUCTION | {name: value})
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Not configured: {name} ")


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


@pytest.mark.parametrize(
    ("name", "key"),
    [
        *(("SECRET_KEY", key) for key in WEAK_KEYS.values()),
        ("NOVA_FINGERPRINT_KEY", WEAK_KEYS["49 characters"]),
        ("NOVA_AUDIT_KEY", WEAK_KEYS["Django's"]),
        ("NOVA_METRICS_TOKEN", WEAK_KEYS["an example"]),
    ],
)
def test_a_key_that_can_be_guessed_is_refused_with_what_to_run(name, key):
    result = manage("check", **PRODUCTION | {name: key})

    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Not configured: {name} is publicly known, shorter than 50 characters")
    assert line.endswith("python manage.py make_settings")
    assert key == "a" or key not in line


@pytest.mark.parametrize("key", ["", "development-only-key-" + "0" * 40])
@pytest.mark.parametrize("name", ["DATABASE_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER"])
def test_a_named_store_wants_a_key_of_its_own_in_development_too(name, key):
    """The other one is an embedded one."""
    marker = {"DATABASE_URL": "NOVA_EMBEDDED_AWS"}.get(name, "NOVA_EMBEDDED_DATABASE")
    other = next(store for store in NAMED if store != name)
    embedded = {marker: NAMED[other]}

    result = manage("check", **DEVELOPMENT | NAMED | embedded | {"SECRET_KEY": key})

    assert result.returncode == 2
    assert result.stderr.startswith("Not configured: SECRET_KEY is ")
    assert "make_settings" in result.stderr


@pytest.mark.parametrize("key", ["", "development-only-key-" + "0" * 40])
def test_the_development_key_is_there_for_the_embedded_stores(key):
    embedded = {
        "NOVA_EMBEDDED_DATABASE": NAMED["DATABASE_URL"],
        "NOVA_EMBEDDED_AWS": NAMED["AWS_ENDPOINT_URL_SECRETS_MANAGER"],
    }

    result = manage("check", **DEVELOPMENT | NAMED | embedded | {"SECRET_KEY": key})

    assert result.returncode == 0, result.stderr


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
    show = "from django.conf import settings as s; print(s.NOVA_DUAL_READ_HOURS, s.NOVA_PURGE_AFTER_DAYS, s.NOVA_DEMO)"
    times = {"NOVA_DUAL_READ_HOURS": "0.02", "NOVA_PURGE_AFTER_DAYS": "0", "NOVA_DEMO": "1"}

    result = manage("shell", "-v", "0", "-c", show, **PRODUCTION | times)

    assert result.stdout.split() == ["0.02", "0.0", "False"]  # no demo in production


EMBEDDED = NAMED | {
    "NOVA_EMBEDDED_DATABASE": NAMED["DATABASE_URL"],
    "NOVA_EMBEDDED_AWS": NAMED["AWS_ENDPOINT_URL_SECRETS_MANAGER"],
}
DEMO = {"NOVA_DEMO": "1", "NOVA_DEMO_PLACES": "mail.localhost:993=40001"}


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        (PRODUCTION | DEMO, {}),
        # A store that somebody named, in development.
        (PRODUCTION | {"DEBUG": "1"} | NAMED | DEMO, {}),
        (DEVELOPMENT | EMBEDDED | DEMO | {"NOVA_DEMO": "0"}, {}),
        (DEVELOPMENT | EMBEDDED | DEMO, {("mail.localhost", 993): 40001}),
    ],
    ids=["production", "a named store", "no demo", "the demo"],
)
def test_logins_reach_what_the_demo_serves_in_a_demo_on_embedded_stores_alone(environment, found):
    show = "import nova_admin.settings as s; print(s.NOVA_DEMO_PLACES)"

    result = manage("shell", "-v", "0", "-c", show, **environment)

    assert (result.stdout.strip(), result.stderr) == (repr(found), "")


@pytest.mark.parametrize(
    "places", ["mail.localhost:993", "mail.example:993=1", "127.0.0.1:993=1", "x.localhost:993=a"]
)
def test_the_demo_serves_names_of_this_machine_alone(places):
    result = manage("check", **DEVELOPMENT | EMBEDDED | DEMO | {"NOVA_DEMO_PLACES": places})

    assert "NOVA_DEMO_PLACES is not a list of host.localhost:port=port" in result.stderr
    assert places not in result.stderr


@pytest.mark.parametrize(("set_to", "level"), [({}, "WARNING"), ({"LOG_LEVEL": "INFO"}, "INFO")])
def test_at_a_terminal_what_a_command_says_is_not_mixed_with_its_log(set_to, level):
    show = "import nova_admin.settings as s; print(f'The level is {s.LOG_LEVEL}.')"
    environment = PRODUCTION | set_to

    waits = f"{show}; input()"  # its terminal lasts as long as it does
    with manage_on_terminal("shell", "-c", waits, columns=80, **environment) as terminal:
        terminal.wait_for(f"The level is {level}.")

    # A script keeps the log of what it does.
    assert "The level is INFO." in manage("shell", "-c", show, **environment).stdout


def test_a_profile_that_is_not_there_is_told_in_development_too_where_aws_is_named():
    named = {"DEBUG": "1", "AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:1"}
    result = manage("check", **PRODUCTION | named | {"AWS_PROFILE": "not-there"})
    assert result.returncode == 2
    assert result.stderr.startswith("Not configured: AWS_PROFILE ")


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


@pytest.mark.parametrize(
    "environment",
    [
        PRODUCTION | {"AWS_REGION": "", "AWS_ROLE_SESSION_NAME": ""},
        DEVELOPMENT | NAMED | {"NOVA_EMBEDDED_AWS": "http://127.0.0.1:1"},
    ],
    ids=["empty ones", "a child of the demo's"],
)
def test_importing_the_settings_starts_nothing_and_changes_no_variable(environment):
    result = python(IMPORT, **environment)

    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("name", NAMED)
def test_importing_the_settings_with_a_store_neither_named_nor_started_says_so(name):
    result = python(IMPORT, **DEVELOPMENT | NAMED | {name: ""})

    assert result.returncode == 1
    assert f"ImproperlyConfigured: {name} is not set, and no embedded store" in result.stderr
    assert "start_stores" in result.stderr


@pytest.mark.parametrize(
    ("name", "marker"),
    [
        ("DATABASE_URL", "NOVA_EMBEDDED_DATABASE"),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "NOVA_EMBEDDED_AWS"),
    ],
)
def test_production_refuses_an_embedded_store_that_it_inherits(name, marker):
    result = manage("check", **PRODUCTION | NAMED | {marker: NAMED[name]})

    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        f"Not configured: {name} is an embedded store: production needs a real one."
    ]


def test_a_value_that_begins_with_a_dollar_is_a_value():
    key = "$" + secrets.token_urlsafe(64) + r"\$$x"
    show = "import os; from django.conf import settings; print(settings.SECRET_KEY == os.environ['SECRET_KEY'])"

    result = manage("shell", "-v", "0", "-c", show, **PRODUCTION | {"SECRET_KEY": key})

    assert (result.stdout, result.stderr) == ("True\n", "")


LOAD = """
import os, sys
from pathlib import Path
from nova_admin.environment import load_env_file
load_env_file(Path(sys.argv[1]))
print([os.environ.get(name) for name in sys.argv[2:]])
"""


def test_an_env_file_sets_what_is_unset_and_no_empty_variable_of_aws(tmp_path):
    file = tmp_path / ".env"
    file.write_text("# A comment\n\nexport LOG_LEVEL=DEBUG\nNOVA_WORKERS=3\nAWS_PROFILE=\n")

    result = python(
        LOAD,
        *(str(file), "LOG_LEVEL", "NOVA_WORKERS", "AWS_PROFILE", "AWS_REGION"),
        LOG_LEVEL="ERROR",
        AWS_REGION=" ",
    )

    assert (result.stdout, result.stderr) == ("['ERROR', '3', None, None]\n", "")


def test_a_line_of_an_env_file_that_sets_nothing_is_named_and_not_repeated(tmp_path):
    file = tmp_path / ".env"
    file.write_text("DEBUG=1\nSECRET KEY=example-word\n")

    result = python(LOAD, str(file))

    assert "ImproperlyConfigured: .env, line 2, is not NAME=value." in result.stderr
    assert "example-word" not in result.stderr


def test_a_web_server_reads_the_env_file():
    code = "import nova_admin.wsgi as w; print(w.load_env_file.cache_info().misses, bool(w.application))"

    result = python(code, **PRODUCTION)

    assert result.stdout == "1 True\n", result.stderr


def test_a_web_server_starts_no_store():
    result = python("import nova_admin.wsgi", **DEVELOPMENT | {"DATABASE_URL": "postgresql:///x"})

    assert result.returncode == 1
    assert "AWS_ENDPOINT_URL_SECRETS_MANAGER is not set, and no embedded store" in result.stderr
