"""Which of the drivers' accounts is believed: the one that has seen the card wake."""

import pytest
from slimfusion.engines.drivers import own
from slimfusion.errors import DeviceError


class Account:
    def __init__(self, level=0):
        self.level = level

    def own_bytes(self):
        if self.level is None:
            raise DeviceError("The card was lost.")
        return self.level


@pytest.fixture
def accounts(monkeypatch):
    made = {name: Account() for name in ("dxgi", "drm", "nvml")}
    for name, account in made.items():
        monkeypatch.setattr(getattr(own, name), "own_bytes", account.own_bytes)
    return made


@pytest.mark.parametrize(("system", "names"), [("linux", ["drm", "nvml"]), ("win32", ["dxgi"]), ("darwin", [])])
def test_what_sees_the_card_wake_is_read_from_then_on(accounts, monkeypatch, system, names):
    monkeypatch.setattr(own.sys, "platform", system)
    accounts["nvml"].level = accounts["dxgi"].level = 5
    before = own.levels()
    assert len(before) == len(names)
    assert own.meter_since(before) is None
    for name, level in zip(names, before, strict=True):
        accounts[name].level += 100
        meter = own.meter_since(before)
        accounts[name].level += 7
        assert meter() == accounts[name].level
        accounts[name].level = None  # lost in the middle of a run, which then fails by itself
        assert meter() == 0
        accounts[name].level = level
