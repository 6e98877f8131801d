"""A linear converter between brains that learns from what stimuli hold: the content loss (after Wang et al. 2025).

The source's z-scored voxels z become z-scored voxels of the target, z W + b within each block. Fixed decoders of the
target turn these into z-scored units of network layers. A layer's loss is the mean squared difference from the true
features of the stimuli, z-scored as its decoders z-score them; that of a step is the mean over layers. Samples of the
target are needed for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hpc_recon.core.array import Array
from hpc_recon.core.content_options import Content


@dataclass(frozen=True)
class Judge:
    """Decoders of some units of one layer, and what they should decode."""

    #: (n_units, k) int64 voxels of the target; unused slots weigh 0.
    voxel: Array
    #: (n_units, k) float32, on the z-scored scale.
    weight: Array
    #: (n_units,) float32, on the z-scored scale.
    bias: Array
    #: (n_stimuli, n_units) float32: true features, z-scored as the decoders do.
    wanted: Array


class ContentConverter:
    """Weights and biases of each block, Adam, and the best weights so far.

    Parameters
    ----------
    blocks
        Source voxels and target voxels of each block; no target voxel is in two.
    n_target
        Voxels of the target.
    """

    def __init__(
        self,
        blocks: Sequence[tuple[Array, Array]],
        n_target: int,
        judges: Sequence[Judge],
        *,
        options: Content,
        device: str,
    ) -> None:
        self._options, self._device, self._n_target = options, device, n_target
        self._places = [(self._on(source), self._on(target)) for source, target in blocks]
        self._judges = [(self._on(j.voxel), self._on(j.weight), self._on(j.bias), self._on(j.wanted)) for j in judges]
        shapes = [(len(source) + 1, len(target)) for source, target in blocks]
        self._weights = [torch.zeros(shape, device=device, requires_grad=True) for shape in shapes]
        self._adam = torch.optim.Adam(self._weights, lr=options.learning_rate, betas=options.betas)
        self._best: list[Tensor] = []

    def _on(self, values: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device)

    def step(self, Z: Array, stimulus: Array, rng: np.random.Generator) -> float:
        """Learn from samples Z (n, n_source), z-scored, of stimuli by number (n,), with units that `rng` draws."""
        drawn = [
            np.sort(rng.choice(len(j[1]), min(self._options.at_once, len(j[1])), replace=False)) for j in self._judges
        ]
        self._adam.zero_grad()
        made, shown = self._convert(self._on(Z)), self._on(stimulus)
        losses = [
            self._loss(made, shown, judge, self._on(units)) for judge, units in zip(self._judges, drawn, strict=True)
        ]
        loss = torch.stack(losses).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        self._adam.step()
        return float(loss.detach())

    def loss(self, Z: Array, stimulus: Array) -> float:
        """Return the loss over all units, `at_once` of a layer at a time; nothing is learned."""
        with torch.no_grad():
            made, shown = self._convert(self._on(Z)), self._on(stimulus)
            layers = []
            for judge in self._judges:
                parts = torch.split(torch.arange(len(judge[1]), device=self._device), self._options.at_once)
                layers.append(sum(float(self._loss(made, shown, judge, part)) * len(part) for part in parts))
        return float(np.mean([total / len(judge[1]) for total, judge in zip(layers, self._judges, strict=True)]))

    def keep(self) -> None:
        """Remember the weights of now as the best."""
        self._best = [W.detach().clone() for W in self._weights]

    def best(self) -> list[tuple[Array, Array]]:
        """Return weights (n_source, n_target) and biases (n_target,) float32 of each block, as `keep` saw them last."""
        kept = [W.cpu().numpy() for W in self._best]
        return [(W[:-1], W[-1]) for W in kept]

    def state(self) -> dict[str, Any]:
        """Return everything that further steps depend on."""
        return {
            "weights": [W.detach() for W in self._weights],
            "adam": self._adam.state_dict(),
            "best": list(self._best),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        with torch.no_grad():
            for W, stored in zip(self._weights, state["weights"], strict=True):
                W.copy_(stored)
        self._adam.load_state_dict(state["adam"])
        self._best = [W.to(self._device) for W in state["best"]]

    def _convert(self, Z: Tensor) -> Tensor:
        """Return z-scored target voxels (n, n_target); 0 where no block is."""
        made = Z.new_zeros(len(Z), self._n_target)
        for (source, target), W in zip(self._places, self._weights, strict=True):
            made = made.index_copy(1, target, Z[:, source] @ W[:-1] + W[-1])
        return made

    def _loss(self, made: Tensor, shown: Tensor, judge: tuple[Tensor, ...], units: Tensor) -> Tensor:
        voxel, weight, bias, wanted = judge
        dense = made.new_zeros(len(units), self._n_target).scatter_add(1, voxel[units], weight[units])
        decoded = made @ dense.T + bias[units]
        return ((decoded - wanted[shown][:, units]) ** 2).mean()
