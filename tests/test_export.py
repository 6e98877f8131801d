"""`export` from the command line: what it writes, says and refuses; and features that come back in."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from hpc_recon import decode, export, extract, fit
from hpc_recon.core.tiles import Group, Tile
from hpc_recon.formats import feature_trees
from hpc_recon.stores import arrays, images, layout


@pytest.fixture
def decoded(decodable, run_verb):
    study, _ = decodable(decode={"norm_correction": "train_mean_center"}, rois=["V1", "VC"])
    run_verb(fit, study)
    run_verb(decode, study)
    return study


def run(tmp_path: Path, *arguments: str) -> int:
    return export.main([*arguments, "--study", str(tmp_path / "study.yaml")])


def test_decoded_features_as_they_are_and_corrected_as_reconstruct_reads_them(decoded, tmp_path: Path, capsys) -> None:
    from hpc_recon.core.options import IcnnOptions
    from hpc_recon.reconstruction import targets

    assert run(tmp_path, "decoded", "--to", str(tmp_path / "plain"), "--roi", "VC") == 0
    assert "decoded: 18 files written to" in capsys.readouterr().out
    assert run(tmp_path, "decoded", "--to", str(tmp_path / "corrected"), "--roi", "VC", "--corrected") == 0
    method = {"icnn": IcnnOptions(method="icnn", network="net")}
    study = decoded.model_copy(update={"reconstruct": method})
    for layer in ("conv", "fc"):
        plain, corrected = (
            feature_trees.DecodedTree(tmp_path / name).read(layer, "S1", "VC") for name in ("plain", "corrected")
        )
        for dataset, n in (("natural", 6), ("shapes", 3)):
            rows = [i for i, label in enumerate(plain[0]) if label.startswith(dataset)]
            stored = arrays.read(study.workspace, layout.decoded("S1", "VC", dataset, "net", layer))
            np.testing.assert_array_equal(plain[1][rows], stored)
            place = ("S1", "VC", dataset)
            read = targets._corrected(study, method["icnn"], place, layer, slice(0, n))
            np.testing.assert_array_equal(corrected[1][rows], read)
        assert np.abs(corrected[1] - plain[1]).max() > 0.01


def test_a_dry_run_lists_and_touches_nothing_and_a_second_run_keeps_all(decoded, tmp_path: Path, capsys) -> None:
    arguments = ("decoders", "--to", str(tmp_path / "to"), "--roi", "V1", "--layer", "conv")
    assert run(tmp_path, *arguments, "--dry-run") == 0
    printed = capsys.readouterr().out
    assert "conv/S1/V1/model/W/4 files 00000000.mat ... 00000003.mat" in printed
    assert "13 files of about" in printed
    assert "0 kept" in printed
    assert not (tmp_path / "to").exists()
    assert run(tmp_path, *arguments) == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "to").rglob("*.mat")}
    capsys.readouterr()
    assert run(tmp_path, *arguments) == 0
    assert "decoders: 0 files written to" in (printed := capsys.readouterr().out)
    assert "13 kept" in printed
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "to").rglob("*.mat")} == before


def test_features_come_back_in_equal(decoded, tmp_path: Path, make_study, run_verb) -> None:
    assert run(tmp_path, "features", "--to", str(tmp_path / "lab")) == 0
    network = {"architecture": "features", "features": {"folders": "lab"}, "layers": ["conv", "fc"]}
    again = make_study(networks={"net": network}, workspace=str(tmp_path / "again"))
    table = images.read_table(decoded.workspace)
    stimuli = images.Stimuli(
        images.read_images(decoded.workspace), table.labels, table.dataset, table.category, table.source
    )
    files = images.write_stimuli(again.workspace, stimuli, made_by="simulate/stimuli")
    _receipt(again.workspace, files)
    run_verb(extract, again)
    for layer in ("conv", "fc"):
        for place in (layout.features("net", layer), layout.norms("net", layer)):
            np.testing.assert_array_equal(arrays.read(again.workspace, place), arrays.read(decoded.workspace, place))


def _receipt(workspace: Path, files: list[Path]) -> None:
    from hpc_recon.core import receipts
    from hpc_recon.core.files import write_json

    group = Group("simulate", ("stimuli",))
    receipts.write(workspace, Tile(group, "stimuli", 0, 1), files, {})
    write_json(receipts.group_folder(workspace, group) / receipts.GROUP_FILE, {"digest": "x"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("features", "--roi", "V1", "--unit", "3"), "--roi has no effect on features, which is chosen by --network"),
        (("features", "--roi", "V1", "--unit", "3"), "--unit goes with maps"),
        (("brain", "--corrected"), "--corrected goes with decoded"),
        (("decoded", "--layer", "con"), "--layer 'con' is not in the study; did you mean 'conv'"),
        (("decoded", "--dataset", "training"), "nothing of decoded is chosen"),
        (("decoded", "--corrected", "--set", "decode.norm_correction=none"), "there is nothing to apply"),
        (("maps",), "nothing says where the voxels of S1 lie"),
        (("decoded", "--set", "workspace=elsewhere"), "does not exist"),
    ],
)
def test_what_makes_no_sense_is_refused(
    decodable, tmp_path: Path, capsys, monkeypatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    decodable()
    assert run(tmp_path, *arguments, "--to", str(tmp_path / "to")) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "to").exists()


def test_somebody_elses_files_are_left_alone(decodable, tmp_path: Path, capsys) -> None:
    decodable()
    theirs = tmp_path / "to" / "fc" / "natural00.mat"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")
    assert run(tmp_path, "features", "--to", str(tmp_path / "to")) == 2
    assert "1 files in" in capsys.readouterr().err
    assert [path for path in (tmp_path / "to").rglob("*") if path.is_file()] == [theirs]
    assert run(tmp_path, "features", "--to", str(tmp_path / "to"), "--overwrite") == 0
    assert theirs.read_bytes() != b"theirs"


def test_the_commands_of_the_page(decoded, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "export.md").read_text()
    (block,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    commands = [shlex.split(line) for line in block.splitlines()]
    assert {command[3] for command in commands} == set(export.WHAT) - {"maps"}
    for command in commands:
        assert command[:3] == ["python", "-m", "hpc_recon.export"]
        if command[3] == "converters":  # this study converts nothing: tests/exchange/test_export_converters.py
            assert export.main(command[3:]) == 2
            assert "no section `convert:`" in capsys.readouterr().err
            continue
        assert export.main(command[3:]) == 0, capsys.readouterr().err
    assert feature_trees.DecodedTree(tmp_path / "lab" / "decoded").groups()
    assert len(list((tmp_path / "lab").rglob("*.mat"))) > 100
