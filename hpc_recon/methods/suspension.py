"""Which of two adversaries is trained: an automaton that suspends the one that is too far ahead.

The rules are those of the published training (Dosovitskiy & Brox 2016; Shen 2019), evaluated after every step in this
order, each on what the one before has left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

#: The discriminator is suspended below this ratio of its loss to that of the generator, and comes back above the next.
TOO_GOOD, GOOD_AGAIN = 0.1, 0.5
#: The generator is suspended above this ratio.
TOO_BAD = 10.0


@dataclass(frozen=True)
class Suspension:
    """Whether each network is trained; never are both suspended.

    >>> state = Suspension().after(real=0.01, fake=0.02, fooled=4.0)
    >>> state
    Suspension(generator=True, discriminator=False)
    >>> state.after(real=0.6, fake=0.7, fooled=4.0) == state  # hysteresis: 0.325 is not above 0.5
    True
    """

    generator: bool = True
    discriminator: bool = True

    def after(self, *, real: float, fake: float, fooled: float) -> Suspension:
        """Return the state after a step.

        Parameters
        ----------
        real, fake
            Cross-entropies of the discriminator for stimuli and for made images, without weights.
        fooled
            Cross-entropy of made images that are to be taken for stimuli, the generator's adversarial loss.
        """
        ratio = (real + fake) / fooled if fooled > 0 else math.inf
        generator, discriminator = self.generator, self.discriminator
        if discriminator and ratio < TOO_GOOD:
            generator, discriminator = True, False
        if not discriminator and ratio > GOOD_AGAIN:
            generator, discriminator = True, True
        if generator and ratio > TOO_BAD:
            generator, discriminator = False, True
        return Suspension(generator, discriminator)
