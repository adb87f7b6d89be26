"""The doctor: what `check_nova` and its page ask PostgreSQL, AWS and this host, one module a subject.

A subject is a function that takes `DoctorOptions` and yields `Finding`s; `examination` lists them. What can't be asked
is reported as not looked at, never as well.
"""

from migration.operations.doctor.examination import examine_nova
from migration.operations.doctor.findings import CheckName, Finding, FindingState
from migration.operations.doctor.roles import role_exists

__all__ = ["CheckName", "Finding", "FindingState", "examine_nova", "role_exists"]
