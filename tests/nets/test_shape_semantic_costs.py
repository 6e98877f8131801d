"""Projected costs of shape-semantic training: parameters as built, and more where more is computed."""

from __future__ import annotations

from hpc_recon.core.shape_options import ShapeSemanticTraining
from hpc_recon.nets import shape_semantic_costs as costs
from hpc_recon.nets.shape_semantic import Sizes

GIVEN = {"method": "shape_semantic", "shape": {"network": "shape"}}


def test_parameters_are_the_published_ones_and_operations_those_of_the_convolutions():
    generator, discriminator = costs.networks(Sizes(256, 64))
    assert (generator.n_parameters, discriminator.n_parameters) == (54_928_387, 2_767_808)
    small, _ = costs.networks(Sizes(16, 0, width=0.0625, norm="none", patch_layers=2))
    # Down 16 -> 1 and up to 8 with 4, 8, 16, 32 channels, then 3 at 16 pixels; 2 x 16 operations a weight's place.
    down = 3 * 4 * 64 + 4 * 8 * 16 + 8 * 16 * 4 + 16 * 32 * 1
    up = 32 * 16 * 1 + 32 * 8 * 4 + 16 * 4 * 16
    assert small.flops == 2 * 16 * (down + up) + 2 * 16 * 8 * 3 * 256


def test_what_costs_more_is_projected_to_cost_more():
    plain = costs.project(ShapeSemanticTraining(**GIVEN, profile="tiny"), 4)
    wide = costs.project(ShapeSemanticTraining(**GIVEN, profile="tiny", width=0.5), 4)
    alone = costs.project(ShapeSemanticTraining(**GIVEN, profile="tiny", adversarial_weight=0), 4)
    for name in ("seconds", "weights_bytes", "activations_bytes", "checkpoint_bytes"):
        assert getattr(alone, name) < getattr(plain, name) < getattr(wide, name)
    measured = costs.project(ShapeSemanticTraining(**GIVEN, profile="tiny", seconds_per_step=3.0), 4)
    assert 3.0 < measured.seconds < 3.1
