"""Keeps one file for each embedded secret. Knows no rule and no AWS.

A file is written whole under another name and then renamed, so a killed process leaves the old or
the new state, never a part. There is no fsync: a power cut may lose the last writes.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

State = dict[str, Any]


class SecretFiles:
    """The folder of secrets; a state is a JSON object with account_id, region and name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def load_states(self) -> Iterator[State]:
        """Read every state, in no order; raises ValueError that names a damaged file, not its content."""
        for path in self._folder.iterdir():
            if path.suffix == ".new":
                path.unlink()
            elif path.suffix == ".json":
                yield _read_state(path)

    def write_secret_state(self, state: State) -> None:
        path = self._path_of(state)
        fresh = path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            json.dump(state, file)
        fresh.replace(path)

    def remove_state(self, state: State) -> None:
        self._path_of(state).unlink(missing_ok=True)

    def _path_of(self, state: State) -> Path:
        # A hash, because a name can be longer than a file name may be, and holds slashes.
        key = "/".join((state["account_id"], state["region"], state["name"]))
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()}.json"


def _read_state(path: Path) -> State:
    try:
        state: State = json.loads(path.read_bytes())
    except ValueError:
        # "from None": a JSONDecodeError carries the whole text.
        raise ValueError(f"{path} is damaged; remove it to lose only this secret") from None
    return state
