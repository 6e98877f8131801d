"""Names that the tables of scores share with all who read them: baselines, chance, pooled folds, columns."""

from __future__ import annotations

#: What an image is compared with; everything else in the column `variant` is a reconstruction of the study.
BASELINES = ("mean_training_image", "nearest_training_image", "true_class_mean")
#: The score of guessing.
CHANCE = {
    "category_identification": 0.5,
    "colour_identification": 0.5,
    "identification": 0.5,
    "identification_10way": 0.1,
    "identification_50way": 0.02,
    "identification_5way": 0.2,
    "identification_stimulus_anchored": 0.5,
    "identification_zscored": 0.5,
    "pattern_correlation": 0.0,
    "profile_correlation": 0.0,
    "shape_identification": 0.5,
    "ssim_identification": 0.5,
}
#: The split of all folds of a cross-validation together.
CROSS_VALIDATION = "cross_validation"
#: Of `scores/filters.csv`.
FILTER_COLUMNS = ("subject", "split", "roi", "dataset", "network", "layer", "filter", "features", "value", "n")
