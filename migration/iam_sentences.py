"""Sentences about permissions in AWS: what each is for, and what `check_aws` found. Actions are named, never values."""

from __future__ import annotations

from nova_credentials.messages import Sentence

# What each permission is for
IAM_FOR_READING = Sentence(
    "iam_for_reading", "reading secrets: comparisons, pushes, reveals, NOVA's reader"
)
IAM_FOR_READING_MANY = Sentence(
    "iam_for_reading_many",
    "reading 20 secrets per call: comparisons, pushes, NOVA's reads of one secret per service",
)
IAM_FOR_DESCRIBING = Sentence(
    "iam_for_describing",
    "seeing whose a secret is, its versions and a scheduled deletion: pushes, deletions, adoptions, gates",
)
IAM_FOR_LISTING = Sentence(
    "iam_for_listing", "finding secrets' keys for gates, and versions that wait to be current"
)
IAM_FOR_VERSIONS = Sentence("iam_for_versions", "listing a client's former versions")
IAM_FOR_CREATING = Sentence("iam_for_creating", "the first push of a client, and changes of layout")
IAM_FOR_TAGGING = Sentence(
    "iam_for_tagging", "the tags of new secrets, and adopting secrets that others made"
)
IAM_FOR_WRITING = Sentence(
    "iam_for_writing",
    "pushes, saves after a cutover, rotations, gates that prove the right to write",
)
IAM_FOR_STAGES = Sentence(
    "iam_for_stages", "rotations of database passwords, and taking AWSPENDING off"
)
IAM_FOR_DELETING = Sentence(
    "iam_for_deleting",
    "scheduling the deletion of secrets that nobody needs, with 30 days to restore them",
)
IAM_FOR_RESTORING = Sentence(
    "iam_for_restoring",
    "taking a secret back whose deletion is scheduled, when its client is pushed",
)
IAM_FOR_DECRYPTING = Sentence(
    "iam_for_decrypting", "reading secrets that have a KMS key of your own"
)
IAM_FOR_ENCRYPTING = Sentence(
    "iam_for_encrypting", "writing secrets that have a KMS key of your own"
)
IAM_FOR_UPDATING = Sentence(
    "iam_for_updating", "giving secrets the KMS key and the description that they should have"
)
IAM_FOR_REPLICATING = Sentence(
    "iam_for_replicating", "replicas of secrets in the regions of NOVA_REPLICA_REGIONS"
)
IAM_FOR_REMOVING_REPLICAS = Sentence(
    "iam_for_removing_replicas",
    "removing replicas that nobody wants any more, and before the deletion of a secret",
)
IAM_FOR_ANOTHER_KEY = Sentence(
    "iam_for_another_key", "encrypting secrets anew that get another KMS key"
)
IAM_FOR_REPLICA_KEYS = Sentence(
    "iam_for_replica_keys", "replicas that have a KMS key of your own in their region"
)

# The policies
IAM_ACCOUNT_UNKNOWN = Sentence(
    "iam_account_unknown",
    "The AWS account is not known yet: no push has met a secret. Name it by its 12 digits.",
)
IAM_ACCOUNT_MALFORMED = Sentence("iam_account_malformed", "An AWS account has 12 digits.")
IAM_KEY_MALFORMED = Sentence(
    "iam_key_malformed", "A KMS key is named by its id, its alias (alias/…) or its ARN."
)
IAM_KEY_ELSEWHERE = Sentence(
    "iam_key_elsewhere", "The KMS key is in %(region)s, and the secrets are in %(wanted)s."
)

# What was found
IAM_PERMITTED = Sentence("iam_permitted", "AWS permits it. For: %(why)s.")
IAM_REFUSED_FOR = Sentence(
    "iam_refused_for", "AWS refuses it on %(name)s (%(code)s). Lacking for: %(why)s."
)
IAM_READ_BUT_REFUSED = Sentence(
    "iam_read_but_refused",
    "AWS permits the call, yet refuses the secret %(name)s (%(code)s): by its KMS key or its resource policy."
    " Lacking for: %(why)s.",
)
IAM_NO_ANSWER = Sentence("iam_no_answer", "AWS gave no answer to it (%(code)s).")
IAM_SITE_MAY_NOT_WRITE = Sentence(
    "iam_site_may_not_write", "Not tried, as this site may not write to AWS now: %(why)s"
)
IAM_NO_SECRET_TO_TRY = Sentence(
    "iam_no_secret_to_try",
    "It can only be tried on a secret of this site that has a value, and none is known yet. For: %(why)s.",
)
IAM_NAME_IS_TAKEN = Sentence(
    "iam_name_is_taken",
    "It is tried on a name that no secret has, and %(name)s exists. For: %(why)s.",
)
IAM_PENDING_THERE = Sentence(
    "iam_pending_there",
    "Not tried, as the current version of %(name)s has AWSPENDING too, which the trial would take off. For: %(why)s.",
)
IAM_NEEDS_OTHER = Sentence(
    "iam_needs_other", "It can't be told while %(action)s is refused. For: %(why)s."
)
IAM_NOT_HARMLESS = Sentence(
    "iam_not_harmless",
    "No trial is harmless: on a name without a secret, a policy that asks for our tag refuses it; on one of ours it"
    " would be done. For: %(why)s.",
)
IAM_KEY_NOT_PROVEN = Sentence(
    "iam_key_not_proven",
    "AWS asks the key only when a new value is written, and the trial writes none. For: %(why)s.",
)
IAM_ATTACH_POLICY = Sentence(
    "iam_attach_policy",
    "Give it to the site: python manage.py iam_policy admin prints the whole policy (docs/iam.md).",
)
IAM_SEE_CREDENTIALS = Sentence(
    "iam_see_credentials",
    "See whether AWS is reached, and with valid credentials. Then check again.",
)
