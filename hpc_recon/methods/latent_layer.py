"""A dense layer from voxels to latents, trained through their generator (Dado et al. 2020, and its loss of features).

With B samples in a batch, d numbers of a latent, a generator G and layers f_l of a frozen network, a step takes Adam's
gradient of

    sum (z' - z)^2 / (2 B d)  +  weight * sum over layers of the mean of (f_l(G(z')) - f_l(G(z)))^2,

z' = W x + b the predicted and z the true latents; the decay is added to the gradient, as in `numerics.gradient`. The
second term couples the numbers of a latent, so that such a layer is trained as a whole.

**Memory**: a few images at a time are rendered, and give their latents' gradients, before the next ones are; so it does
not grow with the batch. True latents are rendered anew in each step: kept features of all stimuli would grow with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hpc_recon.core.array import Array
from hpc_recon.core.latent_layer_options import FeatureLoss, LatentLayerTraining
from hpc_recon.core.tiles import ranges
from hpc_recon.nets import latent_generators, zoo
from hpc_recon.nets.end_to_end import comparator_network
from hpc_recon.nets.identity import preprocessing
from hpc_recon.nets.preprocess import Preprocess
from hpc_recon.nets.taps import Net, activations

#: Numbers of a step: both losses without weights; `feature` only where there is one.
COLUMNS = ("latent", "feature")
#: Pixels of a picture of examples, an edge.
PICTURE = 128


class Compared:
    """The frozen generator and network of a loss of features.

    Parameters
    ----------
    generator
        From latents (n, d) to RGB images, black 0 and white 1, differentiable.
    """

    def __init__(self, options: FeatureLoss, generator: nn.Module, *, device: str) -> None:
        network = comparator_network(options, crop=options.image_size)
        loaded = zoo.load(network, image_size=options.image_size, device=device)
        preprocess = Preprocess(preprocessing(network)).to(device)
        size = (options.image_size, options.image_size)
        self.options, self.generator = options, generator
        self.net = Net(loaded.body, preprocess=preprocess, size=size, taps=loaded.taps).eval()

    def features(self, latents: Tensor) -> list[Tensor]:
        """Return the features of the images of latents, one tensor a layer."""
        return list(activations(self.net, self.generator(latents).float(), self.options.layers).values())

    def loss(self, made: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss, a mean over latents (n, d), and its gradient by the made ones (n, d)."""
        total, gradients = torch.zeros((), device=made.device), []
        for start, stop in ranges(len(made), self.options.images_at_once):
            leaf = made[start:stop].detach().clone().requires_grad_()
            with torch.no_grad():
                wanted = self.features(true[start:stop])
            own = torch.stack(
                [(a - b).square().flatten(1).mean(dim=1) for a, b in zip(self.features(leaf), wanted, strict=True)]
            ).sum() / len(made)
            gradients.append(torch.autograd.grad(own, leaf)[0])
            total = total + own.detach()
        return total, torch.cat(gradients)


def trainer(options: LatentLayerTraining, *, n_voxels: int, seed: int, device: str) -> LatentLayerTrainer:
    """Return a new trainer: the table of trainers calls it."""
    return LatentLayerTrainer(options, n_voxels=n_voxels, seed=seed, device=device)


class LatentLayerTrainer:
    """The layer with its Adam; nothing of it is random but the first weights.

    Parameters
    ----------
    seed
        Of the first weights, those of a number of the latent by the seed and its place.
    """

    columns = COLUMNS

    def __init__(self, options: LatentLayerTraining, *, n_voxels: int, seed: int, device: str) -> None:
        self.options, self.device = options, device
        n_outputs = latent_generators.describe(options.generator).n_inputs
        first = np.stack(
            [np.random.default_rng([seed, unit]).uniform(-1, 1, n_voxels) for unit in range(n_outputs)]
        )  # (n_outputs, n_voxels)
        self.weight = nn.Parameter(torch.from_numpy(options.start * first).float().to(device))
        self.bias = nn.Parameter(torch.zeros(n_outputs, device=device))
        groups: list[dict[str, Any]] = [
            {"params": [self.weight], "weight_decay": options.weight_decay},
            {"params": [self.bias], "weight_decay": options.weight_decay if options.decay_bias else 0.0},
        ]
        betas = (options.beta1, options.beta2)
        self.adam = torch.optim.Adam(groups, lr=options.learning_rate, betas=betas, eps=options.epsilon)
        self.compared: Compared | None = None
        if options.features is not None:
            generator = latent_generators.load(options.generator, device=device)
            self.compared = Compared(options.features, generator, device=device)

    def step(self, batch: Mapping[str, Array]) -> dict[str, float]:
        """Learn from one batch: `voxels` (n, n_voxels) and `latents` (n, d), float32."""
        voxels, true = (torch.from_numpy(batch[name]).to(self.device) for name in ("voxels", "latents"))
        with torch.no_grad():
            made = torch.addmm(self.bias, voxels, self.weight.T)
            error = made - true
            losses = {"latent": 0.5 * error.square().mean()}
            gradient = error / error.numel()
        if self.compared is not None:
            losses["feature"], own = self.compared.loss(made, true)
            gradient = gradient + self.compared.options.weight * own
        self.weight.grad, self.bias.grad = gradient.T @ voxels, gradient.sum(dim=0)
        self.adam.step()
        values = torch.stack([loss.float() for loss in losses.values()]).tolist()
        return dict(zip(losses, values, strict=True))

    def state(self) -> dict[str, Any]:
        """Return weights, biases and the state of Adam."""
        return {"weight": self.weight.detach(), "bias": self.bias.detach(), "adam": self.adam.state_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from such a state."""
        with torch.no_grad():
            self.weight.copy_(state["weight"])
            self.bias.copy_(state["bias"])
        self.adam.load_state_dict(state["adam"])

    @torch.no_grad()
    def pictures(self, batch: Mapping[str, Array]) -> Array:
        """Return the images of true and of predicted latents, (n, 2, H, W, 3) uint8 RGB, an edge of 128 at most."""
        made = predicted(self.state(), batch["voxels"])
        height, width = latent_generators.describe(self.options.generator).output_size
        size = (min(height, PICTURE), min(width, PICTURE))
        both = [
            latent_generators.render(values, self.options.generator, size=size, device=self.device)
            for values in (batch["latents"], made)
        ]
        images: Array = np.rint(255 * np.stack(both, axis=1)).astype(np.uint8)
        return images


def predicted(state: Mapping[str, Any], voxels: Array) -> Array:
    """Return the latents (n, d) float32 that a trained layer predicts of voxels, scaled as in its training."""
    weight, bias = (state[name].detach().cpu().numpy() for name in ("weight", "bias"))
    found: Array = voxels @ weight.T + bias
    return found
