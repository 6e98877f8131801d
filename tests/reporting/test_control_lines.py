"""What the report says of controls."""

import pytest

from hpc_recon.reporting import control_lines


def entry(values, *, leaks):
    place = {"variant": "direct", "roi": "VC", "dataset": "natural", "subject": "S1"}
    return {**place, "identification": values, "p": [0.5] * 3, "n_images": 12, "leaks": leaks}


def content(state, sets=()):
    other = {"name": "noise", "state": "not run", "sets": []}
    leaks = [{"variant": "direct", "roi": "VC"}] if any(s["leaks"] for s in sets) else []
    return {"controls": [{"name": "shuffled", "state": state, "sets": list(sets)}, other], "leaks": leaks}


@pytest.mark.parametrize(
    ("found", "tone", "text"),
    [
        ({}, "open", "not run (python -m hpc_recon.control)"),
        (content("changed"), "open", "control --redo"),
        (content("finished"), "open", "made no images"),
        (
            content("finished", [entry([0.4, 0.5, 0.6], leaks=False)]),
            "good",
            "natural, S1 50\N{NO-BREAK SPACE}% (repeats 40\N{NO-BREAK SPACE}% to 60",
        ),
        (content("finished", [entry([0.9, 0.9, 0.9], leaks=True)]), "doubt", "LEAK"),
        (content("finished", [entry([None] * 3, leaks=False)]), "good", "no two images"),
    ],
)
def test_each_state_has_its_line(make_study, found, tone, text):
    (first, second, *_) = control_lines.lines(found, make_study(), variant="direct", roi="VC")
    assert first[:2] == (tone, "Shuffled labels")
    assert text.lower() in first[2].lower()
    assert second[0] == "open"
    assert control_lines.lines(found, make_study(), variant=None, roi="VC") == []


def clusters(held, p, *, known=0.8):
    place = {"variant": "direct", "roi": "VC", "dataset": "natural", "subject": "S1"}
    found = {"all": {"mean": known, "p": 0.0001}, "held_out": {"mean": held, "p": p}}
    sets = [{**place, **found, "n_images": 12, "n_clusters": 4, "generalises": p < 0.05, "leaks": False}]
    return {"controls": [{"name": "clusters", "state": "finished", "sets": sets}], "leaks": []}


def test_held_out_clusters_stand_beside_all_training_images(make_study):
    ((tone, title, text),) = control_lines.lines(clusters(0.7, 0.0001), make_study(), variant="direct", roi="VC")
    assert (tone, title) == ("good", "Without its cluster")
    assert "1 of 1 sets" in text
    assert (
        "70\N{NO-BREAK SPACE}% (p < 0.001), with all training images 80\N{NO-BREAK SPACE}% (12 images, 4 clusters"
        in text
    )
    ((tone, _, text),) = control_lines.lines(clusters(0.5, 0.4), make_study(), variant="direct", roi="VC")
    assert tone == "doubt"
    assert "0 of 1 sets" in text
    assert "p = 0.400" in text


def test_only_the_method_that_leaks_is_condemned():
    found = content("finished", [entry([0.9, 0.9, 0.9], leaks=True)])
    assert control_lines.is_leak(found, variant="direct", roi="VC")
    assert not control_lines.is_leak(found, variant="other", roi="VC")
    assert not control_lines.is_leak({}, variant="direct", roi="VC")
