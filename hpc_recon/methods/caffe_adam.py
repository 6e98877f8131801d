"""Adam as Caffe computes it: the correction of means is folded into the rate, weight decay is added to gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from hpc_recon.core.train_options import AdamOptions


class CaffeAdam:
    """Adam for one network, which counts its own updates.

    Update t (from 1) of a weight w with gradient g, after g += decay * w:
    m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, w -= rate * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps).
    The rate is halved for the updates after each of `halve_at`.
    """

    def __init__(self, parameters: Iterable[Tensor], options: AdamOptions, *, decay: float = 0.0) -> None:
        self.parameters = list(parameters)
        self.options = options
        self.decay = decay
        self.n_updates = 0
        self.first = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.second = [torch.zeros_like(parameter) for parameter in self.parameters]

    @property
    def rate(self) -> float:
        """Learning rate of the next update."""
        halvings = sum(self.n_updates >= at for at in self.options.halve_at)
        return float(self.options.learning_rate * 0.5**halvings)

    @torch.no_grad()
    def update(self) -> None:
        """Change the parameters by their gradients, then forget these."""
        rate, options = self.rate, self.options
        self.n_updates += 1
        gradients = [parameter.grad for parameter in self.parameters]
        known = [gradient for gradient in gradients if gradient is not None]
        assert len(known) == len(self.parameters), "every parameter takes part in the loss"
        if self.decay:
            torch._foreach_add_(known, self.parameters, alpha=self.decay)
        torch._foreach_mul_(self.first, options.beta1)
        torch._foreach_add_(self.first, known, alpha=1 - options.beta1)
        torch._foreach_mul_(self.second, options.beta2)
        torch._foreach_addcmul_(self.second, known, known, value=1 - options.beta2)
        t = self.n_updates
        corrected = rate * math.sqrt(1 - options.beta2**t) / (1 - options.beta1**t)
        for parameter, first, second in zip(self.parameters, self.first, self.second, strict=True):
            # One at a time: the root of the largest layer is the only copy that is held.
            parameter.addcdiv_(first, second.sqrt().add_(options.epsilon), value=-corrected)
            parameter.grad = None

    def state(self) -> dict[str, Any]:
        """Return what the next updates depend on; tensors are not copied."""
        return {"n_updates": self.n_updates, "first": self.first, "second": self.second}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state` returned."""
        self.n_updates = int(state["n_updates"])
        for name in ("first", "second"):
            for own, given in zip(getattr(self, name), state[name], strict=True):
                own.copy_(given)
