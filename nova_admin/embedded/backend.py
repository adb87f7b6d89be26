"""Adds to moto's Secrets Manager the rules of AWS that moto lacks: of secrets, their versions and calls.

Knows no HTTP and no file.
"""

import copy
import json
import re
import time
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Self, cast

from moto.core.exceptions import JsonRESTError
from moto.secretsmanager.exceptions import (
    InvalidParameterException,
    InvalidRequestException,
    ResourceExistsException,
    ResourceNotFoundException,
    SecretNotFoundException,
    SecretsManagerClientError,
    ValidationException,
)
from moto.secretsmanager.models import (
    FakeSecret,
    ReplicaSecret,
    SecretsManagerBackend,
    SecretsStore,
    _matches,
)

from nova_credentials.aws.kms_keys import AWS_KEY, KMS_ARN, KMS_NAME

MAX_PAGE = 100
MAX_NAME = 512
MAX_LABELS = 20
MAX_VERSIONS = 100
PRUNE_AFTER_SECONDS = 86_400
MAX_VALUE_BYTES = 65_536
MAX_BATCH = 20
MAX_TAGS = 50
MAX_TAG_KEY = 128
MAX_TAG_VALUE = 256

_NAME = re.compile(rf"[A-Za-z0-9/_+=.@-]{{1,{MAX_NAME}}}")
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-[0-9]+")
_TAG_PUNCTUATION = frozenset("_.:/=+-@")
_ARN_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}$")

State = dict[str, Any]
Parameters = dict[str, Any]
Filters = list[dict[str, Any]]
Listed = list[dict[str, Any]]


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


