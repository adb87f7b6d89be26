"""Writes lists for PostgreSQL: as one parameter, and without psycopg's regular expression for each quote of an element.

Django's bulk inserts are made of lists; where the elements are JSON, the quotes took half of the insert's time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import EmptyResultSet
from django.db.backends.base.operations import BaseDatabaseOperations
from django.db.models.fields.json import KeyTransformIn
from psycopg.types import array

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models.lookups import In
    from django.db.models.sql.compiler import SQLCompiler


_INTEGER_RANGES = {
    name: limits
    for name, limits in BaseDatabaseOperations.integer_field_ranges.items()
    if name.endswith(("IntegerField", "AutoField"))
}
_INTEGER_TYPES = {2**15 - 1: "smallint", 2**31 - 1: "integer", 2**63 - 1: "bigint"}


class _Escapes:
    """Puts a backslash before each double quote and backslash."""

    @staticmethod
    def sub(_replacement: bytes, element: bytes | bytearray | memoryview) -> bytes:
        return bytes(element).replace(b"\\", rb"\\").replace(b'"', rb"\"")


class FastListDumper(array.ListDumper):
    # The name is psycopg's own: if it ever goes, this takes longer and writes the same.
    _re_esc = _Escapes  # type: ignore[assignment]


def write_list_as_one_parameter(
    lookup: In[Any], compiler: SQLCompiler, connection: BaseDatabaseWrapper
) -> tuple[str, list[Any] | tuple[Any, ...]]:
    """Write `IN (a, b, …)` as `= ANY(list)`: a statement has 65,535 parameters, and a selection more clients."""
    if not lookup.rhs_is_direct_value() or isinstance(lookup, KeyTransformIn):
        return lookup.as_sql(compiler, connection)
    list_sql, values = lookup.process_rhs(compiler, connection)
    if list_sql != f"({', '.join(['%s'] * len(values))})":  # has expressions
        return lookup.as_sql(compiler, connection)
    left, left_params = lookup.process_lhs(compiler, connection)
    field = lookup.lhs.output_field
    field = getattr(field, "target_field", field)
    if (field_range := _INTEGER_RANGES.get(field.get_internal_type())) is None:
        return f"{left} = ANY(%s)", [*left_params, [*values]]
    # Of the column's own type: only then does PostgreSQL look each row's number up, and not through all of them.
    lowest, highest = field_range
    if not (fitting := [value for value in values if lowest <= int(value) <= highest]):
        raise EmptyResultSet
    return f"{left} = ANY(%s::{_INTEGER_TYPES[highest]}[])", [*left_params, fitting]
