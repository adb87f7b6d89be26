"""A plugin of pytest: asks the policies about every call of the run that reaches an embedded AWS of its processes.

A call of the site or of NOVA's reader that its policy doesn't allow fails the test that made it. Where the whole suite
was run, a permission that no call needed fails the run. What a test itself asks of AWS is nobody's call.
"""

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from migration.doctor.iam import PolicyFacts, Role, list_permissions, make_policy
from migration.logins.rotations import DatabaseRotation
from nova_admin.embedded import service
from nova_credentials.aws.secrets_manager import SecretsManager
from nova_credentials.document import Layout
from tests.migration.doctor.iam.calls import find_role, needed_requests
from tests.migration.doctor.iam.evaluator import Request, allows

ROOT = f"{Path(__file__).resolve().parents[4]}{os.sep}"
OF_AWS, OF_TESTS = f"{ROOT}nova_credentials{os.sep}aws{os.sep}", f"{ROOT}tests{os.sep}"
BY_A_TEST, BY_A_TRIAL = "by-a-test", "by-a-trial"
OF_TRIALS = f"{OF_AWS}probes.py"
OUTPUT = "iam_permissions_used"
BOTH = frozenset(Layout)

Used = set[tuple[str, str]]  # role and action
Replicas = tuple[tuple[str, str], ...]  # region and KMS key there


class Recorder:
    """What the calls of this process' run needed, and what no policy allows."""

    def __init__(self) -> None:
        self.used: Used = set()
        self.refused: list[str] = []
        # Most calls are like one before: of the same name, with the same tags.
        self._allowed: set[tuple[Any, ...]] = set()
        self._rotations = 0
        self._lock = threading.Lock()

    @contextmanager
    def rotating(self) -> Iterator[None]:
        """Meanwhile the site's calls are those of a rotation, and have to be allowed to who only rotates, too."""
        with self._lock:
            self._rotations += 1
        try:
            yield
        finally:
            with self._lock:
                self._rotations -= 1

    def judge(
        self, user_agent: str, operation: str, parameters: Any, secrets: Any, region: str
    ) -> None:
        role = find_role(user_agent)
        if not role or BY_A_TEST in user_agent:
            return
        roles = [role, "rotation"] if role == "admin" and self._rotations else [role]
        for request in needed_requests(operation, parameters, secrets, region):
            for each in roles:
                uses = BY_A_TRIAL not in user_agent
                place = {"prefix": settings.NOVA_SECRET_PREFIX, "region": region}
                self.note(each, request, **place, uses=uses)

    def note(self, role: str, request: Request, *, prefix: str, region: str, uses: bool) -> None:
        if request.action.startswith("kms:"):  # its tests name the key
            return
        asked = (
            uses,
            role,
            prefix,
            region,
            request.action,
            request.resource,
            read_replicas(),
            *request.context.items(),
        )
        if asked in self._allowed:
            return
        if allows([policy_of(role, prefix, region, read_replicas())], request):
            self._allowed.add(asked)
            if uses:
                self.used.add((role, request.action))
        else:
            test = os.environ.get("PYTEST_CURRENT_TEST", "")
            self.refused.append(f"{role}: {request} in {test}")

    def take_refused(self) -> list[str]:
        refused, self.refused = self.refused, []
        return refused


def read_replicas() -> Replicas | None:
    """The replicas of the settings now, which a test may set."""
    replicas = settings.NOVA_REPLICA_REGIONS
    return None if replicas is None else tuple(replicas.items())


@cache
def policy_of(
    role: str, prefix: str, region: str, replicas: Replicas | None = None
) -> dict[str, Any]:
    named = None if replicas is None else dict(replicas)
    facts = PolicyFacts(service.ACCOUNT, region, prefix, BOTH, replicas=named)
    return make_policy(Role(role), facts)