class StrictBackend(SecretsManagerBackend):
    """The secrets of one account and region. Callers keep threads apart and change within `secret_transaction`."""

    def __init__(
        self,
        region_name: str,
        account_id: str,
        *,
        save: Callable[[State], None] = lambda _: None,
        remove: Callable[[State], None] = lambda _: None,
        is_taken: Callable[[str, str], bool] = lambda _region, _name: False,
    ) -> None:
        super().__init__(region_name, account_id)
        self.secrets: SecretIndex = SecretIndex()
        self._save = save
        self._remove = remove
        # Whether a region has a secret of that name, which keeps a replica from being made there.
        self._is_taken = is_taken

    def find_secret(self, identifier: str) -> StrictSecret:
        secret = self.secrets.get(identifier)
        if secret is None:
            raise SecretNotFoundException
        return secret

    def refuse_deleted(self, identifier: str) -> None:
        """Raise InvalidRequestException where the secret is scheduled for deletion; an unknown one is let through."""
        secret = self.secrets.get(identifier)
        if secret is not None and secret.is_deleted():
            raise InvalidRequestException(
                "You can't perform this operation because the secret is scheduled for deletion."
            )

    @contextmanager
    def secret_transaction(self, identifier: str) -> Iterator[None]:
        """Keep the block's change of this one secret only if the block succeeds and the change is saved."""
        before = self.secrets.get(identifier)
        name = identifier
        if before is not None:
            name = before.name
            self.secrets[name] = copy.deepcopy(before)
        try:
            yield
            self._save_change(before, self.secrets.get(name))
        except BaseException:
            if before is not None:
                self.secrets[name] = before
            elif name in self.secrets:
                self.secrets.pop(name)
            raise

    def _save_change(self, before: StrictSecret | None, after: StrictSecret | None) -> None:
        if after is None:
            if before is not None:
                self._remove(before.state)
        elif before is None or after.state != before.state:
            after.last_changed_date = int(time.time())
            self._save(after.state)

    def update_secret(
        self,
        secret_id: str,
        secret_string: str | None = None,
        secret_binary: str | None = None,
        client_request_token: str | None = None,
        kms_key_id: str | None = None,
        description: str | None = None,
    ) -> str:
        if client_request_token in self.find_secret(secret_id).versions:
            raise ResourceExistsException("A version with this ClientRequestToken already exists.")
        return super().update_secret(
            secret_id, secret_string, secret_binary, client_request_token, kms_key_id, description
        )

    def _check_with_existing_secrets_and_versions(
        self,
        secret_name: str,
        client_request_token: str | None,
        secret_string: str | None,
        secret_binary: str | None,
        on_create: bool = False,
    ) -> FakeSecret | None:
        """Return the secret if it has this very version already, or None where the version is to be made."""
        secret = self.secrets.get(secret_name)
        if secret is None:
            return None
        known = secret.versions.get(client_request_token or "")
        if known is None and on_create:
            raise ResourceExistsException("A secret with this name already exists.")
        if known is None:
            return None
        value = (known.get("secret_string"), known.get("secret_binary"))
        if value != (secret_string, secret_binary):
            raise ResourceExistsException("This ClientRequestToken belongs to another value.")
        return secret

    def _add_secret(
        self,
        secret_id: str,
        secret_string: str | None = None,
        secret_binary: str | None = None,
        description: str | None = None,
        tags: list[dict[str, str]] | None = None,
        kms_key_id: str | None = None,
        version_id: str | None = None,
        version_stages: list[str] | None = None,
        replica_regions: list[dict[str, str]] | None = None,
        force_overwrite: bool = False,
    ) -> tuple[FakeSecret, bool]:
        version_id = self._from_client_request_token(version_id)
        secret = self.secrets.get(secret_id)
        if secret is None:
            secret = StrictSecret(
                account_id=self.account_id,
                region_name=self.region_name,
                secret_id=secret_id,
                secret_version={},
                version_id=version_id,
                created_date=int(time.time()),
            )
            self.secrets[secret_id] = secret
        check_key_region(kms_key_id, self.region_name)
        # Without a value this makes no version: AWS encrypts the present ones anew.
        secret.update(description, tags, kms_key_id or (None if kms_key_id is None else AWS_KEY))
        self._add_replicas(secret, replica_regions or [])
        value = {"secret_string": secret_string, "secret_binary": secret_binary}
        if given := {key: text for key, text in value.items() if text is not None}:
            secret.add_version(version_id, given, version_stages or ["AWSCURRENT"])
        return secret, bool(given)

    def _add_replicas(self, secret: StrictSecret, replicas: list[dict[str, str]]) -> None:
        for each in replicas:
            region, key = each["Region"], each.get("KmsKeyId") or AWS_KEY
            there = secret.replica_states.get(region)
            if region == self.region_name or (there and there["Status"] != "Failed"):
                raise InvalidParameterException("Invalid replica region.")
            named = KMS_ARN.fullmatch(key)
            failed = self._is_taken(region, secret.name) or (named and named["region"] != region)
            status = "Failed" if failed else "InSync"
            secret.replica_states[region] = {"Region": region, "KmsKeyId": key, "Status": status}

    def replicate_secret_to_regions(
        self,
        secret_id: str,
        replica_regions: list[dict[str, str]],
        force_overwrite: bool,
    ) -> tuple[str, list[dict[str, str]]]:
        if force_overwrite:
            raise InvalidParameterException("The embedded AWS overwrites no secret.")
        secret = self.find_secret(secret_id)
        self._add_replicas(secret, replica_regions)
        return secret.arn, secret.list_replicas()

    def remove_regions_from_replication(
        self, secret_id: str, replica_regions: list[str]
    ) -> tuple[str, list[dict[str, str]]]:
        secret = self.find_secret(secret_id)
        if not secret.replica_states.keys() >= set(replica_regions):
            raise InvalidParameterException("The secret has no replica in this region.")
        for region in replica_regions:
            del secret.replica_states[region]
        return secret.arn, secret.list_replicas()

    def delete_secret(
        self,
        secret_id: str,
        recovery_window_in_days: int | None,
        force_delete_without_recovery: bool,
    ) -> tuple[str, str, float]:
        secret = self.secrets.get(secret_id)
        if secret is not None and secret.replica_states:
            raise InvalidParameterException("The secret still has replica regions.")
        return super().delete_secret(
            secret_id, recovery_window_in_days, force_delete_without_recovery
        )

    def update_secret_version_stage(
        self,
        secret_id: str,
        version_stage: str,
        remove_from_version_id: str | None,
        move_to_version_id: str | None,
    ) -> tuple[str, str]:
        secret = self.find_secret(secret_id)
        for version_id in (remove_from_version_id, move_to_version_id):
            if version_id is not None and version_id not in secret.versions:
                raise ResourceNotFoundException("The secret has no such version.")
        holder = secret.version_with(version_stage)
        if remove_from_version_id not in (None, holder):
            raise InvalidParameterException("RemoveFromVersionId doesn't have this label.")
        if move_to_version_id is None:
            if remove_from_version_id is None or version_stage == "AWSCURRENT":
                raise InvalidParameterException("MoveToVersionId is missing.")
            secret.detach_label(version_stage, remove_from_version_id)
        elif holder not in (None, remove_from_version_id, move_to_version_id):
            raise InvalidParameterException(
                "Another version has this label: name it in RemoveFromVersionId."
            )
        else:
            secret.attach_label(version_stage, move_to_version_id)
        return secret.arn, secret.name

    def tag_resource(self, arn: str, tags: dict[str, str]) -> None:
        super().tag_resource(arn, tags)
        check_tag_count(len(self.find_secret(arn).tags or []))

    def batch_get_secret_value(
        self,
        secret_id_list: list[str] | None = None,
        filters: Filters | None = None,
        max_results: int | None = None,
        next_token: str | None = None,
    ) -> tuple[Listed, Listed, str | None]:
        if bool(secret_id_list) == bool(filters):
            raise InvalidParameterException("Give either SecretIdList or Filters.")
        if secret_id_list and max_results:
            raise InvalidParameterException("MaxResults goes with Filters only.")
        identifiers = secret_id_list or [
            secret.name for secret in self._list_matching(filters or [])
        ]
        start = int(next_token or 0)
        end = start + min(max_results or MAX_BATCH, MAX_BATCH)
        values: Listed = []
        errors: Listed = []
        for identifier in identifiers[start:end]:
            try:
                values.append(self.get_secret_value(identifier, "", ""))
            except SecretsManagerClientError as error:
                details = {"ErrorCode": error.error_type, "Message": error.message}
                errors.append({"SecretId": identifier, **details})
        return values, errors, str(end) if end < len(identifiers) else None

    def list_secrets(
        self,
        filters: Filters,
        max_results: int | None = None,
        next_token: str | None = None,
        include_planned_deletion: bool = False,
    ) -> tuple[Listed, str | None]:
        start = int(next_token or 0)
        end = start + min(max_results or MAX_PAGE, MAX_PAGE)
        # moto makes the answer for all secrets before it cuts the page out.
        listed = self._list_matching(filters, include_planned_deletion=include_planned_deletion)
        page = list(islice(listed, start, end + 1))
        token = str(end) if len(page) > end - start else None
        return [secret.to_dict() for secret in page[: end - start]], token

    def _list_matching(
        self, filters: Filters, *, include_planned_deletion: bool = False
    ) -> Iterator[StrictSecret]:
        # Names first: moto's own filter takes milliseconds for each thousand secrets that it looks at.
        prefixes = [tuple(each["Values"]) for each in filters if _is_of_prefixes(each)]
        others = [each for each in filters if not _is_of_prefixes(each)]
        for secret in cast("Iterable[StrictSecret]", self.secrets.values()):
            if not all(map(secret.name.startswith, prefixes)):
                continue
            if secret.is_deleted() and not include_planned_deletion:
                continue
            if _matches(secret, others):
                yield secret

    def list_secret_version_ids(
        self,
        secret_id: str,
        *,
        include_deprecated: bool = False,
        max_results: int | None = None,
        next_token: str | None = None,
    ) -> str:
        secret = self.find_secret(secret_id)
        start = int(next_token or 0)
        end = start + min(max_results or MAX_PAGE, MAX_PAGE)
        versions = [
            {
                "CreatedDate": version["createdate"],
                "VersionId": version_id,
                "VersionStages": version["version_stages"],
            }
            for version_id, version in secret.versions.items()
            if include_deprecated or version["version_stages"]
        ]
        answer = {"ARN": secret.arn, "Name": secret.name, "Versions": versions[start:end]}
        return json.dumps(answer | ({"NextToken": str(end)} if versions[end:] else {}))


