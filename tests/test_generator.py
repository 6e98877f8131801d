"""The command that makes generators: its files are what a study names, and its pictures are those of the latents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hpc_recon import extract, generator, ingest
from hpc_recon.nets import latent_generators
from hpc_recon.stores import arrays, images, layout


def test_what_it_makes_is_what_a_study_reads_and_what_it_renders_are_the_stimuli(
    latent_study, run_verb, tmp_path, capsys
):
    study = latent_study()
    run_verb(ingest, study)
    here = ["--study", str(tmp_path / "study.yaml"), "--to", str(tmp_path / "own")]
    assert generator.main(["make", "linear", *here, "--latents", "3"]) == 0
    assert "linear of 40 training images, 3 numbers a latent" in capsys.readouterr().out
    array = {"file": "own/linear_latents.npy", "labels": "own/labels.txt"}
    network = {"architecture": "features", "features": {"arrays": {"z": [array]}}, "layers": ["z"]}
    entry = {"method": "latent", "network": "pca", "generator": {"kind": "linear", "weights": "own/linear.pt"}}
    study = latent_study({"eigenface": entry}, networks={"pca": network})
    run_verb(extract, study)
    stored = arrays.read(study.workspace, layout.features("pca", "z"))
    np.testing.assert_array_equal(stored, np.load(tmp_path / "own" / "linear_latents.npy"))

    np.save(tmp_path / "z.npy", arrays.read(study.workspace, layout.features("pca", "z"))[:0])
    labels = tmp_path / "labels.txt"
    labels.write_text("s040\ns041\n")
    np.save(tmp_path / "z.npy", np.load(tmp_path / "test.npy")[:2])
    render = ["render", str(tmp_path / "z.npy"), "--labels", str(labels), "--weights", str(tmp_path / "g.pt")]
    assert generator.main([*render, "--to", str(tmp_path / "png")]) == 0
    made = np.stack([np.asarray(Image.open(tmp_path / "png" / f"s04{i}.png")) for i in (0, 1)])
    np.testing.assert_allclose(made.astype(int), images.read_images(study.workspace, slice(40, 42)), atol=1)
    assert generator.main([*render, "--to", str(tmp_path / "png")]) == 0
    assert "0 images written" in capsys.readouterr().out

    labels.write_text("s040\n")
    assert generator.main([*render, "--to", str(tmp_path / "png")]) == 2
    assert "1 labels, but latents (2, 6)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": "a\na\n"}, "names 'a' twice"),
        ({"labels": "a\nb/c\n"}, "the label 'b/c' cannot name an image"),
        ({"kind": "vae"}, "kind must be pggan, linear, decoder"),
        ({"to": "z.npy"}, "z.npy cannot be made a folder (File exists)"),
    ],
)
def test_what_cannot_be_rendered_is_said_without_a_traceback(tmp_path, capsys, changes, message):
    np.save(tmp_path / "z.npy", np.zeros((2, 3), np.float32))
    (tmp_path / "labels.txt").write_text(changes.get("labels", "a\nb\n"))
    words = ["render", str(tmp_path / "z.npy"), "--labels", str(tmp_path / "labels.txt"), "--weights", "g.pt"]
    words += ["--kind", changes.get("kind", "linear"), "--to", str(tmp_path / changes.get("to", "png"))]
    assert generator.main(words) == 2
    assert message in capsys.readouterr().err


def test_a_picture_that_a_kill_cut_short_is_not_taken_for_one(tmp_path, monkeypatch):
    """What is there is not rendered again, so a picture must be whole or absent."""
    np.save(tmp_path / "z.npy", np.zeros((1, 2), np.float32))
    (tmp_path / "labels.txt").write_text("a\n")
    state = {"mean": torch.full((3, 8, 8), 0.5), "components": torch.zeros(2, 3, 8, 8)}
    (tmp_path / "g.pt").write_bytes(latent_generators.state_bytes(state))

    def killed(self, file, **options):
        (file.write_bytes if isinstance(file, Path) else file.write)(b"half")
        raise KeyboardInterrupt

    words = ["render", str(tmp_path / "z.npy"), "--labels", str(tmp_path / "labels.txt"), "--kind", "linear"]
    words += ["--weights", str(tmp_path / "g.pt"), "--to", str(tmp_path / "png")]
    with monkeypatch.context() as patched:
        patched.setattr(Image.Image, "save", killed)
        assert generator.main(words) == 1
    assert not list((tmp_path / "png").glob("*.png"))
    assert generator.main(words) == 0
    with Image.open(tmp_path / "png" / "a.png") as picture:
        assert picture.size == (8, 8)


def test_a_size_is_refused_where_pixels_are_those_of_the_stimuli(tmp_path, capsys):
    assert generator.main(["make", "linear", "--to", str(tmp_path), "--size", "32"]) == 2
    assert "--size is there for decoder and pggan" in capsys.readouterr().err
