"""Loads the dump of the first release: the database into an empty one, the secrets into a Secrets Manager.

Needs psycopg and a boto3 client alone; knows nothing of either release.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

HERE = Path(__file__).resolve().parent
SECRET_KEY = "key-of-the-first-release-tests-" + "0123456789abcdef" * 3
OF_THEMSELVES = {"AWSCURRENT", "AWSPREVIOUS"}


def load_database(uri: str, folder: Path = HERE) -> None:
    """Executes the dump in an empty database, in one transaction, as whoever connects (a superuser)."""
    with psycopg.connect(uri) as connection:
        connection.execute((folder / "database.sql").read_text("utf-8"))


def load_secrets(client: Any, folder: Path = HERE) -> dict[str, str]:
    """Puts every version with its id, oldest first; answers with the ARN of each secret, which AWS chooses anew."""
    arns = {}
    for secret in json.loads((folder / "secrets.json").read_text("utf-8")):
        name, (first, *later) = secret["name"], secret["versions"]
        made = client.create_secret(
            Name=name,
            Description=secret["description"],
            SecretString=first["text"],
            ClientRequestToken=first["id"],
            Tags=[{"Key": key, "Value": value} for key, value in secret["tags"].items()],
        )
        arns[name] = made["ARN"]
        for version in later:
            aside = sorted(set(version["stages"]) - OF_THEMSELVES)
            client.put_secret_value(
                SecretId=name,
                SecretString=version["text"],
                ClientRequestToken=version["id"],
                **({"VersionStages": aside} if aside else {}),
            )
        if secret["deletion_date"]:
            left = (datetime.fromisoformat(secret["deletion_date"]) - datetime.now(UTC)).days
            client.delete_secret(SecretId=name, RecoveryWindowInDays=min(max(left, 7), 30))
    return arns


def store_arns(uri: str, arns: dict[str, str], schema: str = "public") -> None:
    """Makes the `Secret` rows know the ARNs under which the secrets were made again."""
    with psycopg.connect(uri) as connection:
        connection.cursor().executemany(
            f"UPDATE {schema}.migration_secret SET arn = %s WHERE name = %s",
            [(arn, name) for name, arn in arns.items()],
        )
