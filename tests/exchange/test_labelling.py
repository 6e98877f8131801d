from __future__ import annotations

import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.exchange import labelling

WHERE = "events.tsv: image"


def test_each_rule():
    names = ["n2_9", "n10_1", "n2_10"]
    assert labelling.stimulus_labels(["a.png", "b"], "text", (), WHERE) == ("a.png", "b")
    assert labelling.stimulus_labels(["x\\y\\a.b.png", "c/d.JPEG"], "file", (), WHERE) == ("a.b", "d")
    assert labelling.stimulus_labels(["1", "3.0"], "image_index", names, WHERE) == ("n10_1", "n2_9")
    assert labelling.stimulus_labels(["1621127.01902"], "stimulus_id", (), WHERE) == ("n01621127_19020",)


@pytest.mark.parametrize(
    ("texts", "by", "own", "message"),
    [
        (
            ["1", "n/a", "x"],
            "image_index",
            ["a"],
            r"image: 2 of 3 values are no numbers, .* 'n/a' \(number 2\)",
        ),
        (["1", "2"], "image_index", ["a"], r"events\.tsv: image: image_index must be 1 to 1, but is 2"),
        (["1"], "image_index", [], r"counts the dataset's own stimuli, but it has none"),
        (["inf"], "stimulus_id", [], r"1 of 1 values are no numbers"),
    ],
)
def test_what_is_no_label_is_named(texts, by, own, message):
    with pytest.raises(DataError, match=message):
        labelling.stimulus_labels(texts, by, own, WHERE)
