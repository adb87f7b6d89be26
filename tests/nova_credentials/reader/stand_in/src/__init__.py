"""NOVA's code, as far as it has to do with clients."""
