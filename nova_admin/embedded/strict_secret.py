"""Owns an embedded secret with its versions and labels, and the index of all secrets. Knows no operation."""

import json
import re
import time
from collections.abc import Iterable
from typing import Any, Self, cast

from moto.core.exceptions import JsonRESTError
from moto.secretsmanager.models import FakeSecret, ReplicaSecret, SecretsStore

from nova_admin.embedded.secret_files import State

MAX_LABELS = 20
MAX_VERSIONS = 100
PRUNE_AFTER_SECONDS = 86_400

_ARN_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}$")


class LimitExceededError(JsonRESTError):
    code = 400

    def __init__(self, message: str) -> None:
        super().__init__("LimitExceededException", message)


class StrictSecret(FakeSecret):
    """A secret whose staging labels move as in AWS: a label is on one version at most."""

    def __new__(cls, *_: object, **__: object) -> Self:
        return object.__new__(cls)  # moto would keep every copy alive in a list of instances

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Region -> what DescribeSecret says of the replica there. No replica holds a value here.
        self.replica_states: dict[str, dict[str, str]] = {}

    @classmethod
    def from_state(cls, state: State) -> Self:
        secret = cls.__new__(cls)
        vars(secret).update({"replica_states": {}} | state)
        return secret

    @property
    def state(self) -> State:
        return vars(self)

    def to_dict(self) -> dict[str, Any]:
        described = super().to_dict()
        if self.replica_states:
            described["ReplicationStatus"] = self.list_replicas()
            described["PrimaryRegion"] = self.region
        return described

    def list_replicas(self) -> list[dict[str, str]]:
        return [self.replica_states[region] for region in sorted(self.replica_states)]

    def to_short_dict(self, *args: Any, **kwargs: Any) -> str:
        answer = json.loads(super().to_short_dict(*args, **kwargs))
        if self.replica_states:
            answer["ReplicationStatus"] = self.list_replicas()
        return json.dumps(answer)

    def is_past_recovery(self) -> bool:
        return self.deleted_date is not None and self.deleted_date < time.time()

    def add_version(self, version_id: str, value: dict[str, str], labels: Iterable[str]) -> None:
        self.versions[version_id] = {
            "createdate": int(time.time()),
            "version_id": version_id,
            "version_stages": [],
            **value,
        }
        for label in labels:
            self.attach_label(label, version_id)
        self._prune_versions()

    def version_with(self, label: str) -> str | None:
        for version_id, version in self.versions.items():
            if label in version["version_stages"]:
                return version_id
        return None

    def attach_label(self, label: str, version_id: str) -> None:
        """Move the label to this version; the version that loses AWSCURRENT gets AWSPREVIOUS."""
        before = self.version_with(label)
        if before == version_id:
            return
        if before is not None:
            self.detach_label(label, before)
        labels = self.versions[version_id]["version_stages"]
        labels.append(label)
        if label == "AWSCURRENT":
            self.set_default_version_id(version_id)
            if before is not None:
                self.attach_label("AWSPREVIOUS", before)
        if len(labels) > MAX_LABELS:
            raise LimitExceededError(f"A version can't have more than {MAX_LABELS} labels.")

    def detach_label(self, label: str, version_id: str) -> None:
        self.versions[version_id]["version_stages"].remove(label)

    def _form_version_ids_to_stages(self) -> dict[str, str]:
        stages = super()._form_version_ids_to_stages()
        return {version_id: labels for version_id, labels in stages.items() if labels}

    def _prune_versions(self) -> None:
        prunable_from = time.time() - PRUNE_AFTER_SECONDS
        unlabelled = [
            version_id
            for version_id, version in self.versions.items()
            if not version["version_stages"] and version["createdate"] <= prunable_from
        ]
        surplus = max(len(self.versions) - MAX_VERSIONS, 0)
        for version_id in unlabelled[:surplus]:
            del self.versions[version_id]
        if len(self.versions) > MAX_VERSIONS:
            raise LimitExceededError(f"A secret can't have more than {MAX_VERSIONS} versions.")


class SecretIndex(SecretsStore):
    """The index of secrets by name, full ARN or partial ARN."""

    def __init__(self) -> None:
        super().__init__()
        self._names_by_arn: dict[str, str] = {}

    def __setitem__(self, key: str, secret: FakeSecret | ReplicaSecret) -> None:
        dict.__setitem__(self, secret.name, secret)
        self._names_by_arn[secret.arn] = secret.name

    def __getitem__(self, key: str) -> FakeSecret | ReplicaSecret:
        return dict.__getitem__(self, self._find_name(key))

    def __contains__(self, key: str) -> bool:  # type: ignore[override]
        return dict.__contains__(self, self._find_name(key))

    def get(self, key: str) -> StrictSecret | None:  # type: ignore[override]
        return cast("StrictSecret | None", dict.get(self, self._find_name(key)))

    def pop(self, key: str) -> FakeSecret | ReplicaSecret | None:  # type: ignore[override]
        secret = dict.pop(self, self._find_name(key), None)
        if secret is not None:
            del self._names_by_arn[secret.arn]
        return secret

    def _find_name(self, key: str) -> str:
        if dict.__contains__(self, key):
            return key
        if key in self._names_by_arn:
            return self._names_by_arn[key]
        if key.startswith("arn:") and not _ARN_SUFFIX.search(key):
            return key.rpartition(":secret:")[2]
        return key  # AWS treats an ARN that ends like a full one as a full one
