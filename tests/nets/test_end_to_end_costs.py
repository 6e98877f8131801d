"""What a step costs: parameters and operations of the published networks, counted by hand."""

from __future__ import annotations

from hpc_recon.core.train_options import EndToEndTraining
from hpc_recon.nets import end_to_end_costs
from hpc_recon.nets.end_to_end import Sizes


def test_operations_of_the_published_networks():
    generator, discriminator = end_to_end_costs.networks(Sizes.published(11726))
    assert (generator.n_parameters, discriminator.n_parameters) == (87_348_736, 1_081_410)
    # Fully connected: a multiplication and an addition a weight. Transposed: a weight at each place of the input.
    dense = 4096 * (11726 + 4096 + 4096)
    maps = [(256, 256, 16, 4), (256, 512, 9, 8), (512, 256, 16, 8), (256, 256, 9, 16), (256, 128, 16, 16)]
    maps += [(128, 128, 9, 32), (128, 64, 16, 32), (64, 32, 16, 64), (32, 3, 16, 128)]
    assert generator.flops == 2 * (dense + sum(a * b * kernel * side**2 for a, b, kernel, side in maps))
    sees = [(147, 32, 56), (800, 64, 52), (576, 128, 25), (1152, 256, 23), (2304, 256, 11)]
    assert discriminator.flops == 2 * (sum(f * out * n * n for f, out, n in sees) + 256 * 256 + 512)


def test_what_is_left_out_costs_nothing(monkeypatch):
    monkeypatch.setenv("HPC_RECON_THREADS", "2")
    whole = EndToEndTraining(method="end_to_end", profile="tiny")
    found = end_to_end_costs.project(whole, 3000)
    for term in ("feature", "adversarial"):
        part = whole.model_copy(update={"losses": whole.losses.model_copy(update={term: 0.0})})
        less = end_to_end_costs.project(part, 3000)
        assert less.seconds < found.seconds
        assert less.activations_bytes < found.activations_bytes
        assert less.weights_bytes < found.weights_bytes
    known = whole.model_copy(update={"seconds_per_step": 0.5})
    assert end_to_end_costs.project(known, 3000).seconds == 0.502


def test_a_checkpoint_holds_weights_and_two_means():
    given = EndToEndTraining(method="end_to_end")
    found = end_to_end_costs.project(given, 11726)
    assert found.checkpoint_bytes == 12 * (87_348_736 + 1_081_410)
