"""Settings, read from the environment; every one is listed in `.env.example`. Their import starts and changes nothing.

In development (`DEBUG=1`) `manage.py` starts a store that is not named; production refuses to start without real ones.
"""

import os
import socket

from csp.constants import NONCE, NONE, SELF, UNSAFE_INLINE, Nonce
from django.core.exceptions import ImproperlyConfigured

from nova_admin import environment
from nova_admin.environment import (
    decimal_up_to,
    one_of,
    parse_flag,
    split_at_commas,
    whole_number_from,
)
from nova_admin.logs import make_logging
from nova_admin.looks import UNFOLD  # noqa: F401  # a setting
from nova_admin.trusted_proxies import PROTO, TrustedProxies
from nova_credentials.document import Layout, name_problem

BASE_DIR, LOCAL = environment.BASE_DIR, environment.LOCAL

env = environment.Environment(
    DEBUG=(parse_flag, False),
    SECRET_KEY=(str, ""),
    SECRET_KEY_FALLBACKS=(environment.parse_former_keys, []),
    NOVA_FINGERPRINT_KEY=(str, ""),
    **environment.AUDIT_VARIABLES,
    **environment.SECRET_VARIABLES,
    **environment.LOGIN_VARIABLES,
    **environment.MAIL_VARIABLES,
    **environment.NOTICE_VARIABLES,
    **environment.SERVER_VARIABLES,
    **environment.LOG_VARIABLES,
    ALLOWED_HOSTS=(split_at_commas, []),
    CSRF_TRUSTED_ORIGINS=(split_at_commas, []),
    NOVA_TRUSTED_PROXIES=(TrustedProxies.parse, TrustedProxies()),
    SECURE_SSL_REDIRECT=(parse_flag, True),
    SECURE_HSTS_SECONDS=(whole_number_from(0), 31_536_000),
    DATABASE_URL=(str, ""),
    NOVA_DATABASE_NAMES=(environment.parse_database_places, []),
    NOVA_EMBEDDED_DATABASE=(str, ""),
    AWS_REGION=(environment.parse_region, "us-east-1"),
    AWS_ENDPOINT_URL_SECRETS_MANAGER=(environment.parse_url, ""),
    AWS_ENDPOINT_URL=(str, ""),
    NOVA_EMBEDDED_AWS=(str, ""),
    NOVA_LOGIN_PRIVATE_ADDRESSES=(parse_flag, False),
    NOVA_LOGIN_UNVERIFIED_DATABASES=(parse_flag, False),
    NOVA_SECRET_PREFIX=(str, "nova/clients"),
    NOVA_SECRET_LAYOUT=(one_of(*Layout), Layout.CLIENT.value),
    NOVA_CACHE_SECONDS=(decimal_up_to(86_400), 30.0),
    NOVA_STALE_SECONDS=(decimal_up_to(86_400), 0.0),
    NOVA_CLEAN_STREAK=(whole_number_from(0), 3),
    NOVA_DUAL_READ_HOURS=(decimal_up_to(87_600), 24.0),
    NOVA_PURGE_AFTER_DAYS=(decimal_up_to(3_650), 7.0),
    NOVA_ROTATE_AFTER_REVEAL_DAYS=(whole_number_from(0), 0),
    NOVA_MIN_READS=(whole_number_from(0), 20),
    NOVA_ENVIRONMENT=(environment.parse_label, ""),
    NOVA_DEMO=(parse_flag, False),
    NOVA_DEMO_PLACES=(environment.parse_demo_places, {}),
    NOVA_REQUIRE_APPROVAL=(parse_flag, False),
    NOVA_SWEEP_MINUTES=(whole_number_from(1), 15),
    NOVA_AWS_WRITES_PER_SECOND=(whole_number_from(1), 48),
    NOVA_AWS_READS_PER_SECOND=(whole_number_from(1), 90),
    NOVA_REDIS_URL=(environment.parse_redis_url, ""),
    NOVA_HOST_NAME=(environment.parse_label, ""),
    NOVA_WORKERS=(whole_number_from(1), 2),
    NOVA_METRICS_TOKEN=(str, ""),
    NOVA_ERROR_MAILS=(split_at_commas, []),
    # All times are in seconds, but AXES_COOLOFF_TIME is in hours, as in django-axes.
    # A session ends that long after its last use, polls of open pages not counted …
    SESSION_COOKIE_AGE=(whole_number_from(60), 30 * 60),
    # … and that long after the login in any case.
    NOVA_SESSION_LIMIT=(whole_number_from(60), 8 * 60 * 60),
    # So many wrong passwords for one user from one address lock out that pair, for that long since the last of them.
    AXES_FAILURE_LIMIT=(whole_number_from(1), 5),
    AXES_COOLOFF_TIME=(decimal_up_to(24), 0.25),
)

