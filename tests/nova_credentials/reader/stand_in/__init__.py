"""A stand-in for NOVA's checkout: its worker, and the one module through which it reads clients."""
