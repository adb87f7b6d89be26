"""Moves clients from phase to phase and back, each through its gate, some with a second person's approval."""
