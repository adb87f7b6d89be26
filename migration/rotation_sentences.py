"""Holds the sentences about rotations. None of them holds a password."""

from nova_credentials.messages import Sentence

# What became of one
ROTATED = Sentence(
    "rotated", "%(login)s has a new secret; it was proven by a login before it was stored."
)
ROTATION_UNFINISHED = Sentence(
    "rotation_unfinished",
    "The rotation is not finished: %(why)s The workers go on with it every minute; NOVA can log in meanwhile.",
)

# Why nothing was begun
ROTATION_NO_SUCH_LOGIN = Sentence(
    "rotation_no_such_login", "%(slug)s has no %(kind)s login %(which)s."
)
ROTATION_PRIMARY_LOGIN = Sentence("rotation_primary_login", "that is primary")
ROTATION_LOGIN_LABELLED = Sentence("rotation_login_labelled", "with the label %(label)s")
ROTATION_NO_DATABASE_LOGIN = Sentence(
    "rotation_no_database_login", "It has no database login that NOVA can ask for."
)
ROTATION_LOGIN_SHARED = Sentence(
    "rotation_login_shared",
    "The same user at the same server is also the login of %(slugs)s: the new password would lock them out."
    " Give each client a user of its own first.",
    glue=", ",
)
ROTATION_LOGIN_ELSEWHERE = Sentence(
    "rotation_login_elsewhere",
    "The client has another login with the same user and password at %(hosts)s. If that is the same server under"
    " another name, it would be locked out: give both the same host, or each a password of its own.",
    glue=", ",
)
FORMER_SECRETS_READ = Sentence(
    "former_secrets_read",
    "Its layout was changed lately, and NOVA may still read its former secrets (%(names)s):"
    " rotate it once they are gone.",
    glue=", ",
)
ROTATION_UNDER_WAY = Sentence(
    "rotation_under_way",
    "A rotation of this client was begun %(ago)s ago and is not finished; the workers go on with it. Wait for its end.",
)
ROTATION_CLIENT_BUSY = Sentence(
    "rotation_client_busy",
    "A push, a move or a rotation of this client is under way; try again.",
)
ROTATION_NOT_IN_AWS_YET = Sentence(
    "rotation_not_in_aws_yet",
    "The new password has to be kept in AWS before the database gets it, and AWS does not hold this client: %(why)s",
)
ROTATION_NOT_PUSHED = Sentence(
    "rotation_not_pushed",
    "NOVA's row has the new password, which already logs in. It is not in AWS yet: %(why)s",
)
ROTATION_ELSEWHERE = Sentence(
    "rotation_elsewhere",
    "Somebody else rotates %(name)s: its version %(version)s has AWSPENDING, and this site did not write it."
    " Let that end, or take AWSPENDING off.",
)

ROTATION_LEFT_PENDING = Sentence(
    "rotation_left_pending",
    "%(name)s has AWSPENDING on its version %(version)s, which an earlier rotation left with the new password of"
    " another login. See which of its passwords is valid, then take AWSPENDING off on the page of versions.",
)
ROTATION_LOGIN_GONE = Sentence(
    "rotation_login_gone",
    "Somebody changed where this login leads meanwhile: %(name)s has it no more, so no new password was kept there."
    " Try again.",
)
ROTATION_SECRET_KEEPS_CHANGING = Sentence(
    "rotation_secret_keeps_changing",
    "Somebody writes %(name)s again and again, so the new password could not be made current.",
)

