"""Holds the sentences about second factors and the mails about logins, each with the key under which it is stored."""

from nova_credentials.messages import Sentence

# Set-up
CODE_NOT_RIGHT = Sentence(
    "code_not_right",
    "That code is not right. Type the one that your app shows now; if it is that one, the clock of your phone may be"
    " wrong.",
)
CODE_OF_ANOTHER_TIME = Sentence(
    "code_of_another_time",
    "That code is about %(n)s minutes off: the clock of your phone is wrong, or that of this site. Have your phone set"
    " its clock by itself, and try again.",
    one="That code is about a minute off: the clock of your phone is wrong, or that of this site. Have your phone set"
    " its clock by itself, and try again.",
)

FACTOR_SET_UP_MEANWHILE = Sentence(
    "factor_set_up_meanwhile", "You have a second factor by now: it is not replaced this way."
)

# Proving who one is
NO_PROOF = Sentence(
    "no_proof",
    "That is neither your password nor a code of a second factor that you had before this login.",
)

PROVE_AT_PROVIDER = Sentence(
    "prove_at_provider",
    "That you logged in at the provider was not shown, or more than five minutes ago. Log in there again.",
)

# Entering a code
CODE_REFUSED = Sentence(
    "code_refused",
    "That code is not right, or was used before. If your app shows it now, the clock of your phone may be wrong: have"
    " it set its clock by itself, and try the next code.",
)
CODE_TOO_SOON = Sentence(
    "code_too_soon",
    "Too many wrong codes: wait %(n)s seconds and give the next one.",
)
CODE_MUCH_TOO_SOON = Sentence(
    "code_much_too_soon",
    "Too many wrong codes were given for you. The next one is looked at in %(n)s minutes. If it was not you, somebody"
    " has your password: tell your Administrators, who can end this wait.",
    one="Too many wrong codes were given for you. The next one is looked at in a minute. If it was not you, somebody"
    " has your password: tell your Administrators, who can end this wait.",
)
FACTOR_UNREADABLE = Sentence(
    "factor_unreadable",
    "Your second factor can no longer be read, as the site's SECRET_KEY was changed. A user administrator"
    " has to reset it.",
)

# Reset
OWN_FACTOR = Sentence("own_factor", "This is your own second factor: replace it on your own page.")
FACTOR_OF_SUPERUSER = Sentence(
    "factor_of_superuser", "Only a superuser resets the second factor of a superuser."
)
NO_FACTOR = Sentence("no_factor", "%(who)s has no second factor.")

# Mails
MAIL_RESET = Sentence(
    "mail_reset",
    "%(by)s reset your second factor at NOVA Admin, and you were logged out. At your next login you set up a new one."
    " If you did not ask for it, tell your Administrators now.",
)
MAIL_RESET_BY_COMMAND = Sentence(
    "mail_reset_by_command",
    "Your second factor at NOVA Admin was reset on the server, and you were logged out. At your next login you set up a"
    " new one. If you did not ask for it, tell your Administrators now.",
)
MAIL_SET_UP = Sentence(
    "mail_set_up",
    "A second factor was set up for your login at NOVA Admin. If it was not you, tell your Administrators now.",
)
MAIL_NEW_CODES = Sentence(
    "mail_new_codes",
    "New recovery codes were made for your login at NOVA Admin; the old ones no longer work. If it was not you, tell"
    " your Administrators now.",
)
MAIL_GUESSED = Sentence(
    "mail_guessed",
    "Somebody who has your password gave several wrong codes of your second factor at NOVA Admin. If it was not you,"
    " change your password and tell your Administrators now. You are told this once a day at most.",
)
MAIL_ADDRESS_CHANGED = Sentence(
    "mail_address_changed",
    "The mail address of %(who)s at NOVA Admin was changed: mails about this login no longer come here. If you did not"
    " ask for it, tell your Administrators now.",
)
MAIL_ADDRESS_SUBJECT = Sentence("mail_address_subject", "NOVA Admin: your mail address")
MAIL_SUBJECT = Sentence("mail_subject", "NOVA Admin: your second factor")
