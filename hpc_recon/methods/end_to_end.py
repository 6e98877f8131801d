"""End-to-end reconstruction: one step of its training, and images from a trained generator (Shen et al. 2019).

Images are BGR on 0-255 minus the mean (`nets.end_to_end`). The losses are Caffe's: sums of squares over the batch
divided by twice its size, and mean cross-entropies.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hpc_recon.core.array import Array
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.train_options import EndToEndTraining
from hpc_recon.methods import trainers
from hpc_recon.methods.caffe_adam import CaffeAdam
from hpc_recon.methods.suspension import Suspension
from hpc_recon.nets import end_to_end as networks

#: Classes of the discriminator.
REAL, MADE = 0, 1
#: Numbers of a step: losses without weights, the state of both networks before it, and their updates after it.
COLUMNS = (
    *("pixel", "feature", "real", "fake", "fooled"),
    *("trains_generator", "trains_discriminator", "generator_updates", "discriminator_updates"),
)


def half_squares(made: Tensor, wanted: Tensor) -> Tensor:
    """Return the sum of squared differences over the batch, divided by twice its size."""
    return (made.float() - wanted.float()).square().sum() / (2 * len(made))


def feature_loss(made: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Return the sum of `half_squares` over layers."""
    return torch.stack([half_squares(a, b) for a, b in zip(made, wanted, strict=True)]).sum()


def cross_entropy(scores: Tensor, label: int) -> Tensor:
    """Return the mean softmax cross-entropy of scores (n, 2) that all have one label."""
    return functional.cross_entropy(scores.float(), torch.full((len(scores),), label, device=scores.device))


def trainer(options: EndToEndTraining, *, n_voxels: int, seed: int, device: str) -> EndToEndTrainer:
    """Return a new trainer: the table of trainers calls it."""
    return EndToEndTrainer(options, n_voxels=n_voxels, seed=seed, device=device)


