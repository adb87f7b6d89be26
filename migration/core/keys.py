"""The keys of this site's digests, and what is made with them. Reads no credential.

Each digest has a key of its own, so that rotating one key costs no more than docs/secrets.md says.
"""

from __future__ import annotations

import hmac
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import OutputWrapper
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from migration.core.secrets import Fingerprint, Secret, VersionKey
from nova_credentials.messages import Sentence

KEY_BYTES = 32
# Half of a version's id is arbitrary, the other half proves that this site made it.
HALF = 32
KEY_ID_LENGTH = 16


def make_ciphers(salt: str) -> MultiFernet:
    """Return what encrypts with a key derived from SECRET_KEY, and decrypts with those of its fallbacks too."""
    derived = (
        salted_hmac(salt, "", secret=key, algorithm="sha256").digest()
        for key in _list_secret_keys()
    )
    return MultiFernet([Fernet(urlsafe_b64encode(key)) for key in derived])


def fingerprint_key(client_id: int) -> bytes:
    """Return the key of the short codes in a client's comparisons. Equal values of two clients have different codes."""
    return hmac.digest(_root_key(), f"client {client_id}".encode(), "sha256")


def fingerprint_key_id() -> str:
    """Return what tells digests of one fingerprint key from those of another, and says nothing about the key."""
    return _name_key(_root_key())


def _name_key(key: bytes) -> str:
    return hmac.digest(key, b"id of the key", "sha256").hex()[:KEY_ID_LENGTH]


def list_fingerprint_key_ids() -> list[str]:
    """Return the id of the fingerprint key, then those of keys that it replaces: they were derived from SECRET_KEY."""
    derived = [_name_key(_derive_fingerprint_key(key).encode()) for key in _list_secret_keys()]
    return list(dict.fromkeys([fingerprint_key_id(), *derived]))


def list_secret_key_ids() -> list[str]:
    """Return what tells SECRET_KEY and its fallbacks from others, and says nothing about them."""
    return [_name_key(key.encode()) for key in _list_secret_keys()]


def _list_secret_keys() -> list[str]:
    return list(dict.fromkeys([settings.SECRET_KEY, *map(str, settings.SECRET_KEY_FALLBACKS)]))


def make_fingerprint(client_id: int, value: str) -> Fingerprint:
    """Return the fingerprint by which a secret value of the client is known again."""
    # No path of a comparison begins with a NUL, so that no short code is a part of a fingerprint.
    text = b"\0value " + value.encode("utf-8", "surrogatepass")
    digest = hmac.digest(fingerprint_key(client_id), text, "sha256").hex()
    return Fingerprint(digest, fingerprint_key_id())


def _root_key() -> bytes:
    return (settings.NOVA_FINGERPRINT_KEY or _derive_fingerprint_key(settings.SECRET_KEY)).encode()


def _derive_fingerprint_key(secret_key: str) -> str:
    """Derive the site's key from SECRET_KEY, as the first release did."""
    made = salted_hmac("nova_admin.fingerprint", "", secret=secret_key, algorithm="sha256")
    return made.hexdigest()


@dataclass(frozen=True)
class VersionIdKeys:
    """The keys by which a version's id proves that this site wrote it, the newest first."""

    keys: tuple[bytes, ...] = field(repr=False)

    def new_id(self, name: str, *, replaced: str, text: str) -> str:
        """Return the id of the version to write. A retry of the same write gets the same id."""
        newest = self.keys[0]
        half = _digest(newest, "token", name, replaced, text)
        return half + _digest(newest, name, half)

    def is_ours(self, name: str, version_id: str) -> bool:
        """Say whether this site wrote the version, even if AWS's answer to the write was lost."""
        half, proof = version_id[:HALF], version_id[HALF:].encode()
        proofs = [_digest(key, name, half).encode() for key in self.keys]
        return any([hmac.compare_digest(proof, each) for each in proofs])  # noqa: C419  # none ends it early

    def is_made_by_site(self, name: str, version_id: str) -> bool:
        """Say whether this site made the version, also one that carries an edit of somebody else."""
        return self.is_ours(name, version_id) or self.is_ours(carried(name), version_id)


def carried(name: str) -> str:
    """Return the name by which an id proves that a rotation made the version, with somebody else's edit in it."""
    return f"{name} with an edit of somebody else"


def load_version_keys() -> VersionIdKeys:
    """Read the keys; raises `ImproperlyConfigured` where `migrate` made none yet."""
    keys = tuple(map(bytes, VersionKey.objects.values_list("key", flat=True)))
    if not keys:
        raise ImproperlyConfigured(_("There is no version key yet: run manage.py migrate."))
    return VersionIdKeys(keys)


def count_versions_of_lost_key(using: str = DEFAULT_DB_ALIAS) -> int:
    """Return how many versions in AWS are known where the key that made them is certainly lost; else 0.

    That is so if there is no key at all, or if none of a first release's database proves a single version. (In others
    all secrets may be somebody else's that were adopted.)
    """
    keys = tuple(map(bytes, VersionKey.objects.using(using).values_list("key", flat=True)))
    if len(keys) == 1:
        return 0
    number, made = 0, VersionIdKeys(keys)
    for name, version in Secret.objects.using(using).values_list("name", "version_id").iterator():
        if made.is_ours(name, version):
            return 0
        number += 1
    return number


VERSIONS_UNPROVED = Sentence(
    "versions_unproved",
    "None of %(n)s known versions in AWS was made with a version key of this database, so all count as somebody else's:"
    " its rows are missing, or migrate ran with another SECRET_KEY than the first release.",
    one="The one known version in AWS was not made with a version key of this database, so it counts as somebody"
    " else's: its row is missing, or migrate ran with another SECRET_KEY than the first release.",
)


def make_version_keys(
    *, using: str, verbosity: int = 1, stdout: OutputWrapper | None = None, **_options: object
) -> None:
    """Make a key for version ids after `migrate` if there is none, and of a first release the one that it derived.

    Says so if that is not the key by which the first release made its versions.
    """
    if VersionKey._meta.db_table not in connections[using].introspection.table_names():
        return  # `migrate` was run backwards
    made = VersionKey.objects.using(using)
    if made.exists():
        return
    # Both or none: a `migrate` that is killed in between would leave the first release's key as the newest.
    with transaction.atomic(using=using):
        # Only of a site that pushed with it. Who knows the SECRET_KEY and has NOVA's tables alone proves nothing.
        if Secret.objects.using(using).exists():
            made.create(key=first_release_version_key(settings.SECRET_KEY))
        made.create(key=secrets.token_bytes(KEY_BYTES))
    number = count_versions_of_lost_key(using)
    if number and stdout is not None and verbosity >= 1:
        stdout.write(str(VERSIONS_UNPROVED(n=number)))


def first_release_version_key(secret_key: str) -> bytes:
    """Return the key that signed the first release's version ids, as `salted_hmac` derives it."""
    return sha256(b"nova_admin.ours" + secret_key.encode()).digest()


def _digest(key: bytes, *parts: str) -> str:
    """Return 32 hexadecimal digits that can be computed only with the key."""
    # The lengths keep ("ab", "c") apart from ("a", "bc").
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hmac.digest(key, text.encode(), "sha256").hex()[:HALF]
