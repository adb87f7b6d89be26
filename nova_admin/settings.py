"""Settings, read from the environment once; every one is listed in `.env.example`.

In development (`DEBUG=1`) a store that is not named is an embedded one; production refuses to start without real ones.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _

from nova_admin import environment as env
from nova_credentials.document import Layout, name_problem

BASE_DIR = Path(__file__).resolve().parent.parent
LOCAL = BASE_DIR / ".local"

environ.Env.read_env(BASE_DIR / ".env")
for name in [name for name in os.environ if name.startswith("AWS_") and not env.text(name)]:
    del os.environ[name]  # boto3 takes an empty one for a value

DEBUG = env.flag("DEBUG", default=False)

SECRET_KEY = env.required(
    "SECRET_KEY", env.text("SECRET_KEY", "development-only-key-" + "0" * 40 if DEBUG else "")
)
ALLOWED_HOSTS = env.required(
    "ALLOWED_HOSTS",
    env.names("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"] if DEBUG else []),
)
CSRF_TRUSTED_ORIGINS = env.names("CSRF_TRUSTED_ORIGINS", [])

# The two stores. Children of this process inherit the embedded ones through the environment.
NAMED_STORES = [
    name for name in ("DATABASE_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER") if env.text(name)
]
EMBEDDED_STORES = DEBUG and not NAMED_STORES

DATABASE_URL = env.text("DATABASE_URL")
AWS_ENDPOINT_URL = env.url("AWS_ENDPOINT_URL_SECRETS_MANAGER")
AWS_REGION = env.text("AWS_REGION", "us-east-1")
if not re.fullmatch(r"[a-z0-9-]{1,63}", AWS_REGION):
    raise ImproperlyConfigured("AWS_REGION is not the name of a region, such as us-east-1.")

NOVA_SECRET_LAYOUT = env.choice("NOVA_SECRET_LAYOUT", *Layout)
# Empty, it may mean the default or no prefix at all: nobody guesses where secrets go.
NOVA_SECRET_PREFIX = os.environ.get("NOVA_SECRET_PREFIX", "nova/clients").strip("/")
if not NOVA_SECRET_PREFIX:
    raise ImproperlyConfigured("NOVA_SECRET_PREFIX is empty. Unset it for nova/clients.")
if problem := name_problem("x", prefix=NOVA_SECRET_PREFIX, layout=Layout(NOVA_SECRET_LAYOUT)):
    raise ImproperlyConfigured(f"NOVA_SECRET_PREFIX is no prefix of a secret: {problem}.")

# So many comparisons in a row have to match before a client may be cut over.
NOVA_CLEAN_STREAK = env.number("NOVA_CLEAN_STREAK", 3)
# A cutover or a purge that one person asks for has to be approved by another.
NOVA_REQUIRE_APPROVAL = env.flag("NOVA_REQUIRE_APPROVAL", default=False)
NOVA_SWEEP_MINUTES = env.number("NOVA_SWEEP_MINUTES", 15)
# All workers together, under AWS's quotas (50 creates, 50 updates, 100 batch reads a second): pages have no part in it.
NOVA_AWS_WRITES_PER_SECOND = env.number("NOVA_AWS_WRITES_PER_SECOND", 48)
NOVA_AWS_READS_PER_SECOND = env.number("NOVA_AWS_READS_PER_SECOND", 90)
NOVA_REDIS_URL = env.text("NOVA_REDIS_URL")
NOVA_WORKERS = env.number("NOVA_WORKERS", 2)
LOG_LEVEL = env.log_level("LOG_LEVEL", "INFO")

if DEBUG and not DATABASE_URL:
    from nova_admin.embedded import postgres

    os.environ["DATABASE_URL"] = DATABASE_URL = postgres.start(LOCAL / "postgres")
DATABASES = {"default": env.database("DATABASE_URL", env.required("DATABASE_URL", DATABASE_URL))}

if DEBUG and not AWS_ENDPOINT_URL:
    from nova_admin.embedded import aws

    AWS_ENDPOINT_URL = aws.start(LOCAL / "aws")
    os.environ["AWS_ENDPOINT_URL_SECRETS_MANAGER"] = AWS_ENDPOINT_URL
    os.environ["NOVA_EMBEDDED_AWS"] = AWS_ENDPOINT_URL
if DEBUG and env.text("NOVA_EMBEDDED_AWS") == AWS_ENDPOINT_URL:
    # It knows no profile; boto3 would refuse one that is not there. A child finds it in `.env` again.
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        os.environ.pop(name, None)
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "embedded")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "embedded")
else:
    env.check_aws(credentials=not DEBUG)

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
    "django.middleware.locale.LocaleMiddleware",
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

# Pages speak the browser's language, or the one that was chosen there; commands, logs and what is stored, English.
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("es", "español")]
LOCALE_PATHS = [BASE_DIR / "locale"]
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_AGE = 365 * 24 * 60 * 60
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
    SECURE_SSL_REDIRECT = env.flag("SECURE_SSL_REDIRECT", default=True)
    SECURE_HSTS_SECONDS = env.number("SECURE_HSTS_SECONDS", 31_536_000, least=0)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = True

# A task takes batches for a minute, and its last ones another (docs/scaling.md). The broker delivers a task again only
# after `retry`, by when `timeout` has ended the first one; a batch done twice is harmless.
Q_CLUSTER = {
    "name": "nova_admin",
    **({"redis": NOVA_REDIS_URL} if NOVA_REDIS_URL else {"orm": "default"}),
    "workers": NOVA_WORKERS,
    # So few wait in a process' hands that each is begun long before `retry`; the others are there for other hosts.
    "queue_limit": NOVA_WORKERS,
    "bulk": 1,
    "poll": 0.5,
    "timeout": 300,
    "retry": 360,
    "max_attempts": 5,
    "ack_failures": False,
    "save_limit": 1000,
    "catch_up": False,
    "label": _("Task queue"),
}

DEFAULT_EXCEPTION_REPORTER_FILTER = "nova_admin.reporting.NoValues"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
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
    "SITE_SUBHEADER": _("Credentials to AWS Secrets Manager"),
    "SITE_SYMBOL": "key",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: static("migration/favicon.svg"),
        }
    ],
    "STYLES": [
        lambda request: static("migration/without_scripts.css"),
        lambda request: static("migration/readable.css"),
    ],
    "SCRIPTS": [lambda request: static("migration/accessible.js")],
    # Unfold's own is too pale for the links of dark pages (4.3 to 1, where WCAG asks 4.5).
    "COLORS": {"primary": {"500": "oklch(66% .24 303.9)"}},
    "DASHBOARD_CALLBACK": "migration.admin.dashboard_context",
    "SIDEBAR": {
        "show_search": False,
        "navigation": [
            {
                "items": [
                    {
                        "title": _("Dashboard"),
                        "icon": "dashboard",
                        "link": reverse_lazy("admin:index"),
                    },
                    {
                        "title": _("Clients"),
                        "icon": "groups",
                        "link": reverse_lazy("admin:credentials_client_changelist"),
                        "permission": needs("credentials.view_client"),
                    },
                    {
                        "title": _("Runs"),
                        "icon": "play_circle",
                        "link": reverse_lazy("admin:migration_run_changelist"),
                        "permission": needs("migration.view_run", "migration.add_run"),
                    },
                    {
                        "title": _("Mismatches"),
                        "icon": "compare_arrows",
                        "link": reverse_lazy("admin:migration_comparison_report"),
                        "permission": needs("migration.view_comparison"),
                    },
                    {
                        "title": _("Requests"),
                        "icon": "approval",
                        "link": reverse_lazy("admin:migration_moverequest_changelist"),
                        "permission": needs("migration.view_moverequest"),
                    },
                ]
            },
            {
                "title": _("Site"),
                "separator": True,
                "items": [
                    {
                        "title": _("Users"),
                        "icon": "person",
                        "link": reverse_lazy("admin:auth_user_changelist"),
                        "permission": needs("auth.view_user"),
                    },
                    {
                        "title": _("Groups"),
                        "icon": "group",
                        "link": reverse_lazy("admin:auth_group_changelist"),
                        "permission": needs("auth.view_group"),
                    },
                ],
            },
        ],
    },
}
