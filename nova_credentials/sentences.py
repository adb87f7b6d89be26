"""Holds the sentences of this package, each with the key under which it is stored."""

from nova_credentials.messages import Sentence

# Phases and moves
PHASES = {
    "postgres": Sentence("phase_postgres", "PostgreSQL"),
    "dual_write": Sentence("phase_dual_write", "Dual write"),
    "dual_read": Sentence("phase_dual_read", "Dual read"),
    "aws": Sentence("phase_aws", "AWS (cut over)"),
    "purged": Sentence("phase_purged", "Purged"),
}
ILLEGAL_MOVE = Sentence(
    "illegal_move",
    "%(slug)s is in %(old)s. It can move to %(allowed)s, not to %(new)s.",
    glue=" or ",
)
STALE_PHASE = Sentence(
    "stale_phase", "%(slug)s is no longer in %(seen)s: someone moved it to %(now)s."
)

# AWS's errors
AWS_FAILED = Sentence(
    "aws_failed", "%(operation)s failed for secret %(name)s with %(code)s: %(advice)s."
)
DATA_ADVICE = Sentence("data_advice", "AWS refuses the request as it is; correct the client's data")
PERMISSION_ADVICE = Sentence(
    "permission_advice",
    "check this process' AWS credentials, its IAM policy and the secret's KMS key",
)
THROTTLED_ADVICE = Sentence("throttled_advice", "AWS limits the rate; try again, more slowly")
UNAVAILABLE_ADVICE = Sentence("unavailable_advice", "AWS gave no usable answer; try again")
CERTIFICATE_ADVICE = Sentence(
    "certificate_advice",
    "this host doesn't trust the certificate that answered; AWS_CA_BUNDLE names a file with that of your own authority",
)
BUSY_ADVICE = Sentence("busy_advice", "this process was too busy to ask AWS; try again")
CONFLICT_ADVICE = Sentence(
    "conflict_advice", "the secret's state does not allow this; look at it in AWS first"
)
SCHEMA_ADVICE = Sentence("schema_advice", "a table of NOVA's was changed; look at its columns")
NAME_ADVICE = Sentence(
    "name_advice", "a name may have up to %(n)s ASCII letters, digits and _+=.@-"
)
SIZE_ADVICE = Sentence("size_advice", "a document may have up to %(n)s bytes in UTF-8")
QUOTA_ADVICE = Sentence("quota_advice", "a quota of the AWS account or of this secret is used up")
NOT_FOUND_ADVICE = Sentence("not_found_advice", "the secret does not exist, or it has no value")
EXISTS_ADVICE = Sentence(
    "exists_advice", "a secret of this name, or a write with this token, exists already"
)
STATE_ADVICE = Sentence(
    "state_advice", "its state forbids this; if its deletion is scheduled, restore it"
)
SCHEDULED_ADVICE = Sentence("scheduled_advice", "its deletion is scheduled; restore it")
NOT_CURRENT_ADVICE = Sentence(
    "not_current_advice", "AWS kept another version as the current one; check it first"
)

# Documents
FIELD_IS_WRONG = Sentence("field_is_wrong", "%(slug)s: %(path)s %(problem)s")
MUST_BE_TEXT = Sentence("must_be_text", "must be text")
MUST_BE_TEXT_OR_NULL = Sentence("must_be_text_or_null", "must be text or null")
MUST_BE_WHOLE = Sentence("must_be_whole", "must be a whole number")
MUST_BE_WHOLE_OR_NULL = Sentence("must_be_whole_or_null", "must be a whole number or null")
MUST_BE_BOOLEAN_OR_NULL = Sentence("must_be_boolean_or_null", "must be true or false or null")
MUST_BE_FALSE_OR_NULL = Sentence("must_be_false_or_null", "must be false or null")
MUST_BE_LIST = Sentence("must_be_list", "must be a list")
MUST_BE_OBJECT = Sentence("must_be_object", "must be an object")
CHARACTER_NOT_STORABLE = Sentence(
    "character_not_storable", "holds a character that PostgreSQL cannot store"
)
NUMBER_NOT_STORABLE = Sentence("number_not_storable", "is a number that PostgreSQL cannot store")
SEVERAL_PRIMARY = Sentence(
    "several_primary",
    "%(slug)s: %(n)s %(kind)s credentials are primary; keep one primary",
)
NOT_ENCODABLE = Sentence(
    "not_encodable", "the document holds something that is not JSON or not Unicode"
)
NOT_A_DOCUMENT = Sentence("not_a_document", "%(name)s is not a JSON object with credentials")
KEY_OF_NO_SECRET = Sentence(
    "key_of_no_secret", "the document has a key that belongs to none of the client's secrets"
)

# Names of secrets
SLUG_IS_EMPTY = Sentence("slug_is_empty", "the slug is empty")
CHARACTER_NOT_ALLOWED = Sentence(
    "character_not_allowed",
    "AWS does not allow %(illegal)s in the name of a secret",
    glue=" or ",
)
A_SPACE = Sentence("a_space", "a space")
QUOTED_CHARACTER = Sentence("quoted_character", "'%(character)s'")
CHARACTER_WITH_CODE = Sentence("character_with_code", "'%(character)s' (%(code)s)")
SLASH_IN_SLUG = Sentence(
    "slash_in_slug",
    "a slug can't contain '/'",
)
NAME_TOO_LONG = Sentence(
    "name_too_long", "the name of its secret has %(n)s characters, more than %(most)s"
)
SECRET_TOO_LARGE = Sentence(
    "secret_too_large", "%(name)s would have %(n)s bytes; Secrets Manager takes up to %(most)s."
)
NAME_LIKE_ARN = Sentence(
    "name_like_arn",
    "%(name)s ends in a hyphen and six characters, which AWS can mistake for an ARN",
)