# What the database's server says
ROTATION_CURRENT_REFUSED = Sentence(
    "rotation_current_refused",
    "The stored password does not log in: it was changed at the server, or it has expired (VALID UNTIL)."
    " Nothing was changed. Enter the password that is valid, then rotate again.",
)
ROTATION_NOTHING_LOGS_IN = Sentence(
    "rotation_nothing_logs_in",
    "Neither the stored password nor the new one logs in any more: somebody changed it at the server, or it has"
    " expired (VALID UNTIL). Nothing more was changed. Enter the password that is valid, then rotate again."
    " AWS keeps the new one as version %(version)s.",
)
ROTATION_DESTINATION_CHANGED = Sentence(
    "rotation_destination_changed",
    "Somebody changed where this login leads meanwhile, so the rotation stopped and stored nothing."
    " At the former server the password may be the new one, which AWS keeps as version %(version)s.",
)
ROTATION_NOT_LOGGED_IN = Sentence(
    "rotation_not_logged_in",
    "The server could not be logged in to: %(outcome)s. Test the login, then try again.",
)
ROTATION_NEW_SECRET_REFUSED = Sentence(
    "rotation_new_secret_refused",
    "The new secret does not log in: %(outcome)s. Nothing was stored.",
)
ROTATION_LOGIN_CHANGED_MEANWHILE = Sentence(
    "rotation_login_changed_meanwhile",
    "Somebody changed where this login leads while the new secret was tested, so nothing was stored: look, try again.",
)
SECRETS_KEPT_FOR_ROTATION = Sentence(
    "secrets_kept_for_rotation",
    "%(name)s was kept: it holds the new password of a rotation that is not finished.",
)
ROTATION_PASSWORD_EXPIRES = Sentence(
    "rotation_password_expires",
    "The password is valid until %(until)s (UTC) only, whatever it is:"
    " have somebody set VALID UNTIL of %(user)s first.",
)
ROTATION_OTHER_USER = Sentence(
    "rotation_other_user",
    "The server knows this login under another user, as a pooler may have it: its password can't be changed here.",
)
ROTATION_OF_THE_SITES_ROLE = Sentence(
    "rotation_of_the_sites_role",
    "This site logs in as %(user)s with the same password: a new one would lock it out."
    " Give the client a user of its own first.",
)
ROTATION_SERVER_IN_RECOVERY = Sentence(
    "rotation_server_in_recovery",
    "This server is a replica, which takes no changes: the login has to lead to the primary server.",
)
ROTATION_MAY_NOT_CHANGE_PASSWORD = Sentence(
    "rotation_may_not_change_password",
    "The server does not let this user change its own password (SQLSTATE %(code)s). Nothing was changed:"
    " ask its administrator.",
)
ROTATION_PASSWORD_NOT_CHANGED = Sentence(
    "rotation_password_not_changed",
    "The server refused to change the password (SQLSTATE %(code)s). Nothing was changed.",
)
ROTATION_PUT_BACK = Sentence(
    "rotation_put_back",
    "The new password did not log in, so the former one was put back. Nothing else was changed.",
)
ROTATION_SAME_SECRET = Sentence(
    "rotation_same_secret",
    "What you entered is the present secret, so nothing was rotated: enter the new one.",
)
ROTATION_CLIENT_GONE = Sentence(
    "rotation_client_gone",
    "NOVA has deleted the client meanwhile. At its server the password may be the new one, which AWS keeps as version"
    " %(version)s.",
)
ROTATION_WRITTEN_MEANWHILE = Sentence(
    "rotation_written_meanwhile",
    "Somebody gave the login another password in the meantime, which was not overwritten.",
)
ROTATION_ROW_REFUSED = Sentence(
    "rotation_row_refused",
    "NOVA's table refused the new password, so the former one was put back: %(error)s",
)

# In the audit
ROTATION_THIS_CLIENT = Sentence("rotation_this_client", "this client")
ROTATION_SCHEDULE_SET = Sentence(
    "rotation_schedule_set",
    "Database passwords of %(whose)s are rotated every %(n)s days.",
    one="Database passwords of %(whose)s are rotated every day.",
)
ROTATION_SCHEDULE_ENDED = Sentence(
    "rotation_schedule_ended",
    "Database passwords of %(whose)s are not rotated by a schedule any more.",
)
SECRET_ROTATED = Sentence("secret_rotated", "Rotated %(login)s (%(kind)s).")
ROTATION_ENDED = Sentence("rotation_ended", "Did not rotate %(login)s (%(kind)s): %(why)s")
