"""The permissions in AWS: which the site and NOVA's reader need, as policies, and whether the account has them."""
