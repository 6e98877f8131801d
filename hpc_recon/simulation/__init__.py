"""A synthetic study with known truth: photographs, shapes and letters, and the voxels that see them.

`photographs` and `stimuli` make what is shown; `readout` turns images into the responses of five visual areas,
`voxels` into noisy retinotopic samples; `presets` says how strong the signal is.
"""
