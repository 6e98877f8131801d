"""Images of a trained shape-semantic generator: of the items by name, averaged over seeds, beside their shapes."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from hpc_recon import reconstruct
from hpc_recon.core.errors import MissingStore
from hpc_recon.methods import shape_semantic
from hpc_recon.reconstruction import shape_semantic as maker
from hpc_recon.stores import images, items, layout, shapes
from hpc_recon.training import Place, shape_inputs
from hpc_recon.training.models import Model

PLACE = Place("fused", "S1", "VC")


@pytest.fixture(scope="module")
def made(shape_study, run_verb):
    own = shape_study.reconstruct["fused"]
    entries = {
        "fused": own.model_copy(update={"images_per_tile": 3}),
        "shape": own.model_copy(update={"shows": "shape"}),
        "twice": own.model_copy(update={"averaged_with": ("fused",)}),
    }
    study = shape_study.model_copy(update={"reconstruct": entries})
    run_verb(reconstruct, study)
    return study


def image(study, variant, item):
    path = layout.image_file(study, variant, "S1", "VC", "test", item)
    return np.load(path.with_suffix(".npy")), json.loads(path.with_suffix(".json").read_text()), path


def test_each_image_is_that_of_its_item(made):
    inputs = shape_inputs.read(made, PLACE)
    shape, semantic, _ = shape_inputs.of_items(made, PLACE, "test", inputs)
    state = Model(made, "fused", "S1", "VC").read(4).trainer
    generator = shape_semantic.trained(made.train["fused"], state, n_semantic=4)
    shown = items.read_shown(made, "S1", "test")
    assert len(shown.names) == 4
    for i, name in enumerate(shown.names):
        given = shape_semantic.as_input(shape[i : i + 1], size=16)
        expected = shape_semantic.images_of(generator, given, semantic[i : i + 1], device="cpu")[0]
        values, record, _ = image(made, "fused", name)
        np.testing.assert_allclose(values, expected, atol=1e-6)
        np.testing.assert_allclose(image(made, "shape", name)[0], (given[0].transpose(1, 2, 0) + 1) / 2, atol=1e-6)
        np.testing.assert_allclose(image(made, "twice", name)[0], expected, atol=1e-6)
        assert record["areas"] == ["V1", "V2"]
        assert record["semantics"][0]["true"] == name[0]
        assert record["semantics"][0]["decoded"] in ("a", "b")


def test_what_was_decoded_lies_beside_the_image(made):
    name = items.read_shown(made, "S1", "test").names[0]
    _, _, path = image(made, "fused", name)
    strip = np.asarray(Image.open(path.parent / "stages" / f"{path.stem}.png"))
    assert strip.shape == (96, 8 * 96, 3)  # the stimulus, two areas, the joined shape, the image, three examples
    row = items.read_shown(made, "S1", "test").rows[:1]
    stimulus = images.read_images(layout.workspace_of(made), row)[0]
    np.testing.assert_array_equal(strip[3::6, 3:96:6], stimulus)
    joined = shape_inputs.of_items(made, PLACE, "test", shape_inputs.read(made, PLACE))[0][0, 0].clip(0, 1)
    np.testing.assert_allclose(strip[6::12, 3 * 96 + 6 : 4 * 96 : 12, 0] / 255, joined, atol=0.003)


def test_training_images_of_the_decoded_class_lie_beside_the_image(made):
    table = images.read_table(layout.workspace_of(made))
    for name in items.read_shown(made, "S1", "test").names:
        _, record, path = image(made, "fused", name)
        wanted = record["semantics"][0]["decoded"]
        training = [row for row in shape_inputs.read(made, PLACE).rows.tolist() if table.category[row] == wanted][:3]
        assert record["examples"] == [table.labels[row] for row in training]
        strip = np.asarray(Image.open(path.parent / "stages" / f"{path.stem}.png"))
        for i, stimulus in enumerate(images.read_images(layout.workspace_of(made), np.array(training))):
            np.testing.assert_array_equal(strip[3::6, (5 + i) * 96 + 3 : (6 + i) * 96 : 6], stimulus)


def test_examples_of_a_cluster_are_those_nearest_to_its_centre(made):
    """The clusters of the pixels themselves, made here by hand."""
    inputs = shape_inputs.read(made, PLACE)
    rows = inputs.rows[inputs.has_brain]
    options = made.train["fused"]
    network = options.shape.network
    layer = made.networks[network].layers[0]
    embedding = items.true_features(made, network, layer, rows)
    centres = embedding[[0, -1]]
    own = inputs.semantics.__class__(
        inputs.semantics.decoder, inputs.semantics.mean, inputs.semantics.scale, centres, ()
    )
    clustered = dataclasses.replace(inputs, semantics=own)
    chosen = options.semantic.model_copy(update={"target": "kmeans", "network": network, "layer": layer})
    study = made.model_copy(update={"train": {"fused": options.model_copy(update={"semantic": chosen})}})
    decoded = np.array([1, 0, 1, 1])
    found = maker._examples(study, PLACE, clustered, decoded)
    distance = np.linalg.norm(embedding[:, None] - centres, axis=2)
    for cluster, shown in zip(decoded, found, strict=True):
        members = np.flatnonzero(distance.argmin(axis=1) == cluster)
        nearest = rows[members[np.argsort(distance[members, cluster], kind="stable")]][:3]
        assert shown.tolist() == [*nearest.tolist(), *[-1] * (3 - len(nearest))]


def test_tiles_follow_networks_and_decoded_shapes(made):
    tiles = reconstruct.plan(made, shapes.read(made))
    own = [tile for tile in tiles if tile.group.path[0] == "fused"]
    assert [(tile.start, tile.stop) for tile in own] == [(0, 3), (3, 4)]
    assert own[0].group.upstream == (
        *("ingest/stimuli", "ingest/S1", "train/_inputs/fused/S1/VC", "train/fused/S1/VC"),
        *("decode/S1/V1/shape/pixels", "decode/S1/V2/shape/pixels"),
    )
    alone = next(tile for tile in tiles if tile.group.path[0] == "shape")
    assert "train/fused/S1/VC" not in alone.group.upstream  # a shape needs no generator
    longer = made.model_copy(update={"train": {"fused": made.train["fused"].model_copy(update={"steps": 9})}})
    assert reconstruct.plan(longer, shapes.read(made))[0].group.settings != own[0].group.settings
    with pytest.raises(MissingStore, match=r"not trained to step 9; run .*hpc_recon.train"):
        reconstruct.prepare(longer)
