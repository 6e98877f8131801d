"""What shape-semantic images were made from, on the page."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
from PIL import Image

from hpc_recon.reporting import stages

BOTH = ("fused", "alone")


def write(folder, item, value, semantics):
    (folder / "stages").mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 20, 3), value, np.uint8)).save(folder / "stages" / f"{item}.png")
    record = {"item": item, "areas": ["V1", "V2"], "semantics": semantics}
    if item == "A":
        record["examples"] = ["t1", "t2"]
    (folder / f"{item}.json").write_text(json.dumps(record))


def test_the_first_items_of_each_entry_are_one_picture(tmp_path):
    for number in range(10):
        decoded = [{"model": "fused", "decoded": "six", "true": "nine" if number else None}]
        write(tmp_path / "images" / "fused" / "S1" / "VC" / "test", f"i{number}", 20 * number, decoded)
    write(tmp_path / "images" / "fused" / "S1.r1f01" / "VC" / "test", "other", 255, [])
    write(tmp_path / "images" / "alone" / "S1" / "VC" / "test", "i0", 9, [{"decoded": 3, "true": 5}])
    write(tmp_path / "images" / "alone" / "S1" / "VC" / "letters", "A", 9, [])
    alone, fused = stages.collect(tmp_path, BOTH, datasets=["test", "letters"])
    assert (alone.name, alone.items) == ("alone", ("i0 (decoded cluster 3, shows cluster 5)",))
    assert stages.collect(tmp_path, BOTH)[0].items == ("A",)
    assert [one.name for one in stages.collect(tmp_path, ["fused"])] == ["fused"]
    assert stages.collect(tmp_path, BOTH)[0].columns[-1] == "2 training images of the class decoded from semantics"
    assert fused.columns == ("stimulus", "shape from V1", "shape from V2", "joined shape", "image")
    assert fused.items[:2] == ("i0 (decoded six)", "i1 (decoded six, shows nine)")
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(fused.picture.partition(",")[2]))))
    assert picture.shape == (8 * 4, 20, 3)
    assert picture[::4, 0, 0].tolist() == [20 * number for number in range(8)]


def test_nothing_is_shown_where_stimuli_are_withheld_or_nothing_is_there(tmp_path):
    write(tmp_path / "images" / "fused" / "S1" / "VC" / "test", "i0", 9, [])
    assert stages.collect(tmp_path, BOTH, with_pictures=False) == []
    assert stages.collect(tmp_path / "nothing", BOTH) == []
