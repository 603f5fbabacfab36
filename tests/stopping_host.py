"""A host whose user has pressed stop."""

from slimfusion.engines.host import StandaloneHost


class Stopped(BaseException):
    pass


class StoppingHost(StandaloneHost):
    def check_interrupt(self):
        raise Stopped