def _is_of_prefixes(named: dict[str, Any]) -> bool:
    """Say whether the filter wants names that begin with one of its values; one with `!` wants the others."""
    return named["Key"] == "name" and not any(value.startswith("!") for value in named["Values"])


def check_parameters(parameters: Parameters) -> None:
    """Raise the AWS error for the first parameter that AWS would refuse, before any secret is looked at.

    Where AWS documents no error code, ValidationException means that a value is wrong by itself,
    InvalidParameterException that values are wrong together. No message repeats a value.
    """
    if "Name" in parameters and not _NAME.fullmatch(parameters["Name"]):
        raise ValidationException(
            f"Invalid name. Must be 1 to {MAX_NAME} ASCII letters, digits or any of /_+=.@-"
        )
    _check_value(parameters.get("SecretString"), parameters.get("SecretBinary"))
    _check_tags(parameters.get("Tags") or [])
    if len(parameters.get("VersionStages") or []) > MAX_LABELS:
        raise ValidationException(f"VersionStages can't hold more than {MAX_LABELS} labels.")
    if len(parameters.get("SecretIdList") or []) > MAX_BATCH:
        raise InvalidParameterException(f"SecretIdList can't hold more than {MAX_BATCH} ids.")
    for key in _list_keys(parameters):
        # Of well-formed keys the embedded AWS knows all: it has no KMS. `conditions.py` has the faults of keys.
        if key and not (KMS_ARN.fullmatch(key) or KMS_NAME.fullmatch(key)):
            raise ValidationException("Invalid KMS key.")
    regions = [each.get("Region", "") for each in parameters.get("AddReplicaRegions") or []]
    regions += parameters.get("RemoveReplicaRegions") or []
    if not all(_REGION.fullmatch(region) for region in regions):
        raise ValidationException("Invalid region.")
    if len(set(regions)) < len(regions):
        raise InvalidParameterException("A region can be given only once.")


