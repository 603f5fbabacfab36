"""DXGI's calls against COM objects made here: tables of functions in which only the right slots answer."""

import ctypes
from uuid import UUID

import pytest
from slimfusion.engines.drivers import dxgi
from slimfusion.engines.memory.budget import GIB, MIB
from slimfusion.errors import DependencyError, DeviceError

call = dxgi._prototype
HRESULT, POINTER, UINT, INT = ctypes.c_int32, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int32
NOT_FOUND, REMOVED = -0x7785FFFE, -0x7785FFFB  # as HRESULT, which is signed


class Com:
    """A COM object: a pointer to a table. methods: slot -> (argument types, function)."""

    def __init__(self, methods, slots=20):
        self.references = 0
        own = {dxgi.RELEASE: ((), self._released), **methods}
        self._functions = {slot: call(HRESULT, POINTER, *types)(function) for slot, (types, function) in own.items()}
        table = (POINTER * slots)()  # a slot that is not ours is a null pointer: to call it would end the process
        for slot, function in self._functions.items():
            table[slot] = ctypes.cast(function, POINTER)
        self._table = table
        self._object = POINTER(ctypes.addressof(table))

    def given(self, out):
        self.references += 1
        ctypes.cast(out, ctypes.POINTER(POINTER))[0] = ctypes.addressof(self._object)
        return 0

    def _released(self, this):
        self.references -= 1
        return self.references


class Card:
    """An adapter and what is asked of it."""

    def __init__(self, name, dedicated, flags=0, local=(7 * GIB, 300 * MIB), non_local=(8 * GIB, 20 * MIB)):
        self.name, self.dedicated, self.flags, self.levels = name, dedicated, flags, (local, non_local)
        self.status = 0
        self.adapter3 = Com({14: ((UINT, INT, POINTER), self._memory)})
        self.adapter1 = Com({0: ((POINTER, POINTER), self._query), 10: ((POINTER,), self._describe)})

    def _query(self, this, iid, out):
        assert ctypes.string_at(iid, 16) == UUID("645967a4-1392-4310-a798-8053ce3e93fd").bytes_le
        return self.adapter3.given(out)

    def _describe(self, this, out):
        desc = ctypes.cast(out, ctypes.POINTER(dxgi.AdapterDesc1)).contents
        for place, code in enumerate(self.name.encode("utf-16-le")[::2]):
            desc.description[place] = code
        desc.dedicated_video, desc.shared_system, desc.flags = self.dedicated, 16 * GIB, self.flags
        return 0

    def _memory(self, this, node, group, out):
        assert node == 0
        info = ctypes.cast(out, ctypes.POINTER(dxgi.MemoryInfo)).contents
        info.budget, info.usage = self.levels[group]
        return self.status


class Library:
    def __init__(self, *cards):
        self.cards = cards
        self.factory = Com({12: ((UINT, POINTER), self._enumerate)})
        self.status = 0

    def CreateDXGIFactory1(self, iid, out):
        assert iid._obj.raw == UUID("770aae78-f26f-4dba-a829-253c83d1b387").bytes_le
        return self.status or self.factory.given(ctypes.addressof(out._obj))

    def _enumerate(self, this, index, out):
        return self.cards[index].adapter1.given(out) if index < len(self.cards) else NOT_FOUND


@pytest.fixture
def windows(monkeypatch):
    library = Library(Card("Intel Iris Xe", 128 * MIB), Card("Basic Render", 0, flags=2))
    monkeypatch.setattr(dxgi, "_library", lambda: library)
    dxgi._opened.cache_clear()
    dxgi._cards.cache_clear()
    yield library
    dxgi._opened.cache_clear()
    dxgi._cards.cache_clear()


def test_layouts_are_those_of_the_headers():
    assert ctypes.sizeof(dxgi.AdapterDesc1) == 312
    expected = {"vendor": 256, "dedicated_video": 272, "luid_low": 296, "flags": 304}
    assert {name: getattr(dxgi.AdapterDesc1, name).offset for name in expected} == expected
    assert ctypes.sizeof(dxgi.MemoryInfo) == 32


def test_all_cards_are_listed_and_every_reference_is_given_back(windows):
    first, second = dxgi.adapters()
    assert first == dxgi.Adapter("Intel Iris Xe", 128 * MIB, 16 * GIB, software=False)
    assert second.software
    objects = [windows.factory, *(card.adapter1 for card in windows.cards)]
    assert [each.references for each in objects] == [0, 0, 0]


def test_usage_is_this_processs_and_asks_for_the_card_once(windows):
    for used in (300 * MIB, 500 * MIB):
        windows.cards[0].levels = ((7 * GIB, used), (8 * GIB, 20 * MIB))
        assert dxgi.usage(0) == dxgi.Usage(7 * GIB, used, 20 * MIB)
    assert windows.cards[0].adapter3.references == 1
    assert windows.factory.references == windows.cards[0].adapter1.references == 0


def test_what_this_process_holds_is_that_of_all_cards_where_it_is_and_where_it_was_moved(windows):
    windows.cards += (Card("Arc", 8 * GIB, local=(7 * GIB, 30 * MIB), non_local=(8 * GIB, 4 * MIB)),)
    assert dxgi.own_bytes() == (300 + 20 + 30 + 4) * MIB  # not the software's


def test_a_card_that_is_not_there_is_one_sentence(windows):
    with pytest.raises(DeviceError, match="There is no graphics card 2"):
        dxgi.usage(2)
    assert windows.factory.references == 0


def test_a_card_that_was_lost_is_one_sentence(windows):
    windows.cards[0].status = REMOVED
    with pytest.raises(DeviceError, match="0x887A0005"):
        dxgi.usage(0)


def test_an_old_windows_is_one_sentence(windows, monkeypatch):
    monkeypatch.setattr(windows.cards[0], "_query", None)
    refusing = Com({0: ((POINTER, POINTER), lambda this, iid, out: -0x7FFFBFFE)})
    windows.cards[0].adapter1 = refusing
    with pytest.raises(DependencyError, match="Windows 10"):
        dxgi.usage(0)
    assert refusing.references == 0


def test_a_factory_that_cannot_be_made_is_one_sentence(windows):
    windows.status = REMOVED
    with pytest.raises(DeviceError, match="CreateDXGIFactory1: 0x887A0005"):
        dxgi.adapters()


def test_without_dxgi_there_are_no_cards(monkeypatch):
    monkeypatch.setattr(dxgi, "_library", lambda: None)
    dxgi._opened.cache_clear()
    assert dxgi.adapters() == []
    with pytest.raises(DependencyError, match="no DXGI here"):
        dxgi.usage(0)


@pytest.mark.skipif(dxgi.sys.platform != "win32", reason="needs Windows")
def test_windows_itself_answers():
    found = dxgi.adapters()
    assert found and dxgi.usage(0).budget > 0
