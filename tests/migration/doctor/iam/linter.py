"""Parliament, a linter of policies that knows AWS's actions, resources and condition keys offline."""

import json
import sys
import types
import warnings
from importlib.resources import files
from typing import Any

import pytest

# It asks setuptools where its own files are, which nothing here has.
FINDER = types.ModuleType("pkg_resources")
FINDER.resource_filename = lambda package, name: str(files(package).joinpath(name))
with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
    patch.setitem(sys.modules, "pkg_resources", FINDER)
    # It leaves its own files open, and has escapes that Python no longer likes.
    warnings.simplefilter("ignore")
    from parliament import analyze_policy_string


# A condition key of the resource (a KMS key), which the linter looks for among those of the action.
OF_RESOURCES = "Unknown condition kms:ResourceAliases for action kms:"


def lint(policy: dict[str, Any]) -> list[str]:
    """What it finds, empty where nothing is wrong."""
    found = analyze_policy_string(json.dumps(policy)).findings
    told = [f"{finding.issue}: {finding.detail}" for finding in found]
    return [each for each in told if OF_RESOURCES not in each]
