"""Every locked distribution has a licence that was allowed."""

from email.message import Message
from importlib.metadata import distribution
from types import SimpleNamespace

import pytest
from packaging.markers import Marker

from tests.dependencies.licences import DEVELOPMENT, PRODUCTION, is_allowed, licence_of
from tests.dependencies.locking import ROOT, locked_versions


def installed_names(lock):
    locked = locked_versions((ROOT / lock).read_text())
    return [one.name for one in locked if not one.marker or Marker(one.marker).evaluate()]


@pytest.mark.parametrize(
    ("lock", "allowed"),
    [
        ("requirements.lock", PRODUCTION),
        ("requirements-redis.lock", PRODUCTION),
        ("requirements-dev.lock", DEVELOPMENT),
    ],
)
def test_every_licence_is_allowed(lock, allowed):
    licences = {name: licence_of(distribution(name)) for name in installed_names(lock)}
    assert len(licences) > 15
    assert {name: said for name, said in licences.items() if not is_allowed(said, allowed)} == {}


def described(**fields):
    metadata = Message()
    for name, values in {"Name": "Example", **fields}.items():
        for value in values if isinstance(values, list) else [values]:
            metadata[name.replace("_", "-")] = value
    return SimpleNamespace(metadata=metadata)


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ({"License_Expression": "MIT AND PSF-2.0", "License": "other"}, "MIT AND PSF-2.0"),
        ({"License": "BSD-3-Clause"}, "BSD-3-Clause"),
        ({"License": "GPL", "Classifier": ["License :: OSI Approved :: MIT License"]}, "MIT"),
        ({"License": "Apache 2.0"}, "Apache-2.0"),
        (
            {"Classifier": [f"License :: OSI Approved :: {one}" for one in ("BSD License", "X")]},
            "BSD OR X",
        ),
        ({"License": "What nobody has read"}, "What nobody has read"),
        ({}, ""),
    ],
)
def test_a_licence_is_read_where_it_stands(fields, licence):
    assert licence_of(described(**fields)) == licence


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("Apache-2.0 OR BSD-2-Clause", True),
        ("GPL-3.0-only OR MIT", True),
        ("GPL-3.0-only", False),
        ("AGPL-3.0-only AND MIT", False),
        ("(MIT)", False),
        ("EUPL-1.2", False),
        ("", False),
    ],
)
def test_what_is_not_on_the_list_is_refused(expression, allowed):
    assert is_allowed(expression, PRODUCTION) is allowed
