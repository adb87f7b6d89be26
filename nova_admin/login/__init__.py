"""The login: the password, the second factor, and OpenID Connect where it is set."""
