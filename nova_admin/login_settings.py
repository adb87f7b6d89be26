"""Settings of logins, taken over by `settings`: which passwords are refused, who is locked out, when a session ends.

`migration/checks.py` names the weak ones for `check --deploy`.
"""

from collections.abc import Callable

from nova_admin.environment import decimal_up_to, whole_number_from

# The variables of the environment. All times are in seconds, but AXES_COOLOFF_TIME is in hours, as in django-axes.
LOGIN_VARIABLES: dict[str, tuple[Callable[[str], object], object]] = {
    # A session ends that long after its last use, polls of open pages not counted …
    "SESSION_COOKIE_AGE": (whole_number_from(60), 30 * 60),
    # … and that long after the login in any case.
    "NOVA_SESSION_LIMIT": (whole_number_from(60), 8 * 60 * 60),
    # So many wrong passwords for one user from one address lock out that pair, for that long since the last of them.
    "AXES_FAILURE_LIMIT": (whole_number_from(1), 5),
    "AXES_COOLOFF_TIME": (decimal_up_to(24), 0.25),
}

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
AXES_HANDLER = "nova_admin.login_lockout.LoginHandler"
AXES_CLIENT_IP_CALLABLE = "nova_admin.login_lockout.get_address"
AXES_USERNAME_CALLABLE = "nova_admin.login_lockout.get_account"
AXES_LOCKOUT_CALLABLE = "nova_admin.login_lockout.answer_locked_out"
# Who goes on trying is refused without being counted: it would fill the table, and no lock would ever end.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = True
# The site keeps its own records (`migration.WrongPassword`) and shows them on a page of its own.
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
