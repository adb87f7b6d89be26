"""Sentences about what secrets have beside their values: tags, description, KMS key and replicas."""

from __future__ import annotations

from nova_credentials.messages import Sentence

# How a secret differs from the settings
TAGS_DIFFER = Sentence("tags_differ", "Its tags are not those that this site sets.")
DESCRIPTION_DIFFERS = Sentence(
    "description_differs", "Its description is not the one that this site sets."
)
KEY_DIFFERS = Sentence("key_differs", "Its KMS key is %(now)s, and should be %(wanted)s.")
KEY_UNTOLD = Sentence(
    "key_untold",
    "AWS names its KMS key %(now)s, and NOVA_KMS_KEY_ID names %(wanted)s: whether both are one key can't be told.",
)
REPLICA_LACKS = Sentence("replica_lacks", "It has no replica in %(region)s.")
REPLICA_FAILED = Sentence(
    "replica_failed",
    "Its replica in %(region)s failed: a secret of this name is there, or its KMS key can't be used. AWS's console"
    " says which.",
)
REPLICA_KEY_DIFFERS = Sentence(
    "replica_key_differs",
    "Its replica in %(region)s has the KMS key %(now)s, and should have %(wanted)s: it is removed and made anew.",
)
REPLICA_UNWANTED = Sentence(
    "replica_unwanted",
    "It has a replica in %(region)s, which NOVA_REPLICA_REGIONS does not name: it is removed.",
)

# What became of it
SETTINGS_UNDER_WAY = Sentence(
    "settings_under_way",
    "A push, a move or another change of this client is under way. Nothing was applied; try again.",
)
SETTINGS_OF_ANOTHER_START = Sentence(
    "settings_of_another_start",
    "This process was started with another NOVA_KMS_KEY_ID or NOVA_REPLICA_REGIONS than the run. Restart site and"
    " workers with the same, and start another run.",
)
SETTINGS_NOT_APPLIED = Sentence("settings_not_applied", "%(name)s: %(error)s")
SETTINGS_STILL_DIFFER = Sentence("settings_still_differ", "%(name)s: %(differences)s")
KEY_READS_NOT = Sentence(
    "key_reads_not",
    "%(name)s has the KMS key that it should have, and this site can't read it: %(error)s Look at the key's state and"
    " policy. NOVA may be refused, too.",
)
NO_SECRET_TO_SET = Sentence(
    "no_secret_to_set", "It has no secret in AWS, or their deletion is scheduled."
)

# The audit, and what is said beside a deletion
SETTINGS_APPLIED = Sentence("settings_applied", "%(name)s: what was otherwise: %(differences)s")
REPLICAS_REMOVED = Sentence(
    "replicas_removed", "The replicas of %(name)s were removed: %(regions)s.", glue=", "
)

# check_nova
SECRETS_AS_SET = Sentence(
    "secrets_as_set",
    "%(n)s secrets have the tags, description, KMS key and replicas of the settings.",
    one="%(n)s secret has the tags, description, KMS key and replicas of the settings.",
)
SECRETS_NOT_AS_SET = Sentence(
    "secrets_not_as_set",
    "%(n)s clients have secrets whose tags, description, KMS key or replicas are not as the settings say.",
    one="%(n)s client has secrets whose tags, description, KMS key or replicas are not as the settings say.",
)
APPLY_THE_SETTINGS = Sentence(
    "apply_the_settings",
    "See “Key and regions of the secrets”, or apply_secret_settings --all --check.",
)
SECRETS_OF_DELETED_CLIENTS = Sentence(
    "secrets_of_deleted_clients",
    "AWS still has %(n)s secrets of clients that NOVA deleted: %(names)s.",
    one="AWS still has %(n)s secret of a client that NOVA deleted: %(names)s.",
    glue=", ",
)
DELETE_THEM = Sentence(
    "delete_them",
    "Who may purge clients schedules their deletion on the page “Key and regions of the secrets”.",
)
KEYS_UNTOLD = Sentence(
    "keys_untold",
    "Of the secrets of %(n)s clients it can't be told whether they have the KMS key of the settings: AWS and the"
    " settings name it in two ways.",
    one="Of the secrets of %(n)s client it can't be told whether they have the KMS key of the settings: AWS and the"
    " settings name it in two ways.",
)
APPLY_ONCE = Sentence(
    "apply_once",
    "A run sets the key as the settings name it, once: then it is known. Or name the key by its ARN.",
)
SECRETS_NOT_DESCRIBED = Sentence(
    "secrets_not_described",
    "%(n)s secrets were not looked at yet.",
    one="%(n)s secret was not looked at yet.",
)
WORKERS_DESCRIBE = Sentence("workers_describe", "Workers look at each once a day, if AWS answers.")
