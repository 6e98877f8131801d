from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
from PIL import Image

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def plot(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("plot_fit")


def case(data, n_samples, n_voxels, *, ours):
    def result(time, **more):
        return {"microseconds_per_unit": time, "microseconds_per_unit_range": [0.9 * time, 1.1 * time], **more}

    ratio = {"ours, 1 thread": round(7000 / ours, 2), "ours, 2 threads": round(14000 / ours, 2)}
    programs = {
        "ours, 1 thread": result(ours, share_of_limit=0.61),
        "ours, 2 threads": result(ours / 2, share_of_limit=0.58),
        "FastL2LiR": result(7000.0, ratio_to=ratio),
    }
    return {"data": data, "n_samples": n_samples, "n_voxels": n_voxels, "k": 500, "programs": programs}


PEERS = {
    "cases": {
        "r1": case("retinotopic", 1200, 8000, ours=800.0),
        "r2": case("retinotopic", 6000, 11726, ours=1000.0),
        "n1": case("noise", 1200, 8000, ours=900.0),
    }
}
POINTS = [{"n_units": n, "fit_seconds": n * 5e-4, "peak_bytes": 5e8} for n in (10240, 102400, 1024000)]
GROWTH = {
    "machine": {"threads": 2},
    "sizes": {"n_samples": 1200, "n_voxels": 8000},
    "units": {"points": POINTS},
}


def written(figure):
    """Return all texts of a figure."""
    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")) if text.get_text()]


def bars(figure, panel):
    axes = next(axes for axes in figure.get_axes() if axes.get_title(loc="left").startswith(panel))
    return [patch.get_width() for patch in axes.patches]


def test_figure_shows_the_figures(plot) -> None:
    figure = plot.figure(PEERS, GROWTH, names=["r1", "r2"])
    assert bars(figure, "a") == [800, 400, 7000, 1000, 500, 7000]
    assert bars(figure, "c") == [0.61, 0.58] * 3
    texts = written(figure)
    assert "ours, 1 thread: 800 µs" in texts
    times = plot.TIMES
    assert f"FastL2LiR: 7 ms = 8.75{times} ours (1 thread), 17.5{times} (2 threads)" in texts
    assert {"512 s", "0.5 GB", "61%", "58%"} <= set(texts)
    lines = [line for axes in figure.get_axes() for line in axes.lines if len(line.get_xdata()) == 3]
    assert [list(line.get_xdata()) for line in lines] == [[10240, 102400, 1024000]] * 2
    assert list(lines[0].get_ydata()) == pytest.approx([5.12, 51.2, 512])


def test_no_text_leaves_the_figure(plot) -> None:
    figure = plot.figure(PEERS, GROWTH, names=["r1", "r2"])
    figure.draw_without_rendering()
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= width
    assert box.y1 <= height


def test_png_from_json(plot, tmp_path) -> None:
    (tmp_path / "p.json").write_text(json.dumps(PEERS))
    (tmp_path / "g.json").write_text(json.dumps(GROWTH))
    given = ["--peers", str(tmp_path / "p.json"), "--growth", str(tmp_path / "g.json")]
    output = tmp_path / "a" / "fit.png"
    assert plot.main([*given, "--output", str(output)]) == 0
    with Image.open(output) as image:
        assert image.width == plot.SIZE[0] * plot.DPI == 1800
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_unknown_case_is_refused(plot, tmp_path, capsys) -> None:
    (tmp_path / "p.json").write_text(json.dumps(PEERS))
    (tmp_path / "g.json").write_text(json.dumps(GROWTH))
    with pytest.raises(SystemExit):
        plot.main(["--peers", str(tmp_path / "p.json"), "--growth", str(tmp_path / "g.json"), "--case", "r9"])
    assert "no case is named r9" in capsys.readouterr().err


def test_times_that_noise_made_negative_are_refused(plot, tmp_path, capsys) -> None:
    noisy = {"cases": {"r1": case("retinotopic", 1200, 8000, ours=-5.0)}}
    (tmp_path / "p.json").write_text(json.dumps(noisy))
    (tmp_path / "g.json").write_text(json.dumps(GROWTH))
    with pytest.raises(SystemExit):
        plot.main(["--peers", str(tmp_path / "p.json"), "--growth", str(tmp_path / "g.json")])
    assert "too noisy for r1: ours, 1 thread" in capsys.readouterr().err


def test_quantities(plot) -> None:
    assert [plot.quantity(t) for t in (312.4, 1713.6, 93803.0, 1e6)] == ["312 µs", "1.71 ms", "93.8 ms", "1 s"]
