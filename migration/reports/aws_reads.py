"""Makes the queries by which CloudTrail tells who read a client's secrets, and lists what the site knows itself.

Asks AWS nothing: the site has no right to read CloudTrail, and needs none.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings

from migration.models.clients import ClientMigration
from migration.models.layouts import find_layout
from migration.models.reads import ReadCount
from migration.models.reveals import Reveal
from migration.models.secrets import Secret
from migration.operations.aws_store import CALLER, secret_names
from nova_credentials.document import name_problem
from nova_credentials.reader.from_aws import CALLER as READER

if TYPE_CHECKING:
    from datetime import datetime

    from credentials.models import Client

MOST_REVEALS = 20
SUFFIX_LENGTH = len("-a1B2c3")
# Each of them is on record by itself where many are read in one call.
READ = "GetSecretValue"
# The site's calls and NOVA's; whatever else reads is somebody whom this site doesn't know.
KNOWN_CALLERS = (CALLER, READER)


@dataclass(frozen=True)
class AwsReadQueries:
    """The CloudTrail queries for reads of one client's secrets, and the reads that the site itself recorded."""

    names: list[str]
    command: str
    sql: str
    reveals: list[Reveal]
    reads: int
    last_read_at: datetime | None


def load_aws_read_queries(client: Client) -> AwsReadQueries | None:
    """Return the CloudTrail queries and recorded reads; None if the slug can't be in a secret's name."""
    own = ClientMigration.objects.filter(pk=client.pk).first() or ClientMigration()
    secret_slug, prefix = own.secret_slug or client.slug, settings.NOVA_SECRET_PREFIX
    if name_problem(secret_slug, prefix=prefix, layout=find_layout(own.layout)):
        return None
    names = list(secret_names(secret_slug, own.layout).values())
    known = Secret.objects.filter(client_id=client.pk).order_by("name")
    arns = dict(known.values_list("name", "arn"))
    names = sorted({*names, *arns})
    counted = ReadCount.objects.filter(client_id=client.pk).first()
    return AwsReadQueries(
        names=names,
        command=make_command(names),
        sql=make_sql(names, list(arns.values())),
        reveals=list(Reveal.objects.filter(client_id=client.pk)[:MOST_REVEALS]),
        reads=counted.reads if counted else 0,
        last_read_at=counted.last_read_at if counted else None,
    )


def make_command(names: list[str]) -> str:
    """Return the command that asks the history that every account keeps for 90 days."""
    named = " || ".join(f"contains(CloudTrailEvent, '{name}')" for name in names)
    wanted = f"Events[?{named}].[EventTime, Username, CloudTrailEvent]"
    return (
        f"aws cloudtrail lookup-events --region {settings.AWS_REGION}"
        f" --lookup-attributes AttributeKey=EventName,AttributeValue={READ}"
        f" --query {shlex.quote(wanted)} --output json"
    )


def make_sql(names: list[str], arns: list[str]) -> str:
    """Return the query for CloudTrail Lake: every read by name or ARN, newest first."""
    # A call may name a secret by its name, its whole ARN, or the ARN without AWS's suffix.
    asked = sorted({*names, *arns, *(arn[:-SUFFIX_LENGTH] for arn in arns)})
    listed = ",\n    ".join(f"'{each}'" for each in asked)
    return (
        "SELECT eventTime, userIdentity.arn, userAgent, sourceIPAddress, errorCode\n"
        "FROM EVENT_DATA_STORE_ID\n"
        "WHERE eventSource = 'secretsmanager.amazonaws.com'\n"
        f"  AND eventName = '{READ}'\n"
        f"  AND element_at(requestParameters, 'secretId') IN (\n    {listed})\n"
        "ORDER BY eventTime DESC"
    )


def make_sql_of_strangers() -> str:
    """Return the query for the reads of all clients by whoever is neither this site nor NOVA's reader."""
    known = "\n".join(f"  AND userAgent NOT LIKE '% {caller}%'" for caller in KNOWN_CALLERS)
    return (
        "SELECT eventTime, eventName, userIdentity.arn, userAgent, sourceIPAddress,\n"
        "    element_at(requestParameters, 'secretId') AS secret\n"
        "FROM EVENT_DATA_STORE_ID\n"
        "WHERE eventSource = 'secretsmanager.amazonaws.com'\n"
        f"  AND eventName = '{READ}'\n"
        f"  AND element_at(requestParameters, 'secretId') LIKE '%{settings.NOVA_SECRET_PREFIX}/%'\n"
        f"{known}\n"
        "ORDER BY eventTime DESC"
    )
