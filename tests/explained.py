"""How many rows of a table PostgreSQL reads for the statements of some work: what a plan that grows gives away."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from django.db import connection, transaction


def count_rows_read(table: str, work: Callable[[], object]) -> int:
    """Do the work, each statement about the table first under EXPLAIN; return the most rows that one of them read."""
    read = [0]

    def explain_first(execute, sql, params, many, context):
        if table in sql and sql.split(maxsplit=1)[0] in ("SELECT", "UPDATE", "WITH"):
            read.append(_count_rows(sql, params, table))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain_first):
        work()
    return max(read)


def _count_rows(sql: str, params: Any, table: str) -> int:
    with connection.cursor() as cursor, transaction.atomic():
        # Under the wrapper of who asks, which explains no EXPLAIN; what it changes is undone.
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", params)
        (found,) = cursor.fetchone()
        transaction.set_rollback(True)
    plans = found if isinstance(found, list) else json.loads(found)
    return sum(
        round((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
        for node in _list_nodes(plans[0]["Plan"])
        if node.get("Relation Name") == table and node["Node Type"] != "ModifyTable"
    )


def _list_nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from _list_nodes(child)
