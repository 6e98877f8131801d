from __future__ import annotations

from hpc_recon.core.network_options import Network
from hpc_recon.nets import costs, zoo

VGG19 = zoo.structure(Network(architecture="vgg19", layers=("x",)), image_size=224)


def test_only_layers_up_to_the_deepest_wanted_one_count():
    assert len(costs.upto(VGG19, ["conv2_1", "conv1_1"])) == 3
    assert costs.upto(VGG19, []) == []
    assert costs.forward_units(VGG19, ["fc8"]) == 14_861_288
    assert costs.forward_units(VGG19, ["conv1_2"]) == 2 * 3_211_264


def test_micro_batches_stay_within_their_memory_and_hold_at_least_one_image():
    for layers in (["conv1_1"], ["fc8"]):
        batch = costs.micro_batch(VGG19, layers)
        assert 1 <= batch <= 48
        assert batch == 1 or batch * costs.forward_bytes(VGG19, layers) <= costs.MICRO_BATCH_BYTES
    small = zoo.structure(Network(architecture="vgg11_quarter", layers=("x",)), image_size=64)
    assert costs.micro_batch(small, ["conv5_1"]) == 48


def test_twice_the_threads_take_half_the_time(monkeypatch):
    seconds = []
    for n in (2, 4):
        monkeypatch.setenv("HPC_RECON_THREADS", str(n))
        seconds.append(costs.forward_seconds(VGG19, ["fc8"]))
    assert seconds[0] == 2 * seconds[1] == costs.SECONDS_PER_UNIT * 14_861_288
