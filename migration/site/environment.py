"""Names the environment of this site, and says where a page is, from what the site already knows."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from django.conf import settings
from django.db import DatabaseError
from django.utils.translation import gettext as _

from migration.core.aws_writes import DATABASE_IS_COPY, WRITES_STOPPED, find_write_refusal
from migration.core.secrets import Secret
from migration.core.sentences import HOST_DIFFERS

# The newest secret is looked for among all: each process asks once in this time.
ACCOUNT_IS_KNOWN_FOR = 300.0
ASKED_AGAIN_AFTER = 10.0  # where no push has met a secret yet
ACCOUNT = re.compile(r"[0-9]{12}")


def name_environment() -> tuple[str, bool]:
    """Return the environment's name and whether it is production, which a site outside development is if unnamed."""
    if name := settings.NOVA_ENVIRONMENT:
        return name, name.casefold().startswith("prod")
    if settings.NOVA_DEMO:
        return _("Demo"), False
    return (_("Development"), False) if settings.DEBUG else (_("Production"), True)


@dataclass(frozen=True)
class Environment:
    """Where a page is, and the colour of its bar."""

    name: str
    looks: str  # "production", "warning" where nothing is written to AWS, or "calm"
    refusal: str  # why nothing is written to AWS, in a word or two
    account: str  # "" where no push has told it yet
    region: str
    endpoint: str  # in words; "" where it is AWS's own


def describe_environment() -> Environment:
    """Describe this site's environment, with AWS account, region and endpoint, without a call to AWS."""
    name, is_production = name_environment()
    try:
        refusal = find_write_refusal()
    except DatabaseError:
        refusal = None  # the page itself says what is wrong with the database
    endpoint = ""
    if settings.EMBEDDED_STORES:
        endpoint = _("AWS is simulated")
    elif settings.AWS_ENDPOINT_URL:
        endpoint = _("endpoint %(endpoint)s") % {"endpoint": settings.AWS_ENDPOINT_URL}
    refusals = {
        WRITES_STOPPED.key: _("AWS writes are stopped"),
        HOST_DIFFERS.key: _("Differs from the other hosts: writes nothing to AWS"),
        DATABASE_IS_COPY.key: _("Duplicate of the database: writes nothing to AWS"),
    }
    return Environment(
        name=name,
        looks="warning" if refusal else "production" if is_production else "calm",
        refusal=refusals.get(refusal.key, _("Writes nothing to AWS")) if refusal else "",
        account=account_cache.find_account(),
        region=settings.AWS_REGION,
        endpoint=endpoint,
    )


class AwsAccountCache:
    """What this process knows of the AWS account: that of the newest secret a push wrote or found equal."""

    def __init__(self) -> None:
        self._account, self._known_until = "", 0.0

    def find_account(self) -> str:
        """Return the account's number; "" where it isn't known."""
        now = time.monotonic()
        if now > self._known_until:
            self.forget()
            try:
                self._account = read_account_of_newest_secret()
            except DatabaseError:
                return ""
            self._known_until = now + (ACCOUNT_IS_KNOWN_FOR if self._account else ASKED_AGAIN_AFTER)
        return self._account

    def forget(self) -> None:
        """Forget the account, so that it is read again for the next page."""
        self._account, self._known_until = "", 0.0


account_cache = AwsAccountCache()


def read_account_of_newest_secret() -> str:
    """Return the account of the newest secret that a push met; nothing where there is none."""
    newest = Secret.objects.order_by("-seen_at").values_list("arn", flat=True).first()
    account = f"{newest or ''}::::".split(":")[4]  # arn:aws:secretsmanager:region:account:…
    return account if ACCOUNT.fullmatch(account) else ""
