"""The login: second factors, and OpenID Connect."""