DEBUG = env("DEBUG")

SECRET_KEY = env.require_secret_key()
SECRET_KEY_FALLBACKS = env("SECRET_KEY_FALLBACKS")
# The key of the short codes in comparisons; where it is empty, it is derived from SECRET_KEY.
NOVA_FINGERPRINT_KEY = env.get_strong_key("NOVA_FINGERPRINT_KEY")
NOVA_AUDIT = environment.read_audit_settings(env)
ALLOWED_HOSTS = env.require_value_or_default(
    "ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"] if DEBUG else []
)
CSRF_TRUSTED_ORIGINS = env("CSRF_TRUSTED_ORIGINS")
if not DEBUG:
    environment.require_hosts_or_domains(ALLOWED_HOSTS)
    environment.require_https_origins(CSRF_TRUSTED_ORIGINS)

# The first middleware takes these headers out of every request whose proxy isn't named.
NOVA_TRUSTED_PROXIES = env("NOVA_TRUSTED_PROXIES")
SECURE_PROXY_SSL_HEADER = (PROTO, "https")
USE_X_FORWARDED_HOST = True

# The two stores.
NAMED_STORES = env.list_named_stores()
EMBEDDED_STORES = DEBUG and not NAMED_STORES
DATABASE_URL = env.require_store("DATABASE_URL") or env.require_value_or_default("DATABASE_URL")
DATABASES = {"default": environment.make_database_settings(DATABASE_URL)}
# Further names of the same database; one that is reached by any other is a duplicate, and writes nothing to AWS.
NOVA_DATABASE_NAMES = env("NOVA_DATABASE_NAMES")
AWS_REGION = env("AWS_REGION")
AWS_ENDPOINT_URL = env.get_aws_endpoint()
# Where a login test asks whose an access key is; empty: AWS's own address in the key's region.
AWS_IDENTITY_ENDPOINT = ""
if env.store_is_embedded("AWS_ENDPOINT_URL_SECRETS_MANAGER"):
    AWS_IDENTITY_ENDPOINT = AWS_ENDPOINT_URL
else:
    environment.require_aws_configuration(credentials=not DEBUG)
# Whether a login may be tested at a loopback or private address, and where a database has no certificate that is valid.
NOVA_LOGIN_PRIVATE_ADDRESSES = env("NOVA_LOGIN_PRIVATE_ADDRESSES")
NOVA_LOGIN_UNVERIFIED_DATABASES = env("NOVA_LOGIN_UNVERIFIED_DATABASES")

NOVA_SECRET_LAYOUT = env("NOVA_SECRET_LAYOUT")
# An empty prefix could mean the default or none at all, and where secrets go is never guessed.
NOVA_SECRET_PREFIX = env("NOVA_SECRET_PREFIX").strip("/")
if not NOVA_SECRET_PREFIX or os.environ.get("NOVA_SECRET_PREFIX") == "":
    raise ImproperlyConfigured("NOVA_SECRET_PREFIX is empty. Unset it for nova/clients.")
if problem := name_problem("x", prefix=NOVA_SECRET_PREFIX, layout=Layout(NOVA_SECRET_LAYOUT)):
    raise ImproperlyConfigured(
        f"NOVA_SECRET_PREFIX can't be the prefix of a secret's name: {problem}."
    )
# The KMS key of the secrets and the regions with replicas, each with its key there. None: left as they are.
NOVA_KMS_KEY_ID, NOVA_REPLICA_REGIONS = environment.read_secret_settings(env)
# As NOVA's own processes have them: what they cached, they use for so long, and where AWS is unavailable for longer.
NOVA_CACHE_SECONDS, NOVA_STALE_SECONDS = env("NOVA_CACHE_SECONDS"), env("NOVA_STALE_SECONDS")

