"""CSV files as people make them."""

import csv
import io
from collections.abc import Iterable

from tests.factories import make_aws_secret

DATABASE = {
    "db_host": "db.example.test",
    "db_port": "5432",
    "db_name": "app",
    "db_user": "app",
    "db_password": "example-password-1",
}
EMAIL = {"email_user": "invoices@example.test", "email_password": "example-app-password-2"}
AWS = {
    "access_key_id": "EXAMPLEKEYID00000000",
    "secret_access_key": "example/secret/access/key/that/is/no/key",
}


def make_row(slug: str, **cells: str) -> dict[str, str]:
    """A new client with a database login, and what else is named."""
    return {"slug": slug, "name": slug.upper(), **DATABASE, **cells}


def make_csv(*rows: dict[str, str], columns: Iterable[str] = (), delimiter: str = ",") -> bytes:
    names = [*columns] or list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, names, delimiter=delimiter, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def make_full_rows(number: int, *, secret: str = "example-secret") -> list[dict[str, str]]:
    return [
        make_row(f"client-{n}", **EMAIL, **AWS, groups="imported")
        | {
            "db_password": f"{secret}-db-{n}",
            "email_password": f"{secret}-mail-{n}",
            "secret_access_key": make_aws_secret(f"{secret}-aws-{n}"),
        }
        for n in range(number)
    ]
