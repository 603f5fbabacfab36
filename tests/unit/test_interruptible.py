"""A stop between two operations of a network, and what it leaves behind."""

import contextlib

import pytest
import torch
from networks import Around, WrappedModel, face_model
from slimfusion.engines import interruptible as module
from slimfusion.engines.cache import SessionCache
from slimfusion.engines.host import StandaloneHost
from slimfusion.engines.interruptible import Interruptible, interruptible
from slimfusion.engines.session import Session
from slimfusion.engines.torch.architectures import slim_unet
from slimfusion.models.opening import open_model

CPU = torch.device("cpu")


class StopError(Exception):
    pass


class StoppingHost(StandaloneHost):
    stopped = False

    def check_interrupt(self):
        if self.stopped:
            raise StopError


@pytest.fixture(autouse=True)
def asked_at_every_operation(monkeypatch):
    monkeypatch.setattr(module, "INTERVAL", 0.0)


class Long(Around):
    """A network of many operations, during whose second one the host is told to stop."""

    def __init__(self, network, host, done):
        super().__init__(network)
        self.host, self.done = host, done

    def run(self, inputs, fidelity):
        x = inputs[0]
        for step in range(5):
            x = torch.add(x, 1.0)
            self.done.append(step)
            self.host.stopped = step == 1
        return (x,)


def test_a_network_is_stopped_between_two_operations_and_runs_again():
    host, done = StoppingHost("cpu"), []
    model = WrappedModel(face_model(), lambda network: Long(network, host, done))
    batch = torch.zeros(1, 3, 64, 64)
    with pytest.raises(StopError), SessionCache().lease(model, CPU, "fp32", 0, host) as session:
        session.run(batch, 0.5)
    assert done == [0, 1]
    host.stopped = False
    assert Session(model, CPU, "fp32").run(batch, 0.5).max() == 1.0  # nobody to ask: it runs to its end


def test_a_network_of_tensors_is_stopped_too():
    host, done = StoppingHost("cpu"), []
    session = Session(WrappedModel(face_model(), lambda network: Long(network, host, done)), CPU, "fp32")
    session.open()
    session.interrupt_with(host.check_interrupt)
    with pytest.raises(StopError):
        session.infer((torch.zeros(1, 3, 64, 64),))
    assert done == [0, 1]


def test_nobody_is_asked_more_often_than_needed(monkeypatch):
    monkeypatch.setattr(module, "INTERVAL", 3600.0)
    asked = []
    with Interruptible(lambda: asked.append(1)):
        torch.add(torch.ones(1), 1)
    assert asked == []


def test_cards_are_handed_their_work_without_a_pause():
    assert isinstance(interruptible(torch.device("cuda"), lambda: None), contextlib.nullcontext)
    assert isinstance(interruptible(CPU, None), contextlib.nullcontext)


def test_results_have_the_same_bits():
    batch = torch.rand(1, 3, 64, 64)
    plain, asking = Session(face_model(), CPU, "fp32"), Session(face_model(), CPU, "fp32")
    asking.interrupt_with(lambda: None)
    assert torch.equal(plain.run(batch, 0.5), asking.run(batch, 0.5))


def test_a_stop_while_a_decoder_is_mixed_is_no_decoder_of_any_fidelity(monkeypatch):
    model, batch = open_model(host=StandaloneHost("cpu")), torch.rand(1, 3, 64, 64)
    session = Session(model, CPU, "fp32")
    wanted = session.run(batch, 0.5)
    fold = slim_unet.fold

    def stopped(network, amount, into):
        fold(network, amount, into)
        raise StopError

    monkeypatch.setattr(slim_unet, "fold", stopped)
    with pytest.raises(StopError):
        session.run(batch, 0.0)
    monkeypatch.setattr(slim_unet, "fold", fold)
    assert torch.equal(session.run(batch, 0.5), wanted)
