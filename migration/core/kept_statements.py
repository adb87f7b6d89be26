"""Keeps a long statement as SQL: to put it together takes Django longer than it takes PostgreSQL to answer it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, Generic, TypeVar

from django.db import connections
from django.db.models import Model, QuerySet

AnyModel = TypeVar("AnyModel", bound="Model")


class KeptStatement(Generic[AnyModel]):
    """A queryset's statement, put together once for parameters in whose place each use has its own."""

    def __init__(self, rows: QuerySet[AnyModel]) -> None:
        self._rows = rows
        self._compiler: Any = rows.query.get_compiler(rows.db)
        self._sql, params = self._compiler.as_sql()
        self._compiler.connection = None  # it is this thread's alone
        self.params: Sequence[Any] = params

    def fetch(self, take: Callable[[Any], Any]) -> list[AnyModel]:
        """Return the rows, as the queryset would with what `take` makes of each parameter."""
        params = tuple(map(take, self.params))
        compiler = copy(self._compiler)
        compiler.connection = connections[self._rows.db]
        compiler.as_sql = lambda *_args, **_named: (self._sql, params)
        found = self._rows.all()
        query: Any = found.query
        query.get_compiler = lambda *_args, **_named: compiler
        return list(found)
