"""Sentences about the versions of secrets: former ones that are restored, and stages that are taken off."""

from __future__ import annotations

from nova_credentials.messages import Sentence

VERSION_RESTORED = Sentence("version_restored", "Version %(version)s of %(name)s was restored.")
VERSION_RESTORED_IN_POSTGRES = Sentence(
    "version_restored_in_postgres", "PostgreSQL has the values; AWS does not yet. %(why)s"
)
VERSION_RESTORED_IN_PART = Sentence(
    "version_restored_in_part",
    "AWS has a part of the values already, in %(names)s, and NOVA reads that; PostgreSQL was left as it is: %(error)s"
    " Compare both stores, then copy one way.",
    glue=", ",
)
LOGINS_NOT_IN_VERSION = Sentence(
    "logins_not_in_version", "Not in this version, and left where they are: %(rows)s.", glue=", "
)
VERSION_MIGRATE_FIRST = Sentence(
    "version_migrate_first",
    "Nothing is restored: in this phase NOVA reads PostgreSQL and nobody writes AWS. Edit the login, or move the client"
    " to dual write first.",
)
VERSION_ROWS_ARE_NEWER = Sentence(
    "version_rows_are_newer",
    "Nothing is restored: PostgreSQL's rows were written and AWS has not got that yet, so it would be lost. Push the"
    " client first, or restore it if it is purged.",
)
VERSION_ROWS_MAY_BE_NEWER = Sentence(
    "version_rows_may_be_newer",
    "Nothing is restored: NOVA's writes are not counted now, so PostgreSQL may hold a value that would be lost.",
)
VERSION_GONE = Sentence(
    "version_gone", "AWS no longer has this version of %(name)s: nothing is restored."
)
VERSION_CHANGES_NOTHING = Sentence(
    "version_changes_nothing", "NOVA reads the values of this version already: nothing is restored."
)
VERSION_IS_CURRENT = Sentence("version_is_current", "This is the current version already.")
RESTORES_SOMETHING_ELSE = Sentence(
    "restores_something_else",
    "Nothing was restored: the client or its values changed since you opened the page. Look at it again.",
)
VERSION_DIFFERS_FROM_ROWS = Sentence(
    "version_differs_from_rows",
    "Nothing is restored: the tables of this purged client hold other values than the version in %(paths)s, and this"
    " site changes secrets alone there. Restore the client to AWS first.",
    glue=", ",
)
VERSION_LOGIN_REFUSED = Sentence(
    "version_login_refused",
    "Nothing was restored: the server refuses a login of this version (%(logins)s), so NOVA could not use it.",
    glue=", ",
)
VERSION_LOGIN_UNPROVEN = Sentence(
    "version_login_unproven",
    "Nothing was restored yet: whether the logins of this version work could not be found out (%(logins)s).",
    glue=", ",
)
VERSION_LOGINS_TESTED = Sentence(
    "version_logins_tested",
    "Tested logins of version %(version)s of %(name)s: %(results)s.",
    glue="; ",
)
VERSION_TRIED_LOGIN = Sentence("version_tried_login", "%(login)s: %(outcome)s")
KINDS = {
    "database": Sentence("version_database_login", "the database login"),
    "email": Sentence("version_mail_login", "the mail login"),
    "aws": Sentence("version_aws_login", "the AWS login"),
}
VERSION_LABELLED_LOGIN = Sentence("version_labelled_login", "%(kind)s “%(label)s”")

PENDING_TAKEN_OFF = Sentence(
    "pending_taken_off", "Took AWSPENDING off version %(version)s of %(name)s."
)
PENDING_IS_GONE = Sentence(
    "pending_is_gone", "Nothing was changed: this version of %(name)s has no AWSPENDING any more."
)
PENDING_IS_FOREIGN = Sentence(
    "pending_is_foreign",
    "Nothing was changed: somebody else wrote this version of %(name)s and may be rotating it.",
)
PENDING_MAY_BE_NEEDED = Sentence(
    "pending_may_be_needed",
    "Nothing was changed: it is not proven that the current version of %(name)s still logs in (%(logins)s), so the"
    " pending one may hold the password that counts.",
    glue=", ",
)
