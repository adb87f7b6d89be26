"""Sentences about the cost: what the plan says of a number of clients, and what else there is."""

from __future__ import annotations

from nova_credentials.messages import Sentence

COST_KEEP = Sentence(
    "cost_keep",
    "keep PostgreSQL, unless you need compliance, rotation or credentials apart from the main database.",
)
COST_EITHER = Sentence(
    "cost_either",
    "its number is at the bound: compliance, rotation and keeping credentials apart decide.",
)
COST_MIGRATE = Sentence("cost_migrate", "migrate to AWS Secrets Manager.")

NOVAS_POSTGRES = Sentence("novas_postgres", "the PostgreSQL that NOVA has")
RAILWAY = Sentence("railway", "a PostgreSQL of its own on Railway")
VAULT = Sentence("vault", "HashiCorp Vault, run by yourself")
