"""The semantic decoder of Fang, Qi & Pan (2020): a small network from voxels to classes, or to an embedding.

Two hidden layers of tanh. The published one puts a sigmoid before the cross-entropy; here the outputs are logits, or,
for an embedding, its numbers (mean squared error). The last hidden layer is the semantic vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from hpc_recon.core.array import Array
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.shape_options import SemanticStage

#: Passes after which the learning rate is multiplied by `decay`.
PASSES = 10
#: Of Adam, as published.
BETAS = (0.5, 0.999)


@dataclass(frozen=True)
class Network:
    """A trained semantic decoder, without torch.

    Attributes
    ----------
    mean, scale
        (n_voxels,) float64: how voxels are z-scored; one of scale 0 becomes 0.
    layers
        Weights (inputs, outputs) and biases of each layer, float32.
    feature
        What `vectors` returns: `penultimate` or `logits`.
    """

    mean: Array
    scale: Array
    layers: tuple[tuple[Array, Array], ...]
    feature: Literal["penultimate", "logits"]

    @property
    def is_aligned(self) -> bool:
        """Whether the vectors of two such networks mean the same: logits do, hidden units do not."""
        return self.feature == "logits"

    def hidden(self, samples: Array) -> Array:
        """Return the last hidden layer (n, units) of raw samples (n, n_voxels)."""
        varies = self.scale > 0
        values: Array = np.where(varies, (samples - self.mean) / np.where(varies, self.scale, 1.0), 0.0)
        for weights, bias in self.layers[:-1]:
            values = np.tanh(values @ weights + bias)
        return values

    def outputs(self, samples: Array) -> Array:
        """Return the logits, or the embedding, (n, outputs)."""
        weights, bias = self.layers[-1]
        found: Array = self.hidden(samples) @ weights + bias
        return found

    def vectors(self, samples: Array) -> Array:
        """Return the semantic vectors (n, n_semantic)."""
        return self.outputs(samples) if self.is_aligned else self.hidden(samples)


def fit(samples: Array, targets: Array, options: SemanticStage, *, n_outputs: int, seed: int) -> Network:
    """Train the network; the same seed and samples give the same network.

    Parameters
    ----------
    samples : (n, n_voxels), raw
        One row an image; z-scored here by their mean and deviation (ddof 0).
    targets
        Classes (n,) int64, or numbers (n, n_outputs).
    seed
        Of initial weights and order.
    """
    mean, scale = samples.mean(axis=0, dtype=np.float64), samples.std(axis=0, dtype=np.float64)
    varies = scale > 0
    scaled = np.where(varies, (samples - mean) / np.where(varies, scale, 1.0), 0.0).astype(np.float32)
    widths = (samples.shape[1], *options.hidden, n_outputs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "semantic decoder") % 2**62)
        blocks: list[nn.Module] = []
        for given, wanted in pairwise(widths):
            blocks += [nn.Linear(given, wanted), nn.Tanh()]
        module = nn.Sequential(*blocks[:-1])
        _learn(module, torch.from_numpy(scaled), torch.from_numpy(targets), options, seed=seed)
    parameters = [p.detach().numpy() for p in module.parameters()]
    layers = tuple((parameters[i].T.copy(), parameters[i + 1].copy()) for i in range(0, len(parameters), 2))
    return Network(mean, scale, layers, options.feature)


def _learn(
    module: nn.Module, samples: torch.Tensor, targets: torch.Tensor, options: SemanticStage, *, seed: int
) -> None:
    """Pass over all samples `epochs` times, each time in an order of its own."""
    rng = np.random.default_rng(seed_of(seed, "semantic order"))
    adam = torch.optim.Adam(module.parameters(), lr=options.learning_rate, betas=BETAS)
    schedule = torch.optim.lr_scheduler.StepLR(adam, PASSES, gamma=options.decay)
    is_class = targets.ndim == 1
    for _ in range(options.epochs):
        order = torch.from_numpy(rng.permutation(len(samples)))
        for start in range(0, len(order), options.batch):
            rows = order[start : start + options.batch]
            made, wanted = module(samples[rows]), targets[rows]
            loss = functional.cross_entropy(made, wanted) if is_class else functional.mse_loss(made, wanted.float())
            adam.zero_grad()
            torch.autograd.backward(loss)
            adam.step()
        schedule.step()
