"""The command that makes generators: its files are what a study names, and its pictures are those of the latents."""

from __future__ import annotations

import numpy as np
from PIL import Image

from hpc_recon import extract, generator, ingest
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
