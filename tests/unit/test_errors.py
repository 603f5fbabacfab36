"""Messages that can be printed anywhere, whatever a name in them is made of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slimfusion.errors import BudgetError, ModelFileError, SlimFusionError, printable


@given(st.text(st.characters()))
def test_every_message_can_be_encoded_and_stays_one_line(text):
    shown = str(SlimFusionError(text))
    shown.encode()
    assert shown == "" or len(shown.splitlines()) == 1
    assert printable(shown) == shown


@pytest.mark.parametrize("text", ["", "a model.pth", "名 模型.pth", "Zoë\u3000ok", "😀"])
def test_what_can_be_shown_stays_as_it_is(text):
    assert str(ModelFileError(text)) == text


def test_what_cannot_is_escaped():
    assert str(ModelFileError("\udcc4\udcd0.pth")) == r"\xc4\xd0.pth"
    assert str(ModelFileError("a\nb\x1b[31m\u202e\ud800")) == r"a\nb\x1b[31m\u202e\ud800"
    assert str(BudgetError("\udcff", 1, 2)) == r"\xff"
