"""Reads the licence of an installed distribution, by the names of SPDX, and says whether it is allowed."""

import re
from importlib.metadata import Distribution

PERMISSIVE = {
    *(
        "MIT",
        "MIT-0",
        "Apache-2.0",
        "BSD",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "PSF-2.0",
        "CNRI-Python",
    ),
}
# Used as libraries, unchanged: psycopg (LGPL), certifi (MPL).
PRODUCTION = PERMISSIVE | {"LGPL-3.0-only", "MPL-2.0"}
# Nothing of it is delivered: NOVA's other driver.
DEVELOPMENT = PRODUCTION | {"LGPL"}

# What authors wrote before metadata had a field for SPDX's names.
WRITTEN = {
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "GNU Library or Lesser General Public License (LGPL)": "LGPL",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
# Their metadata says nothing: read in their repositories.
READ_BY_HAND = {"axe-playwright-python": "MIT"}


def licence_of(distribution: Distribution) -> str:
    """The licence as an expression of SPDX's names; what nobody has read yet as it was written, or empty."""
    metadata = distribution.metadata
    if expression := metadata.get("License-Expression"):
        return expression
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in metadata.get_all("Classifier") or []
        if line.startswith("License :: ") and line != "License :: OSI Approved"
    ]
    written = classifiers or [(metadata.get("License") or "").strip()]
    name = metadata["Name"].lower()
    return " OR ".join(
        filter(None, (WRITTEN.get(text, text) for text in written))
    ) or READ_BY_HAND.get(name, "")


def is_allowed(expression: str, allowed: set[str]) -> bool:
    """One of the alternatives, and of that everything. Parentheses are not read: what has them is refused."""
    return any(
        all(part.strip() in allowed for part in re.split(r" AND ", alternative))
        for alternative in re.split(r" OR ", expression)
    )
