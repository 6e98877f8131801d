"""Adam and AdamW for a batch of images: every number has its own step, so a batch changes nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from hpc_recon.core.icnn_options import Adam, AdamW
from hpc_recon.methods.lbfgs import Evaluate, Minimum, Observe
from hpc_recon.methods.momentum import at


def descend(
    evaluate: Evaluate,
    start: Tensor,
    *,
    iterations: int,
    options: Adam | AdamW,
    box: tuple[Tensor, Tensor],
    observe: Observe | None = None,
) -> Minimum:
    """Follow torch's Adam or AdamW, moved into the box after each step.

    Parameters
    ----------
    evaluate
        Loss and gradient of flat latents.
    start
        (n, d).
    box
        Lower and upper bounds (d,).

    Returns
    -------
    Minimum
        `x` is that of the smallest loss seen, row by row; `losses` (n, iterations) are those before each step.
    """
    x = torch.nn.Parameter(start.clamp(*box))
    if isinstance(options, AdamW):
        optimiser: torch.optim.Optimizer = torch.optim.AdamW(
            [x], betas=options.betas, weight_decay=options.weight_decay
        )
    else:
        optimiser = torch.optim.Adam([x], betas=options.betas)
    everything = torch.arange(len(x), device=x.device)
    best, least, curve = x.detach().clone(), torch.full_like(x[:, 0].detach(), torch.inf), []
    for t in range(iterations):
        optimiser.param_groups[0]["lr"] = at(options.learning_rate, t, iterations)
        loss, gradient = evaluate(x.detach(), everything)
        curve.append(loss)
        better = loss < least
        least = torch.where(better, loss, least)
        best[better] = x.detach()[better]
        if observe is not None:
            observe(t, best)
        x.grad = gradient
        optimiser.step()
        with torch.no_grad():
            x.clamp_(*box)
    losses = torch.stack(curve, dim=1) if curve else start.new_zeros(len(start), 0)
    return Minimum(best, losses)
