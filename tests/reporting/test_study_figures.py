"""Figures over methods, layers and items: what is drawn, from which numbers, and when there is nothing to draw."""

from __future__ import annotations

import subprocess
import sys

import matplotlib.image
import pandas as pd
import pytest

from hpc_recon.reporting import study_figures
from hpc_recon.reporting.figures import Ink
from hpc_recon.reporting.tables import IMAGE_COLUMNS, ITEM_COLUMNS

LAYERS = ("conv1_1", "conv2_1", "conv3_1")


@pytest.fixture
def study(make_study):
    alone = {f"only_{layer}": {"method": "icnn", "network": "vgg", "layers": [layer]} for layer in LAYERS}
    return make_study(
        {
            "name": "tiny",
            "subjects": ["S1", "S2"],
            "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}, "imagery": {"role": "test"}},
            "simulate": {"n_training": 10},
            "networks": {"vgg": {"architecture": "vgg11_quarter", "layers": list(LAYERS)}},
            "reconstruct": {"all": {"method": "icnn", "network": "vgg", "title": "All layers"}, **alone},
        }
    )


def summary(study, subjects=("S1",)):
    place = {"split": "all", "roi": "VC", "network": "vgg"}
    images = [
        {**place, "subject": s, "dataset": "natural", "variant": v, "metric": m, "mean": 0.6 + 0.1 * i + 0.02 * k,
         "low": 0.5, "high": 0.95}
        for i, v in enumerate(study.reconstruct) for k, s in enumerate(subjects)
        for m in ("identification", "pixel_correlation")
    ]  # fmt: skip
    layers = [
        {**place, "subject": s, "dataset": "natural", "layer": layer, "metric": "profile_correlation",
         "mean": 0.3 - 0.1 * i, "low": None, "high": None}
        for i, layer in enumerate(LAYERS) for s in subjects
    ]  # fmt: skip
    return {"images": images, "layers": layers}


class Recorder:
    """An `Axes` that remembers what was plotted."""

    def __init__(self):
        self.points, self.texts = [], []

    def plot(self, x, y, **_):
        self.points.append((x, y))

    def annotate(self, text, *_, **__):
        self.texts.append(text)

    def __getattr__(self, name):
        return self if name in ("spines", "xaxis", "yaxis", "label") else lambda *_, **__: self

    def __getitem__(self, _):
        return self


def test_methods_are_compared_score_by_score(study):
    one, other = study_figures.methods(summary(study), study, roi="VC")
    assert (one.title, other.title) == ("Identification", "Pixel correlation")
    assert "All layers 0.60, only_conv1_1 0.70, only_conv2_1 0.80, only_conv3_1 0.90" in one.alt
    single = study.model_copy(update={"reconstruct": {"all": study.reconstruct["all"]}})
    assert study_figures.methods(summary(study), single, roi="VC") == []


def test_names_are_text_and_not_formulas(study, tmp_path):
    titled = study.reconstruct["all"].model_copy(update={"title": r"$\foo$ & <b>"})
    renamed = study.model_copy(update={"reconstruct": {**study.reconstruct, "all": titled}})
    (one, _) = study_figures.methods(summary(study), renamed, roi="VC")
    assert r"$\foo$ &amp; &lt;b&gt;" in one.svg
    assert len(study_figures.write(tmp_path, [], [one])) == 2


def test_several_subjects_are_averaged_without_an_interval(study):
    (one, _) = study_figures.methods(summary(study, ("S1", "S2")), study, roi="VC")
    assert "All layers 0.61, only_conv1_1 0.71" in one.alt
    assert study_figures._mean([{"mean": 0.4, "low": 0, "high": 1}, {"mean": 0.6, "low": 0, "high": 1}]) == (
        0.5, None, None
    )  # fmt: skip


