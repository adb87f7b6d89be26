"""Compares tags, description, KMS key and replicas of secrets with the settings. Asks nobody."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.conf import settings

from migration import sentences
from migration import setting_sentences as told
from nova_credentials.aws.answers import Replica, SecretDescription
from nova_credentials.aws.kms_keys import AWS_KEY, is_same_key
from nova_credentials.aws.requests import list_tags, make_description

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nova_credentials.messages import Message


@dataclass(frozen=True)
class Changes:
    """What has to be changed of one secret for it to be as the settings say; as a truth value, whether anything."""

    tags: bool = False
    description: str = ""
    kms_key: str = ""
    # Region -> KMS key there: replicas that lack or failed, and those that are made anew after they were removed.
    added: dict[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    messages: tuple[Message, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.messages)

    @property
    def differs(self) -> bool:
        """Say whether something is certainly otherwise: not where two names of a key can't be compared."""
        return any(message.key != told.KEY_UNTOLD.key for message in self.messages)

    @property
    def may_pass_by_itself(self) -> bool:
        """Say whether a difference that is left after a change may be gone at the next look: not a failed replica."""
        stay = (told.KEY_UNTOLD.key, told.REPLICA_FAILED.key)
        return any(message.key not in stay for message in self.messages)


def describe_settings() -> dict[str, Any]:
    """Return the settings as a run keeps them: who works on it has to have the same."""
    return {"kms_key": settings.NOVA_KMS_KEY_ID, "replicas": settings.NOVA_REPLICA_REGIONS}


def hash_settings() -> str:
    """Return a short hash of the wanted KMS key, replica regions, tags and description."""
    texts = [describe_settings(), list_tags("x"), make_description("x")]
    return hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()[:16]


def find_changes(there: SecretDescription, *, slug: str, key_as: str = "") -> Changes:
    """Compare a secret of ours with the settings. One that is about to be deleted is left as it is.

    `key_as`: the name by which a run set the KMS key that the secret has still (`find_key_name_if_still_set`).
    """
    if there.deleted_at:
        return Changes()
    tags = any(there.tags.get(key) != value for key, value in list_tags(slug).items())
    description = make_description(slug)
    described = there.description == description
    key_message = _compare_key(there.kms_key, key_as)
    wanted: Mapping[str, str] | None = settings.NOVA_REPLICA_REGIONS
    replicas = list(_compare_replicas(there.replicas, wanted)) if wanted is not None else []
    found = [told.TAGS_DIFFER()] if tags else []
    found += [] if described else [told.DESCRIPTION_DIFFERS()]
    found += [key_message] if key_message else []
    return Changes(
        tags=tags,
        description="" if described else description,
        kms_key=settings.NOVA_KMS_KEY_ID if key_message else "",
        added={each.region: each.kms_key for each in replicas if wanted and each.region in wanted},
        removed=tuple(each.region for each in replicas if each.is_removed),
        messages=(*found, *(each.message for each in replicas)),
    )


def _compare_key(now: str, key_as: str) -> Message | None:
    wanted = settings.NOVA_KMS_KEY_ID
    if not wanted:
        return None
    is_same = is_same_key(now, wanted)
    # AWS took the settings' name for the key that it calls `now`: only then is it known what no comparison tells.
    if is_same or (is_same is None and key_as == wanted):
        return None
    sentence = told.KEY_UNTOLD if is_same is None else told.KEY_DIFFERS
    return sentence(now=now or AWS_KEY, wanted=wanted)


@dataclass(frozen=True)
class _ReplicaChange:
    region: str
    message: Message
    kms_key: str = ""
    is_removed: bool = False


def _compare_replicas(
    replicas: tuple[Replica, ...], wanted: Mapping[str, str]
) -> Iterator[_ReplicaChange]:
    there = {each.region: each for each in replicas}
    for region in sorted(there.keys() - wanted.keys()):
        message = told.REPLICA_UNWANTED(region=region)
        yield _ReplicaChange(region, message, is_removed=True)
    for region, key in wanted.items():
        now = there.get(region)
        if now is None:
            yield _ReplicaChange(region, told.REPLICA_LACKS(region=region), key)
        elif key and is_same_key(now.kms_key, key) is False:
            message = told.REPLICA_KEY_DIFFERS(
                region=region, now=now.kms_key or AWS_KEY, wanted=key
            )
            yield _ReplicaChange(region, message, key, is_removed=True)
        elif now.is_failed:
            yield _ReplicaChange(region, told.REPLICA_FAILED(region=region), key)


def find_key_name_if_still_set(facts: dict[str, Any], there: SecretDescription) -> str:
    """Return the name by which a run set the KMS key that the secret has still; "" where none did."""
    kept = facts.get("arn"), facts.get("kms_key")
    return facts.get("key_as", "") if kept == (there.arn, there.kms_key) else ""


def make_stored_facts(there: SecretDescription, *, key_as: str = "") -> dict[str, Any]:
    """Return what is kept of a secret: nothing of it is secret, and AWS's own words are left out."""
    return {
        "arn": there.arn,
        "tags": {key: there.tags.get(key, "") for key in list_tags("")},
        "description": there.description[:500],
        "kms_key": there.kms_key,
        "key_as": key_as,
        "deleted": there.deleted_at is not None,
        "replicas": [[each.region, each.status, each.kms_key] for each in there.replicas],
    }


def find_changes_from_stored_facts(
    facts: dict[str, Any], *, name: str, arn: str, slug: str
) -> Changes:
    """Compare with the settings what was kept of a secret; one that was gone or about to go has nothing to change.

    One with another ARN than the client's, which somebody made anew under its name, is told, though a run refuses it.
    """
    if not facts or facts["deleted"]:
        return Changes()
    there = SecretDescription(
        name=name,
        arn=facts["arn"],
        tags=facts["tags"],
        deleted_at=None,
        versions={},
        kms_key=facts["kms_key"],
        description=facts["description"],
        replicas=tuple(Replica(*each) for each in facts["replicas"]),
    )
    if there.arn != arn:
        return Changes(messages=(sentences.NOT_OURS(name=name),))
    return find_changes(there, slug=slug, key_as=facts.get("key_as", ""))
