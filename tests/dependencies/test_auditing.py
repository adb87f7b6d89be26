"""An audit that did not happen is never called clean, whatever the tool says of it."""

import json
import sys

import pytest

from tests.dependencies import auditing
from tests.dependencies.auditing import CLEAN, FOUND, NOT_AUDITED, main, rounds_of

# pip-audit as it answers: the report on standard output, the rest on standard error.
STUB = """
import json, pathlib, sys, threading
said = json.loads(pathlib.Path(__file__).with_name("said.json").read_text())
if said.get("waits"):
    threading.Event().wait()
asked = [line.split("==") for line in open(sys.argv[-1]).read().splitlines()]
assert "--strict" in sys.argv
advisories, skipped = said.get("advisories", {}), said.get("skipped", [])
answers = [
    {"name": name, "skip_reason": "not found"} if name in skipped
    else {"name": name, "version": version, "vulns": advisories.get(name, [])}
    for name, version in asked if name not in said.get("left_out", [])
]
print(said.get("report", json.dumps({"dependencies": answers, "fixes": []})))
print(said.get("errors", "No known vulnerabilities found"), file=sys.stderr, end="")
found = any(answer.get("vulns") for answer in answers)
sys.exit(said.get("exit", int(found)))
"""
ADVISORY = {"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": [], "description": "…"}


@pytest.fixture
def audit(tmp_path, capsys):
    (tmp_path / "requirements.lock").write_text("example==1 \\\n")
    (tmp_path / "requirements-dev.lock").write_text(
        "example==1 \\\nboth==1 ; python_version < '3.12' \\\nboth==2 ; python_version >= '3.12' \\\n"
    )
    stub = tmp_path / "stub.py"
    stub.write_text(STUB)

    def audit(**said):
        (tmp_path / "said.json").write_text(json.dumps(said))
        code = main([sys.executable, "-I", "-S", str(stub)], tmp_path)
        return code, "".join(capsys.readouterr())

    return audit


def test_every_version_of_both_locks_was_audited(audit):
    assert audit() == (CLEAN, "3 versions audited, no advisory is known.\n")


def test_an_advisory_is_named_with_what_mends_it(audit):
    code, said = audit(advisories={"example": [ADVISORY]})
    assert code == FOUND
    assert said.startswith("example 1: PYSEC-1, fixed in 1.1\n")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"report": '{"dependencies": []}'}, "left out"),
        ({"left_out": ["both"]}, "left out both 1"),
        ({"skipped": ["example"]}, "left out example 1"),
        ({"report": ""}, "No known vulnerabilities found"),
        ({"report": "[]"}, "No known vulnerabilities found"),
        ({"errors": "ERROR:pip_audit._cli:Could not connect", "exit": 1}, "Could not connect"),
        ({"errors": "ERROR:pip_audit._cli:Could not connect", "exit": 0}, "Could not connect"),
        ({"report": "", "errors": "Traceback\nrequests.ConnectionError", "exit": 1}, "ConnectionE"),
        ({"exit": 2}, "ended with 2 and named 0"),
        ({"advisories": {"example": [ADVISORY]}, "exit": 0}, "ended with 0 and named 1 advisories"),
        ({"errors": "", "report": "", "exit": 137}, "ended with 137"),
        ({"exit": 1}, "ended with 1 and named 0 advisories"),
    ],
)
def test_what_was_not_audited_is_not_called_clean(audit, said, reason):
    code, printed = audit(**said)
    assert code == NOT_AUDITED
    assert reason in printed
    assert "Not audited" in printed
    assert "no advisory is known" not in printed


def test_locks_without_a_version_are_not_clean(audit, tmp_path):
    (tmp_path / "requirements.lock").write_text("")
    (tmp_path / "requirements-dev.lock").write_text("")
    code, printed = audit()
    assert code == NOT_AUDITED
    assert "The locks name no version." in printed


def test_a_tool_that_is_missing_is_no_audit(tmp_path, audit, capsys):
    assert main([str(tmp_path / "nothing")], tmp_path) == NOT_AUDITED
    assert "can't be run" in capsys.readouterr().err


def test_a_tool_that_never_ends_is_no_audit(audit, monkeypatch):
    monkeypatch.setattr(auditing, "TIMEOUT_SECONDS", 0.2)
    code, printed = audit(waits=True)
    assert code == NOT_AUDITED
    assert "did not end" in printed


def test_what_was_found_before_an_audit_failed_is_printed(audit):
    code, printed = audit(advisories={"example": [ADVISORY]}, left_out=["both"])
    assert code == NOT_AUDITED
    assert "left out both 1" in printed


def test_a_round_names_a_package_once():
    assert rounds_of({("a", "1"), ("a", "2"), ("b", "1")}) == [{"a": "1", "b": "1"}, {"a": "2"}]
