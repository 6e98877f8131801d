"""How strong the signal of a simulated brain is: the presets of a study file."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Preset:
    """Signal and noise of all voxels.

    Attributes
    ----------
    signal
        Standard deviation over training stimuli of a voxel's response to the image, in units of its scale; 0: none.
    noise
        Median over voxels of the standard deviation of single-trial noise, same units.
    spread
        Standard deviation of the natural logarithm of a voxel's noise: how much the voxels differ.
    shared
        Part of the noise variance that voxels share.
    wandering
        Standard deviation, in units of signal, of trial-to-trial fluctuations that look like signals: random mixtures
        of what other images evoke (attention, memory). No choice of voxels removes them, only repeats do.
    imagery
        Signal while imagining, relative to seeing.
    natural_repeats, shape_repeats, letter_repeats, imagery_repeats
        Presentations of each test stimulus.
    """

    signal: float
    noise: float
    spread: float
    shared: float = 0.4
    wandering: float = 0.0
    imagery: float = 0.35
    natural_repeats: int = 24
    shape_repeats: int = 20
    letter_repeats: int = 12
    imagery_repeats: int = 20

    def louder(self, factor: float) -> Preset:
        """Return the preset with its noise multiplied by `factor`."""
        return replace(self, noise=self.noise * factor, wandering=self.wandering * factor)

    def fainter(self, factor: float) -> Preset:
        """Return the preset with its signal multiplied by `factor`."""
        return replace(self, signal=self.signal * factor)


#: By name. `easy` is for demonstrations: voxels several times cleaner than published ones. `realistic` gives decoding
#: accuracies like those of published studies (Shen et al. 2019). `null` has no signal: all scores must be at chance.
PRESETS: dict[str, Preset] = {
    "easy": Preset(signal=1.0, noise=2.0, spread=0.5),
    "realistic": Preset(signal=1.0, noise=6.0, spread=0.7, wandering=7.0),
    "null": Preset(signal=0.0, noise=2.0, spread=0.5),
}