class EndToEndTrainer:
    """Generator, discriminator and comparator.

    A network whose loss has no weight is not built. What is random (dropout) is drawn from torch's global state, which
    belongs to the trainer's checkpoint: use it within `trainers.own_randomness`.

    Parameters
    ----------
    seed
        Of initial weights and dropout.
    """

    columns = COLUMNS

    def __init__(self, options: EndToEndTraining, *, n_voxels: int, seed: int, device: str) -> None:
        self.options, self.device = options, device
        sizes = networks.Sizes.of(options, n_voxels)
        self.generator = networks.Generator(sizes)
        networks.initialise(self.generator, networks.generator_deviations(self.generator), seed=seed)
        self.generator.to(device)
        self.generator_adam = CaffeAdam(self.generator.parameters(), options.adam)
        self.discriminator: nn.Module | None = None
        if options.losses.adversarial:
            discriminator = networks.Discriminator(sizes)
            deviations = networks.discriminator_deviations(discriminator)
            networks.initialise(discriminator, deviations, seed=seed)
            self.discriminator = discriminator.to(device).train()
            self.discriminator_adam = CaffeAdam(
                self.discriminator.parameters(), options.adam, decay=options.adam.discriminator_decay
            )
        self.features: Callable[[Tensor], list[Tensor]] | None = None
        if options.losses.feature:
            self.features = networks.Features(options.comparator, crop=options.crop, device=device)
        self.suspension = Suspension()
        self.mean = torch.tensor(networks.MEAN, device=device).reshape(1, 3, 1, 1)
        # Compiled callables share the modules' parameters; state and updates never see them.
        self._make: Callable[[Tensor], Tensor] = self._compiled(self.generator)
        self._judge: Callable[[Tensor], Tensor] | None = None
        if self.discriminator is not None:
            self._judge = self._compiled(self.discriminator)
        torch.manual_seed(seed_of(seed, "dropout") % 2**62)

    def _compiled(self, module: nn.Module) -> Callable[[Tensor], Tensor]:
        return torch.compile(module) if self.options.compile else module

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        reduced = self.options.precision == "bfloat16"
        return torch.autocast(self.device.partition(":")[0], dtype=torch.bfloat16, enabled=reduced)

    def _tensors(self, batch: Mapping[str, Array]) -> tuple[Tensor, Tensor]:
        """Return voxels (n, n_voxels), and images (n, 3, crop, crop) minus the mean, of a batch on the device."""
        voxels = torch.from_numpy(batch["voxels"]).to(self.device, non_blocking=True)
        images = torch.from_numpy(batch["images"]).to(self.device, non_blocking=True)
        return voxels, images.float() - self.mean

    def step(self, batch: Mapping[str, Array]) -> dict[str, float]:
        """Learn from one batch.

        Parameters
        ----------
        batch
            `voxels` (n, n_voxels) float32, z-scored; `images` (n, 3, crop, crop) uint8 BGR, the same crop for every
            loss.

        Returns
        -------
        dict
            Of `COLUMNS`; losses have no weights. Without an adversarial loss nothing of the discriminator is there.
        """
        voxels, images = self._tensors(batch)
        weights, before = self.options.losses, self.suspension
        with torch.set_grad_enabled(before.generator), self._precision():
            made = self._make(voxels).float()
        losses: dict[str, Tensor] = {}
        if self.discriminator is not None:
            losses |= self._teach_discriminator(images, made.detach(), train=before.discriminator)
        with torch.set_grad_enabled(before.generator), self._precision():
            losses["pixel"] = half_squares(made, images)
            total = weights.pixel * losses["pixel"]
            if self.features is not None:
                with torch.no_grad():
                    wanted = self.features(images)
                losses["feature"] = feature_loss(self.features(made), wanted)
                total = total + weights.feature * losses["feature"]
            if self.discriminator is not None and self._judge is not None:
                self.discriminator.requires_grad_(requires_grad=False)
                losses["fooled"] = cross_entropy(self._judge(made), REAL)
                total = total + weights.adversarial * losses["fooled"]
        if before.generator:
            torch.autograd.backward(total)
            self.generator_adam.update()
        return self._figures(losses, before)

    def _teach_discriminator(self, images: Tensor, made: Tensor, *, train: bool) -> dict[str, Tensor]:
        """Compare stimuli (class 0) with made images (class 1); one update by the sum of both, unless suspended."""
        assert self.discriminator is not None
        assert self._judge is not None
        self.discriminator.requires_grad_(requires_grad=train)
        with torch.set_grad_enabled(train), self._precision():
            real, fake = cross_entropy(self._judge(images), REAL), cross_entropy(self._judge(made), MADE)
        if train:
            both = self.options.losses.adversarial * (real + fake)
            torch.autograd.backward(both)
            self.discriminator_adam.update()
        return {"real": real, "fake": fake}

    def _figures(self, losses: Mapping[str, Tensor], before: Suspension) -> dict[str, float]:
        names = list(losses)
        values = torch.stack([losses[name].detach().float() for name in names]).tolist()  # one wait for the device
        found: dict[str, float] = dict(zip(names, values, strict=True))
        if self.discriminator is not None:
            self.suspension = before.after(real=found["real"], fake=found["fake"], fooled=found["fooled"])
            found["trains_discriminator"] = float(before.discriminator)
            found["discriminator_updates"] = float(self.discriminator_adam.n_updates)
        found["trains_generator"] = float(before.generator)
        found["generator_updates"] = float(self.generator_adam.n_updates)
        return found

    def state(self) -> dict[str, Any]:
        """Return both networks, their optimisers, which of them is suspended, and torch's random state."""
        found: dict[str, Any] = {
            "generator": self.generator.state_dict(),
            "generator_adam": self.generator_adam.state(),
            "suspension": [self.suspension.generator, self.suspension.discriminator],
            "random": trainers.random_state(self.device),
        }
        if self.discriminator is not None:
            found["discriminator"] = self.discriminator.state_dict()
            found["discriminator_adam"] = self.discriminator_adam.state()
        return found

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from such a state."""
        self.generator.load_state_dict(state["generator"])
        self.generator_adam.load(state["generator_adam"])
        if self.discriminator is not None:
            self.discriminator.load_state_dict(state["discriminator"])
            self.discriminator_adam.load(state["discriminator_adam"])
        self.suspension = Suspension(*state["suspension"])
        trainers.set_random_state(state["random"], self.device)

    @torch.no_grad()
    def pictures(self, batch: Mapping[str, Array]) -> Array:
        """Return the targets and what the generator makes, (n, 2, crop, crop, 3) uint8 RGB."""
        voxels, images = self._tensors(batch)
        both = torch.stack([images, self.generator(voxels)], dim=1) + self.mean
        values: Array = both.clamp(0, 255).round().byte().flip(2).permute(0, 1, 3, 4, 2).cpu().numpy()
        return values


@torch.no_grad()
def images_of(generator: nn.Module, voxels: Array, *, crop: int, device: str) -> Array:
    """Return what a generator makes of z-scored voxels: (n, crop, crop, 3) float32, RGB on 0-255, not clipped."""
    made = networks.middle(generator.to(device)(torch.from_numpy(voxels).to(device)).float(), crop)
    mean = torch.tensor(networks.MEAN, device=device).reshape(1, 3, 1, 1)
    return np.ascontiguousarray((made + mean).flip(1).permute(0, 2, 3, 1).cpu().numpy())


def trained(options: EndToEndTraining, state: Mapping[str, Any], *, n_voxels: int) -> nn.Module:
    """Return the generator of a checkpoint, ready to make images."""
    with torch.device("meta"):
        generator = networks.Generator(networks.Sizes.of(options, n_voxels))
    generator.load_state_dict(state["generator"], assign=True)
    return generator.eval().requires_grad_(requires_grad=False)