def check_key_region(key: str | None, region: str) -> None:
    """Raise the error of a key whose ARN names another region than that of the secret."""
    named = KMS_ARN.fullmatch(key or "")
    if named and named["region"] != region:
        raise InvalidParameterException("The KMS key isn't in the region of the secret.")


def _list_keys(parameters: Parameters) -> list[str]:
    replicas = parameters.get("AddReplicaRegions") or []
    return [parameters.get("KmsKeyId", ""), *(each.get("KmsKeyId", "") for each in replicas)]


def _check_value(text: str | None, binary: str | None) -> None:
    if text is not None and binary is not None:
        raise InvalidParameterException(
            "You can't specify both a binary secret value and a string secret value."
        )
    if text is not None:
        # JSON can hold a lone surrogate, which plain UTF-8 can't.
        size = len(text.encode("utf-8", "surrogatepass"))
    elif binary is not None:
        size = len(b64decode(binary))
    else:
        return
    if not 1 <= size <= MAX_VALUE_BYTES:
        raise ValidationException(f"The value must have 1 to {MAX_VALUE_BYTES} bytes.")


def _check_tags(tags: Sequence[Mapping[str, str]]) -> None:
    check_tag_count(len(tags))
    if len({tag["Key"] for tag in tags}) < len(tags):
        raise InvalidParameterException("A tag key can be given only once.")
    for tag in tags:
        key, value = tag["Key"], tag.get("Value", "")
        if not 1 <= len(key) <= MAX_TAG_KEY or len(value) > MAX_TAG_VALUE:
            raise ValidationException(
                f"A tag has a key of 1 to {MAX_TAG_KEY} and a value of up to {MAX_TAG_VALUE} "
                "characters."
            )
        if not all(c.isalnum() or c.isspace() or c in _TAG_PUNCTUATION for c in key + value):
            raise ValidationException("A tag has only letters, digits, spaces and _.:/=+-@")


def check_tag_count(count: int) -> None:
    # TagResource documents no LimitExceededException.
    if count > MAX_TAGS:
        raise InvalidParameterException(f"A secret can't have more than {MAX_TAGS} tags.")
