"""Shape-semantic reconstruction: one step of its training, and images of a trained generator (Fang, Qi & Pan 2020).

Images and shapes are RGB on [-1, 1]. Losses are the least-squares adversarial one and the mean squared error of the
image; an image without brain data counts less in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hpc_recon.core.array import Array
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.shape_options import ShapeSemanticTraining
from hpc_recon.methods import trainers
from hpc_recon.nets.shape_semantic import PatchDiscriminator, UNet, enlarged, initialise
from hpc_recon.nets.shape_semantic_costs import sizes_of

#: Numbers of a step: losses without weights.
COLUMNS = ("pixel", "real", "fake", "fooled")
#: Of Adam, as published.
BETAS = (0.5, 0.999)


def trainer(options: ShapeSemanticTraining, *, n_voxels: int, seed: int, device: str) -> ShapeSemanticTrainer:
    """Return a new trainer: the table of trainers calls it; `n_voxels` are the numbers of the semantic vector."""
    return ShapeSemanticTrainer(options, n_semantic=n_voxels, seed=seed, device=device)


class ShapeSemanticTrainer:
    """Generator and discriminator, with an Adam each.

    Without adversarial weight no discriminator is built. What is random (dropout) is drawn from torch's global state,
    which belongs to the checkpoint: use it within `trainers.own_randomness`.
    """

    columns = COLUMNS

    def __init__(self, options: ShapeSemanticTraining, *, n_semantic: int, seed: int, device: str) -> None:
        self.options, self.device, self.n_steps = options, device, 0
        sizes = sizes_of(options, n_semantic)
        self.generator = UNet(sizes)
        initialise(self.generator, seed=seed)
        self.generator.to(device).train()
        self.generator_adam = torch.optim.Adam(self.generator.parameters(), lr=options.learning_rate, betas=BETAS)
        self.discriminator: PatchDiscriminator | None = None
        if options.adversarial_weight:
            self.discriminator = PatchDiscriminator(sizes)
            initialise(self.discriminator, seed=seed)
            self.discriminator.to(device).train()
            self.discriminator_adam = torch.optim.Adam(
                self.discriminator.parameters(), lr=options.learning_rate, betas=BETAS
            )
        torch.manual_seed(seed_of(seed, "dropout") % 2**62)

    def _tensors(self, batch: Mapping[str, Array]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return shape, semantic vector, image and weight of each sample, on the device."""
        shape, semantic, weight = (
            torch.from_numpy(batch[name]).to(self.device) for name in ("shape", "semantic", "weight")
        )
        image = torch.from_numpy(batch["images"]).to(self.device).float() / 127.5 - 1.0
        return shape, semantic, image, weight

    def step(self, batch: Mapping[str, Array]) -> dict[str, float]:
        """Learn from one batch.

        Parameters
        ----------
        batch
            `shape` (n, 3, size, size) float32 on [-1, 1], `semantic` (n, n_semantic) float32, `images`
            (n, 3, size, size) uint8 RGB, `weight` (n,) float32.

        Returns
        -------
        dict
            Of `COLUMNS`; losses have no weights of the options.
        """
        shape, semantic, image, weight = self._tensors(batch)
        self._schedule()
        made = self.generator(shape, semantic)
        losses: dict[str, Tensor] = {"pixel": _mean((made - image).square(), weight)}
        total = self.options.image_weight * losses["pixel"]
        if self.discriminator is not None:
            self.discriminator.requires_grad_(requires_grad=True)
            losses["real"] = _mean((self.discriminator(image, shape) - 1.0).square(), weight)
            losses["fake"] = _mean(self.discriminator(made.detach(), shape).square(), weight)
            self.discriminator_adam.zero_grad()
            torch.autograd.backward(0.5 * (losses["real"] + losses["fake"]))
            self.discriminator_adam.step()
            self.discriminator.requires_grad_(requires_grad=False)
            losses["fooled"] = _mean((self.discriminator(made, shape) - 1.0).square(), weight)
            total = total + self.options.adversarial_weight * losses["fooled"]
        self.generator_adam.zero_grad()
        torch.autograd.backward(total)
        self.generator_adam.step()
        self.n_steps += 1
        values = torch.stack([loss.detach() for loss in losses.values()]).tolist()  # one wait for the device
        return dict(zip(losses, values, strict=True))

    def _schedule(self) -> None:
        rate = self.options.learning_rate * self.options.decay ** (self.n_steps // self.options.decay_every)
        for adam in self._optimisers().values():
            for group in adam.param_groups:
                group["lr"] = rate

    def _optimisers(self) -> dict[str, torch.optim.Adam]:
        found = {"generator_adam": self.generator_adam}
        if self.discriminator is not None:
            found["discriminator_adam"] = self.discriminator_adam
        return found

    def state(self) -> dict[str, Any]:
        """Return both networks, their optimisers, the number of steps and torch's random state."""
        found: dict[str, Any] = {
            "generator": self.generator.state_dict(),
            "steps": self.n_steps,
            "random": trainers.random_state(self.device),
            **{name: adam.state_dict() for name, adam in self._optimisers().items()},
        }
        if self.discriminator is not None:
            found["discriminator"] = self.discriminator.state_dict()
        return found

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from such a state."""
        self.generator.load_state_dict(state["generator"])
        if self.discriminator is not None:
            self.discriminator.load_state_dict(state["discriminator"])
        for name, adam in self._optimisers().items():
            adam.load_state_dict(state[name])
        self.n_steps = int(state["steps"])
        trainers.set_random_state(state["random"], self.device)

    @torch.no_grad()
    def pictures(self, batch: Mapping[str, Array]) -> Array:
        """Return the targets and what the generator makes, without dropout, (n, 2, size, size, 3) uint8 RGB."""
        shape, semantic, image, _ = self._tensors(batch)
        self.generator.eval()
        made = self.generator(shape, semantic)
        self.generator.train()
        both = (torch.stack([image, made], dim=1) + 1.0) * 127.5
        values: Array = both.clamp(0, 255).round().byte().permute(0, 1, 3, 4, 2).cpu().numpy()
        return values


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Return the mean over places, then the weighted sum over samples, divided by their number."""
    return (values.flatten(start_dim=1).mean(dim=1) * weight).mean()


def as_input(shapes: Array, *, size: int) -> Array:
    """Return shapes (n, C, g, g) on [0, 1] as the networks see them: (n, 3, size, size) float32 on [-1, 1], blocks."""
    cells = torch.from_numpy(np.ascontiguousarray(shapes, np.float32)).clamp(0.0, 1.0)
    return np.ascontiguousarray((enlarged(cells, size) * 2.0 - 1.0).numpy())


@torch.no_grad()
def images_of(generator: UNet, shapes: Array, semantic: Array, *, device: str) -> Array:
    """Return images (n, size, size, 3) float32 in [0, 1] of inputs (n, 3, size, size) and vectors (n, n_semantic)."""
    given = (torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(device) for values in (shapes, semantic))
    made = (generator.to(device).eval()(*given) + 1.0) / 2.0
    return np.ascontiguousarray(made.clamp(0.0, 1.0).permute(0, 2, 3, 1).cpu().numpy())


def trained(options: ShapeSemanticTraining, state: Mapping[str, Any], *, n_semantic: int) -> UNet:
    """Return the generator of a checkpoint, ready to make images."""
    with torch.device("meta"):
        generator = UNet(sizes_of(options, n_semantic))
    generator.load_state_dict(state["generator"], assign=True)
    return generator.eval().requires_grad_(requires_grad=False)
