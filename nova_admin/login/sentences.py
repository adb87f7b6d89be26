"""Holds the sentences with which a login by OpenID Connect is refused, each with its key."""

from nova_credentials.messages import Sentence

NO_ANSWER = Sentence(
    "no_answer",
    "The login provider does not answer as it should. Try again; if it stays so, tell your Administrators.",
)
NOT_BEGUN_HERE = Sentence(
    "not_begun_here",
    "This login was not begun in this browser, or more than ten minutes ago. Begin it again.",
)
TOO_MANY_LOGINS = Sentence(
    "too_many_logins", "Too many logins came from your address. Wait a minute and try again."
)
NO_NEW_LOGIN = Sentence(
    "no_new_login",
    "The login provider did not say that you have just logged in there, so it proves nothing. Try again; if it stays"
    " so, tell your Administrators: the provider has to send auth_time.",
)
OTHER_PERSON = Sentence(
    "other_person", "You logged in at the login provider as somebody else, so it proves nothing."
)
PROVIDER_REFUSED = Sentence("provider_refused", "The login provider did not log you in.")
WRONG_TOKEN = Sentence(
    "wrong_token",
    "The login provider's answer is not valid for this site (%(why)s), so nobody was logged in. Tell your"
    " Administrators if it stays so.",
)
WRONG_ISSUER = Sentence("wrong_issuer", "another issuer")
WRONG_AUDIENCE = Sentence("wrong_audience", "for another site")
EXPIRED = Sentence("expired", "expired, or the clock of this site is wrong")
WRONG_SIGNATURE = Sentence("wrong_signature", "its signature is wrong")
WRONG_NONCE = Sentence("wrong_nonce", "an answer to another login")
MALFORMED = Sentence("malformed", "something is missing in it")

NO_ROLE = Sentence(
    "no_role",
    "None of your groups at the login provider has a role on this site. Ask your Administrators for one.",
)
NO_SUCH_GROUP = Sentence(
    "no_such_group",
    "The site maps one of your groups to %(name)s, which is no group of the site. Tell your Administrators: it stands"
    " in NOVA_OIDC_GROUPS.",
)
LOGINS_AT_ONCE = Sentence("logins_at_once", "Several logins came at the same moment. Log in again.")
DEACTIVATED = Sentence("deactivated", "Your account on this site was deactivated.")
