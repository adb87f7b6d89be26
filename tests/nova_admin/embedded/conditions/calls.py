"""Calls of AWS under conditions, and the clock they see."""

from nova_admin.embedded.conditions import Conditions
from nova_admin.embedded.faults import FaultRule


def strike(server, fault, **rule):
    server.conditions.set(Conditions(faults=(FaultRule(fault=fault, **rule),)))


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def fine(environ, start_response):
    start_response("200 OK", [])
    return [b'{"Name": "idom"}']
