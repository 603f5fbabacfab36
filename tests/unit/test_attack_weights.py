"""Spoilt files end in success or in a sentence of ours, never in anything else."""

from slimfusion.bench.attack import weights as attack_weights
from slimfusion.errors import SlimFusionError


def test_spoilt_files_of_every_form_are_said_or_survived(tmp_path):
    ends = []
    for case in attack_weights.cases(tmp_path, mutations=25, seed=7):
        try:
            case.open()
            ends.append((case.path.name[4:], "opened"))
        except SlimFusionError as error:
            assert str(error).isprintable(), case.name
            ends.append((case.path.name[4:], "said"))
    assert len(ends) == 25 * len(attack_weights.FORMS)
    assert set(ends) == {(form, end) for form in attack_weights.FORMS for end in ("opened", "said")}