# The evidence that a cutover and a purge want, each switched off by 0: comparisons in a row that matched, the time in
# dual read and after the cutover, and reads by NOVA.
NOVA_CLEAN_STREAK = env("NOVA_CLEAN_STREAK")
NOVA_DUAL_READ_HOURS = env("NOVA_DUAL_READ_HOURS")
NOVA_PURGE_AFTER_DAYS = env("NOVA_PURGE_AFTER_DAYS")
# Days after a reveal in which a scheduled rotation comes; 0: a reveal brings none forward.
NOVA_ROTATE_AFTER_REVEAL_DAYS = env("NOVA_ROTATE_AFTER_REVEAL_DAYS")
NOVA_MIN_READS = env("NOVA_MIN_READS")
# What a bar on every page calls this site; without it "Production" outside development.
NOVA_ENVIRONMENT = env("NOVA_ENVIRONMENT")
# Set by `demo` for its processes: pages say that the times are short.
NOVA_DEMO = EMBEDDED_STORES and env("NOVA_DEMO")
# By host and port of a login the port of this machine where the demo itself serves it. Login tests reach these and no
# other place of this machine; empty in production.
NOVA_DEMO_PLACES: dict[tuple[str, int], int] = env("NOVA_DEMO_PLACES") if NOVA_DEMO else {}
# Whether a cutover or a purge that one person asks for has to be approved by another.
NOVA_REQUIRE_APPROVAL = env("NOVA_REQUIRE_APPROVAL")
NOVA_SWEEP_MINUTES = env("NOVA_SWEEP_MINUTES")
# For all workers together, below AWS's quotas (50 creates, 50 updates, 100 batch reads a second). Pages aren't counted.
NOVA_AWS_WRITES_PER_SECOND = env("NOVA_AWS_WRITES_PER_SECOND")
NOVA_AWS_READS_PER_SECOND = env("NOVA_AWS_READS_PER_SECOND")
NOVA_REDIS_URL = env("NOVA_REDIS_URL")
NOVA_WORKERS = env("NOVA_WORKERS")
# By which workers and the audit tell this host from others; containers that share a host's network share its name too.
NOVA_HOST_NAME = env("NOVA_HOST_NAME") or socket.gethostname()
LOG_LEVEL, NOVA_LOG_FORMAT = env("LOG_LEVEL"), environment.read_log_format(env)
# With it /metrics answers; without one there is no such page.
NOVA_METRICS_TOKEN = env.get_strong_key("NOVA_METRICS_TOKEN")

# `migration/checks.py` says in a line of its own, with what to set, what these say.
SILENCED_SYSTEM_CHECKS = [f"security.W0{number}" for number in ("04", "08", "12", "16", "18")]

# Logins: which passwords are refused, who is locked out, when a session ends. `migration/checks.py` names the weak ones
# for `check --deploy`.
SESSION_COOKIE_AGE, NOVA_SESSION_LIMIT = env("SESSION_COOKIE_AGE"), env("NOVA_SESSION_LIMIT")
AXES_FAILURE_LIMIT, AXES_COOLOFF_TIME = env("AXES_FAILURE_LIMIT"), env("AXES_COOLOFF_TIME")
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}", "OPTIONS": options}
    for name, options in (
        ("UserAttributeSimilarityValidator", {}),
        ("MinimumLengthValidator", {"min_length": 12}),
        ("CommonPasswordValidator", {}),
        ("NumericPasswordValidator", {}),
    )
]
# The first one refuses whoever is locked out, before any password is checked.
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "nova_admin.login.permissions.PermissionBackend",
]

# The end of a session is kept with it in the database, so its cookie says nothing of it: it goes with the browser.
SESSION_ENGINE = "nova_admin.session_store"
SESSION_EXPIRE_AT_BROWSER_CLOSE = True

AXES_ENABLED = True
# By the pair, so that nobody can lock out somebody who is at another address. The handler adds the lock of an address.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_HANDLER = "nova_admin.login.lockout.LoginHandler"
AXES_CLIENT_IP_CALLABLE = "nova_admin.login.lockout.get_address"
AXES_USERNAME_CALLABLE = "nova_admin.login.lockout.get_account"
AXES_LOCKOUT_CALLABLE = "nova_admin.login.lockout.answer_locked_out"
# Who goes on trying is refused without being counted: it would fill the table, and no lock would ever end.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = True
# The site keeps its own records (`migration.WrongPassword`) and shows them on a page of its own.
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False

# django-allauth, of which only the steps of a login and the second factor are used. Guesses are counted by
# `nova_admin.login` and by the lock-out above, not here: allauth's own limits let anybody lock out another.
ACCOUNT_ADAPTER = "nova_admin.login.adapter.LoginAdapter"
ACCOUNT_EMAIL_VERIFICATION = SOCIALACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_RATE_LIMITS = False
ACCOUNT_LOGIN_TIMEOUT = 600
MFA_ADAPTER = "migration.people.second_factors.FactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_RECOVERY_CODES_SHOW_ONCE = True