def find_never_made(used: Used) -> list[str]:
    """The permissions that a policy gives and no call needed."""
    given = {
        (role.value, each.action)
        for role in Role
        for each in list_permissions(role, BOTH, kms=False, replicas={"eu-west-1": ""})
    }
    return [f"{role}: {action}" for role, action in sorted(given - used)]


recorder = Recorder()
heard = threading.local()


def listen_to_servers() -> None:
    """Hear each call where it arrives, also of processes that the tests start."""
    read_region, perform = service._read_region, service.SecretsManagerService._perform_operation

    def read_region_and_caller(environ: Any) -> str:
        heard.user_agent, heard.region = environ.get("HTTP_USER_AGENT", ""), read_region(environ)
        return heard.region

    def judge_and_perform(self, backend, operation, parameters) -> str:
        secrets = backend.secrets
        recorder.judge(heard.user_agent, operation, parameters, secrets, heard.region)
        return perform(self, backend, operation, parameters)

    service._read_region = read_region_and_caller
    service.SecretsManagerService._perform_operation = judge_and_perform


def mark_calls_of_tests() -> None:
    """Have this process' clients say which calls a test makes itself, as somebody else's or to look."""
    make = SecretsManager.__init__

    @wraps(make)
    def make_and_mark(self, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        self.sm.meta.events.register_first("before-send.secrets-manager", mark)

    SecretsManager.__init__ = make_and_mark


def mark(request: Any, **_: Any) -> None:
    # botocore writes it anew when it signs, which it isn't part of.
    if is_of_test():
        request.headers["User-Agent"] += f" {BY_A_TEST}".encode()
    elif is_of_trial():
        request.headers["User-Agent"] += f" {BY_A_TRIAL}".encode()


def is_of_test() -> bool:
    """Whether the nearest code of this project, other than the client itself, is a test's."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if (
            name.startswith(ROOT)
            and not name.startswith((OF_AWS, __file__))
            and ".venv" not in name
        ):
            return name.startswith(OF_TESTS)
        frame = frame.f_back
    return False


def is_of_trial() -> bool:
    """Whether `check_aws` tries a permission: it has to be allowed, and is no use of it."""
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename == OF_TRIALS:
            return True
        frame = frame.f_back
    return False


def tell_rotations() -> None:
    finish_steps = DatabaseRotation.finish_steps

    @wraps(finish_steps)
    def go_on_and_tell(self) -> None:
        with recorder.rotating():
            finish_steps(self)

    DatabaseRotation.finish_steps = go_on_and_tell


def pytest_sessionstart() -> None:
    listen_to_servers()
    mark_calls_of_tests()
    tell_rotations()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    if refused := recorder.take_refused():
        pytest.fail("no policy allows:\n" + "\n".join(refused), pytrace=False)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    recorder.used |= {tuple(used) for used in getattr(node, "workeroutput", {}).get(OUTPUT, ())}


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    config = session.config
    if hasattr(config, "workerinput"):
        config.workeroutput[OUTPUT] = sorted(recorder.used)
    elif (
        exitstatus == pytest.ExitCode.OK
        and is_whole(config.option, config.args)
        and (never := find_never_made(recorder.used))
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        config.stash[NEVER_MADE] = never


NEVER_MADE = pytest.StashKey[list[str]]()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if never := config.stash.get(NEVER_MADE, None):
        terminalreporter.section("Permissions in a policy that no call of the suite needs")
        terminalreporter.write_line("\n".join(never), red=True)


NARROWED = ("keyword", "markexpr", "lf", "failedfirst", "newfirst", "stepwise", "deselect")
NARROWED += ("ignore", "ignore_glob", "collectonly")


def is_whole(option: Any, args: Iterable[str]) -> bool:
    """Whether every test was asked for: a part of them says nothing about what is never made."""
    narrowed = any(getattr(option, name, None) for name in NARROWED)
    return not narrowed and [Path(arg).resolve() for arg in args] == [Path(OF_TESTS)]