def test_layers_alone_are_points_of_decoding_and_image_quality(study):
    (found,) = study_figures.layers(summary(study), study, roi="VC")
    axes = Recorder()
    found.draw(axes, Ink("#000000", "#cccccc"))
    x, y = axes.points[0]
    assert x.tolist() == pytest.approx([0.3, 0.2, 0.1])
    assert y.tolist() == pytest.approx([0.7, 0.8, 0.9])
    assert axes.points[1] == pytest.approx((0.2, 0.8))
    assert axes.texts == [*LAYERS, "mean"]
    assert "conv2_1 0.20, 0.80" in found.alt


def test_what_people_chose_is_drawn_beside_the_scores(study):
    judged = {
        "sets": [
            {"subject": "S1", "roi": "VC", "dataset": "natural", "results": [
                {"variant": v, "metric": "human_identification", "mean": 0.9 - 0.1 * i, "low": 0.5, "high": 1.0}
            ]}
            for i, v in enumerate(study.reconstruct)
        ]
    }  # fmt: skip
    told = pd.DataFrame(columns=[*ITEM_COLUMNS]), pd.DataFrame(columns=list(IMAGE_COLUMNS))
    drawn = study_figures.collect(summary(study), study, *told, roi="VC", judged=judged)
    people, by_score, by_people = drawn[2], drawn[3], drawn[4]
    assert people.title == "Identification by people"
    assert "All layers 0.90, only_conv1_1 0.80" in people.alt
    assert "conv2_1 0.20, 0.80" in by_score.alt
    assert "identification by people" in by_people.alt
    assert "conv2_1 0.20, 0.70" in by_people.alt
    assert len(drawn) == 5
    elsewhere = {"sets": [{**one, "roi": "V1"} for one in judged["sets"]]}
    assert len(study_figures.collect(summary(study), study, *told, roi="VC", judged=elsewhere)) == 3


def test_methods_that_beat_each_other_have_a_figure(study):
    rows = [
        {"subject": s, "split": "all", "roi": "VC", "dataset": "natural", "metric": m, "variant": v, "image": image,
         "value": 0.1 * i, "n": 3}
        for i, v in enumerate(study.reconstruct) for s in ("S1", "S2") for image in ("", "i1")
        for m in ("pixel_correlation", "ssim")
    ]  # fmt: skip
    rows += [{**row, "split": "from-S1", "value": 1.0} for row in rows]  # of converted activity: not drawn
    told = pd.DataFrame(columns=[*ITEM_COLUMNS]), pd.DataFrame(columns=list(IMAGE_COLUMNS))
    drawn = study_figures.collect(summary(study), study, *told, roi="VC", won=pd.DataFrame(rows))
    assert drawn[2].title == "Better than other methods"
    assert "All layers 0.00, only_conv1_1 0.10, only_conv2_1 0.20" in drawn[2].alt
    assert "lower pixel correlation" in drawn[2].subtitle


def test_regions_are_compared_by_the_first_method_with_images_from_two(study):
    regions = study.model_copy(update={"rois": ("VC", "V1", "V4")})
    found = summary(study)
    _, second, *_ = study.reconstruct
    found["images"] += [
        {**e, "roi": "V1", "mean": e["mean"] - 0.3, "metric": "shape_identification"}
        for e in found["images"] if e["variant"] == second and e["metric"] == "identification"
    ]  # fmt: skip
    found["images"] += [
        {**e, "roi": roi, "metric": "winning_percentage"}
        for e in found["images"] if e["variant"] == second for roi in ("VC", "V1")
    ]  # fmt: skip
    found["images"] += [{**e, "roi": "V1", "mean": 0.4} for e in found["images"] if e["variant"] == second]
    drawn = study_figures.regions(found, regions)
    assert [one.title for one in drawn] == [
        "Identification by region", "Pixel correlation by region", "Shape identification by region"
    ]  # fmt: skip
    assert drawn[0].alt == "Identification by region: natural: VC 0.70, V1 0.40."
    assert second in drawn[0].subtitle
    assert study_figures.regions(summary(study), study) == []


def correlated(roi="VC", subject=""):
    place = {"roi": roi, "dataset": "imagery", "variant": "all", "column": "vividness", "subject": subject}
    return {"columns": [{**place, "n": 4, "spearman": 0.8, "p": 0.333}]}