NOVA_REQUIRE_SECOND_FACTOR = environment.requires_second_factor(env)
NOVA_OIDC = environment.read_oidc_provider(env)

globals().update(environment.read_mail_settings(env))
# Who is mailed what failed, by NOVA_MAIL_URL. The mail holds no value.
ADMINS = [("", address) for address in env("NOVA_ERROR_MAILS")]
EMAIL_SUBJECT_PREFIX = (
    f"[NOVA Admin, {NOVA_ENVIRONMENT or ('development' if DEBUG else 'production')}] "
)
NOVA_NOTIFY = environment.read_notify_settings(env)

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "nova_admin",
    "nova_admin.login",  # its commands stand before those of Django's `auth`
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",  # before `migration`, which records what it counted
    "allauth.account",
    "allauth.socialaccount",
    "allauth.mfa",
    "credentials",
    "migration",
    "django_q",  # its command `qcluster` is replaced by that of `migration`
    *(["nova_admin.embedded"] if DEBUG else []),
]

MIDDLEWARE = [
    "nova_admin.trusted_proxies.believe_trusted_proxies",
    "nova_admin.middleware.name_request",
    "nova_admin.middleware.protect_answers",
    "nova_admin.operating.answer_machines",
    "csp.middleware.CSPMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "nova_admin.traffic.count_answers",
    "nova_admin.malformed_requests.RefuseMalformed",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "nova_admin.middleware.note_actor",
    "nova_admin.session_end.RenewOrEndSessions",
    "allauth.account.middleware.AccountMiddleware",
    "nova_admin.login.middleware.RequireSecondFactor",
    "nova_admin.middleware.ExplainSchemaErrors",
    "nova_admin.middleware.TimesInOwnZone",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "nova_admin.urls"
CSRF_FAILURE_VIEW = "nova_admin.error_pages.show_stale_form"
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
                "nova_admin.session_end.add_session_end",
            ]
        },
    }
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Pages are in the browser's language, or in the one chosen there; commands, logs and stored texts are in English.
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("es", "español")]
LOCALE_PATHS = [BASE_DIR / "locale"]
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_AGE = 365 * 24 * 60 * 60
# That of who has chosen none (`migration.people.time_zones`), and of all that is stored, counted by day or scheduled.
TIME_ZONE = "UTC"
USE_TZ = True
FORMAT_MODULE_PATH = ["nova_admin.formats"]
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

# What a page may load, run and send to: whoever gets text into a page gets no script to run with it. django-csp sends
# it with every answer. Each exception has its reason beside it.
CONTENT_SECURITY_POLICY: dict[str, dict[str, list[str | Nonce]]] = {
    "DIRECTIVES": {
        "default-src": [NONE],
        # Static files alone: no <script> with text in it, no onclick, no text that becomes a script. Unfold's menus are
        # Alpine's, which makes scripts of attributes; its build for policies (static/vendor/alpinejs-csp) parses them.
        "script-src": [SELF],
        # An exception: a <style> with the colours of UNFOLD["COLORS"] stands in each page. It has the answer's nonce.
        "style-src-elem": [SELF, NONCE],
        # An exception: bars of progress and some of Unfold's and Django's widgets have sizes in `style`. It styles its
        # own element alone. Rules of a <style> could tell what is in a field, letter by letter; they need the nonce.
        "style-src-attr": [UNSAFE_INLINE],
        "img-src": [SELF],
        "font-src": [SELF],
        "connect-src": [SELF],  # what htmx asks for
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}

if not DEBUG:
    SECURE_SSL_REDIRECT = env("SECURE_SSL_REDIRECT")
    SECURE_HSTS_SECONDS = env("SECURE_HSTS_SECONDS")
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = True
    # By these names browsers take a cookie from this host by https alone, so no neighbour's page can set one.
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-sessionid", "__Host-csrftoken"

Q_CLUSTER = environment.make_queue_settings(NOVA_REDIS_URL, NOVA_WORKERS)

DEFAULT_EXCEPTION_REPORTER_FILTER = "nova_admin.reporting.NoValues"
DEFAULT_EXCEPTION_REPORTER = "nova_admin.reporting.ErrorReport"

LOGGING = make_logging(NOVA_LOG_FORMAT, LOG_LEVEL, mails_errors=bool(ADMINS))
