"""Settings, read from the environment once; every one is listed in `.env.example`.

In development (`DEBUG=1`) a store that is not named is an embedded one; production refuses to start without real ones.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.urls import reverse_lazy
from psycopg import Error as PsycopgError
from psycopg.conninfo import conninfo_to_dict

BASE_DIR = Path(__file__).resolve().parent.parent
LOCAL = BASE_DIR / ".local"

env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")

DEBUG = env.bool("DEBUG", False)


def required(name: str, development: str) -> str:
    """The variable's value; in development, where it is unset, `development`."""
    value = env.str(name, "")
    if not value and not DEBUG:
        raise ImproperlyConfigured(f"{name} is not set. Set it, or set DEBUG=1 for development.")
    return value or development


def database(uri: str) -> dict[str, Any]:
    """Django's description of any libpq URI (`postgresql://…`, `?host=/socket/folder` included)."""
    try:
        parts: dict[str, Any] = dict(conninfo_to_dict(uri))
    except PsycopgError:
        # libpq's own text quotes the URI, password and all.
        raise ImproperlyConfigured(
            "DATABASE_URL is not a PostgreSQL URI (postgresql://…)."
        ) from None
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.pop("dbname", ""),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": parts.pop("port", ""),
        "OPTIONS": parts,
        "CONN_HEALTH_CHECKS": True,
    }


SECRET_KEY = required("SECRET_KEY", "development-only-key-" + "0" * 40)
ALLOWED_HOSTS = env.list(
    "ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"] if DEBUG else []
)
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# The two stores. Children of this process inherit the embedded ones through the environment.
DATABASE_URL = required("DATABASE_URL", "")
if not DATABASE_URL:
    from nova_admin.embedded import postgres

    os.environ["DATABASE_URL"] = DATABASE_URL = postgres.start(LOCAL / "postgres")
DATABASES = {"default": database(DATABASE_URL)}

AWS_REGION = env.str("AWS_REGION", "us-east-1")
AWS_ENDPOINT_URL = env.str("AWS_ENDPOINT_URL_SECRETS_MANAGER", "")
if DEBUG and not AWS_ENDPOINT_URL:
    from nova_admin.embedded import aws

    os.environ["AWS_ENDPOINT_URL_SECRETS_MANAGER"] = AWS_ENDPOINT_URL = aws.start(LOCAL / "aws")
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "embedded")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "embedded")
elif not DEBUG:
    from botocore.session import get_session

    if get_session().get_credentials() is None:
        raise ImproperlyConfigured(
            "AWS credentials are not set. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or a role boto3"
            " finds), or set DEBUG=1 for development."
        )

NOVA_SECRET_PREFIX = env.str("NOVA_SECRET_PREFIX", "nova/clients").strip("/")
NOVA_SECRET_LAYOUT = env.str("NOVA_SECRET_LAYOUT", "client")
if NOVA_SECRET_LAYOUT not in ("client", "service"):
    raise ImproperlyConfigured("NOVA_SECRET_LAYOUT is neither 'client' nor 'service'.")

# So many comparisons in a row have to match before a client may be cut over.
NOVA_CLEAN_STREAK = env.int("NOVA_CLEAN_STREAK", 3)
NOVA_SWEEP_MINUTES = env.int("NOVA_SWEEP_MINUTES", 15)

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_q",
    "credentials",
    "migration",
    *(["nova_admin.embedded"] if DEBUG else []),
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "nova_admin.middleware.refuse_nul",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "nova_admin.urls"
WSGI_APPLICATION = "nova_admin.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
    )
]

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

if not DEBUG:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", True)
    SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", 31_536_000)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True

# A batch of 100 clients takes seconds, and under a throttled AWS up to some minutes. The broker delivers a task again
# only after `retry`, by when `timeout` has ended the first one; a batch done twice is harmless.
Q_CLUSTER = {
    "name": "nova_admin",
    "orm": "default",
    "workers": env.int("NOVA_WORKERS", 2),
    "bulk": 1,
    "poll": 0.5,
    "timeout": 300,
    "retry": 360,
    "max_attempts": 5,
    "ack_failures": False,
    "save_limit": 1000,
    "catch_up": False,
    "label": "Task queue",
}

DEFAULT_EXCEPTION_REPORTER_FILTER = "nova_admin.reporting.NoValues"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", "INFO")},
    # botocore and urllib3 write whole requests, secrets included, at DEBUG: never let them.
    "loggers": {
        name: {"level": "WARNING"}
        for name in ("boto3", "botocore", "urllib3", "django.db.backends")
    },
}


def needs(*permissions: str) -> Callable[[HttpRequest], bool]:
    """Shows a link to those who have one of the permissions."""
    return lambda request: any(map(request.user.has_perm, permissions))


UNFOLD = {
    "SITE_TITLE": "NOVA Admin",
    "SITE_HEADER": "NOVA Admin",
    "SITE_SUBHEADER": "Credentials to AWS Secrets Manager",
    "SITE_SYMBOL": "key",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "migration.admin.dashboard_context",
    "SIDEBAR": {
        "show_search": False,
        "navigation": [
            {
                "items": [
                    {
                        "title": "Dashboard",
                        "icon": "dashboard",
                        "link": reverse_lazy("admin:index"),
                    },
                    {
                        "title": "Clients",
                        "icon": "groups",
                        "link": reverse_lazy("admin:credentials_client_changelist"),
                        "permission": needs("credentials.view_client"),
                    },
                    {
                        "title": "Runs",
                        "icon": "play_circle",
                        "link": reverse_lazy("admin:migration_run_changelist"),
                        "permission": needs("migration.view_run", "migration.add_run"),
                    },
                    {
                        "title": "Mismatches",
                        "icon": "compare_arrows",
                        "link": reverse_lazy("admin:migration_comparison_report"),
                        "permission": needs("migration.view_comparison"),
                    },
                ]
            },
            {
                "title": "Site",
                "separator": True,
                "items": [
                    {
                        "title": "Users",
                        "icon": "person",
                        "link": reverse_lazy("admin:auth_user_changelist"),
                        "permission": needs("auth.view_user"),
                    },
                    {
                        "title": "Groups",
                        "icon": "group",
                        "link": reverse_lazy("admin:auth_group_changelist"),
                        "permission": needs("auth.view_group"),
                    },
                ],
            },
        ],
    },
}
