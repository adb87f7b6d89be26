"""The settings of a test run: the site's own, read in surroundings that no machine's environment can change."""

import os
import secrets

from tests import scratch
from tests.templates import RUN

SCRATCH, is_deleted = scratch.choose_folder()

if "PYTEST_XDIST_WORKER" not in os.environ:
    from nova_admin.embedded import postgres

    # A server for the tests alone.
    os.environ["DATABASE_URL"] = postgres.start_server(
        SCRATCH if is_deleted else SCRATCH / "postgres",
        keep=not is_deleted,
        settings=scratch.SERVER_SETTINGS,
    )
    # The workers inherit it.
    os.environ[scratch.FOLDER] = str(SCRATCH)
    os.environ["SECRET_KEY"] = secrets.token_urlsafe(64)
    os.environ[RUN] = f"{os.getpid()}_{secrets.token_hex(4)}"

os.environ["DEBUG"] = "1"
# Each worker puts its own in place (`aws` in conftest.py); until then nothing answers.
os.environ["AWS_ENDPOINT_URL_SECRETS_MANAGER"] = "http://127.0.0.1:1"
# The embedded AWS has no quota of its own: nothing waits.
os.environ["NOVA_AWS_WRITES_PER_SECOND"] = os.environ["NOVA_AWS_READS_PER_SECOND"] = "2000"
# Most tests are about something else than evidence: one comparison in the phase is enough for them. The tests of each
# line, in tests/migration/moves/evidence, want what production wants.
os.environ |= {
    "NOVA_CLEAN_STREAK": "1",
    **dict.fromkeys(("NOVA_DUAL_READ_HOURS", "NOVA_PURGE_AFTER_DAYS", "NOVA_MIN_READS"), "0"),
}
os.environ["AWS_ACCESS_KEY_ID"] = os.environ["AWS_SECRET_ACCESS_KEY"] = "embedded"
for name in (
    *("NOVA_SECRET_PREFIX", "NOVA_SECRET_LAYOUT", "NOVA_REQUIRE_APPROVAL"),
    *("NOVA_KMS_KEY_ID", "NOVA_REPLICA_REGIONS"),
    *(
        "AWS_REGION",
        "AWS_PROFILE",
        "AWS_ENDPOINT_URL",
        "NOVA_EMBEDDED_DATABASE",
        "NOVA_EMBEDDED_AWS",
    ),
    *("NOVA_FINGERPRINT_KEY", "NOVA_AUDIT_KEY", "NOVA_AUDIT_OLD_KEYS", "NOVA_AUDIT_WEBHOOK"),
    *("NOVA_NOTIFY_URLS", "NOVA_NOTIFY_EMAILS", "NOVA_NOTIFY_LANGUAGE"),
    *("NOVA_REDIS_URL", "NOVA_HOST_NAME", "Q_CLUSTER_NAME"),
):
    os.environ.pop(name, None)

from nova_admin.settings import *  # noqa: E402, F403

# No `collectstatic` before a test: without its folder WhiteNoise warns.
WHITENOISE_AUTOREFRESH = True
# The real hashers are slow on purpose, and no test is about them.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