def tables(vividness):
    items = [
        {"subject": "S1", "split": "all", "dataset": "imagery", "image": f"i{k}", "label": f"i{k}", "shows": "stimulus",
         "n_averaged": 2, "run": k, "vividness": value}
        for k, value in enumerate(vividness)
    ]  # fmt: skip
    images = [
        {"subject": "S1", "split": "all", "roi": "VC", "dataset": "imagery", "variant": "all", "network": "vgg",
         "image": f"i{k}", "metric": "identification", "value": value, "n": 3}
        for k, value in enumerate((0.2, 0.5, 0.9, 1.0))
    ]  # fmt: skip
    columns = [*ITEM_COLUMNS, "run", "vividness"]
    return pd.DataFrame(items, columns=columns), pd.DataFrame(images, columns=list(IMAGE_COLUMNS))


def test_vividness_is_set_against_identification(study):
    told = tables((1.0, 2.0, 4.0, 3.0))
    (found,) = study_figures.columns(correlated(), study, *told, roi="VC")
    assert found.title == "Vividness and identification"
    assert "Spearman's r 0.80, p 0.33, 4 images" in found.subtitle
    axes = Recorder()
    found.draw(axes, Ink("#000000", "#cccccc"))
    assert [values.tolist() for values in axes.points[0]] == [[1.0, 2.0, 4.0, 3.0], [0.2, 0.5, 0.9, 1.0]]
    for other in ({}, correlated("V1"), correlated(subject="S1")):
        assert study_figures.columns(other, study, *told, roi="VC") == []


def test_imagery_is_set_against_perception(study):
    place = {"split": "all", "roi": "VC", "network": "vgg", "metric": "identification", "low": None, "high": None}
    layers = [
        {**place, "subject": subject, "layer": layer, "dataset": dataset, "mean": level + 0.05 * number + shift}
        for number, layer in enumerate(LAYERS)
        for dataset, level in (("natural", 0.7), ("imagery", 0.6))
        for subject, shift in (("S1", -0.02), ("S2", 0.02))
    ]
    (drawn,) = study_figures.tasks({"layers": layers}, study, pairs=[("natural", "imagery")])
    assert f"VC {LAYERS[0]} 0.70, 0.60" in drawn.alt
    assert study_figures.tasks({"layers": layers}, study, pairs=[("natural", "letters")]) == []
    assert study_figures.tasks({"layers": layers}, study, pairs=[]) == []


def test_figures_are_files_too_and_equal_each_time(study, tmp_path):
    panels = study_figures.collect({**summary(study), **correlated()}, study, *tables((1.0, 2.0, 4.0, 3.0)), roi="VC")
    assert [panel.title for panel in panels] == [
        "Identification", "Pixel correlation", "Layers alone, natural", "Vividness and identification"
    ]  # fmt: skip
    files = study_figures.write(tmp_path / "a", [], panels[2:])
    again = study_figures.write(tmp_path / "b", [], panels[2:])
    assert [path.name for path in files] == [
        "figure-1-layers-alone-natural.png", "figure-1-layers-alone-natural.pdf",
        "figure-2-vividness-and-identification.png", "figure-2-vividness-and-identification.pdf",
    ]  # fmt: skip
    for one, other in zip(files, again, strict=True):
        assert one.read_bytes() == other.read_bytes()
    picture = matplotlib.image.imread(files[0])
    assert picture.shape[1] > 600
    assert picture[..., :3].std() > 0
    assert files[1].read_bytes().startswith(b"%PDF")


def test_what_a_report_imports_holds_no_statistical_tests() -> None:
    """They take a second of CPU at every start, and are needed for one figure alone."""
    program = (
        "import sys\n"
        "from hpc_recon.evaluation import anova\n"
        "from hpc_recon.reporting import page, power, study_figures, tables\n"
        "assert all((anova, page, power, study_figures, tables))\n"
        "print('scipy.stats' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"
