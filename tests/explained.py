"""How many rows of a table PostgreSQL reads for the statements of some work: what a plan that grows gives away."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext


def count_rows_read(table: str, work: Callable[[], object]) -> int:
    """Do the work, then run its SELECTs of the table once more under EXPLAIN; return the most that one read."""
    with CaptureQueriesContext(connection) as captured:
        work()
    statements = [query["sql"] for query in captured if query["sql"].startswith("SELECT")]
    return max(_count_rows(sql, table) for sql in statements if table in sql)


def _count_rows(sql: str, table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql.replace('%', '%%')}", [])
        (found,) = cursor.fetchone()
    plans = found if isinstance(found, list) else json.loads(found)
    return sum(
        round((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
        for node in _list_nodes(plans[0]["Plan"])
        if node.get("Relation Name") == table
    )


def _list_nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from _list_nodes(child)
