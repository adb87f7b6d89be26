"""Adds to moto's Secrets Manager the rules of AWS that moto lacks. Knows no HTTP, no file."""

import copy
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, cast

from moto.secretsmanager.exceptions import (
    InvalidParameterException,
    InvalidRequestException,
    ResourceExistsException,
    ResourceNotFoundException,
    SecretNotFoundException,
    SecretsManagerClientError,
)
from moto.secretsmanager.models import FakeSecret, SecretsManagerBackend, _matches

from nova_admin.embedded.parameters import MAX_BATCH, check_key_region, check_tag_count
from nova_admin.embedded.secret_files import State
from nova_admin.embedded.strict_secret import SecretIndex, StrictSecret
from nova_credentials.aws.kms_keys import AWS_KEY, KMS_ARN

MAX_PAGE = 100

Filters = list[dict[str, Any]]
Listed = list[dict[str, Any]]


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
