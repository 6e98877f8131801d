"""The page: everything that it shows, as one value, and its rendering into one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files

from jinja2 import BaseLoader, Environment, StrictUndefined
from markupsafe import Markup

from hpc_recon.reporting.figures import Panel
from hpc_recon.reporting.layer_plots import LegendEntry, PanelRow
from hpc_recon.reporting.pictures import Gallery
from hpc_recon.reporting.power import Section
from hpc_recon.reporting.runs import RunFigures
from hpc_recon.reporting.score_tables import ChoiceRow, Table
from hpc_recon.reporting.stages import Staged
from hpc_recon.reporting.training import Trained
from hpc_recon.reporting.validity_card import Card
from hpc_recon.reporting.words import Verdict, metric_name


@dataclass(frozen=True)
class Page:
    """What the report shows. All text is plain: the template escapes it."""

    title: str
    description: str
    #: What a reader must know first: simulated data are labelled. Empty for recorded data.
    label: str
    verdict: Verdict
    galleries: Sequence[Gallery]
    image_tables: Sequence[Table]
    fold_tables: Sequence[Table]
    roi_table: Table | None
    legend: Sequence[LegendEntry]
    panel_rows: Sequence[PanelRow]
    #: The same for the other ROIs: (name, rows).
    other_rois: Sequence[tuple[str, Sequence[PanelRow]]]
    layer_table: Table | None
    choices: Sequence[ChoiceRow]
    run: RunFigures
    warnings: Sequence[str]
    study_yaml: str
    #: Sentences that say how scores are defined.
    definitions: Sequence[tuple[str, str]]
    facts: Sequence[tuple[str, str]]
    confidence: str
    version: str
    total_time: str = field(default="")
    #: What the images are evidence of; None: not shown.
    card: Card | None = field(default=None)
    #: Decoding of converted activity beside decoding within a subject.
    conversion_tables: Sequence[Table] = field(default=())
    #: Accuracy against the number of pooled subjects and of samples that converters were fitted with.
    conversion_panels: Sequence[Panel] = field(default=())
    #: How accuracy and images grow better with the data; empty: `power` was not run.
    power: Sequence[Section] = field(default=())
    #: Networks that were trained to make images.
    trained: Sequence[Trained] = field(default=())
    #: What shape-semantic images were made from.
    staged: Sequence[Staged] = field(default=())
    #: Longer tables: every score, tests, what people chose, variants against each other.
    more_tables: Sequence[Table] = field(default=())
    #: Figures over several methods or items; empty where a study has not the data.
    figures: Sequence[Panel] = field(default=())
    #: How large the pictures are, and what was left out.
    gallery_note: str = field(default="")

    @property
    def metric_names(self) -> dict[str, str]:
        """Names of the scores by which images can be sorted."""
        found = dict.fromkeys(name for gallery in self.galleries for name in gallery.metrics)
        return {name: metric_name(name) for name in found}

    @property
    def gallery_choices(self) -> list[tuple[str, str, list[str]]]:
        """Field, title and values of what a reader may choose; only where there are several."""
        fields = (("subject", "Subject"), ("roi", "Region"), ("method", "Method"))
        found = [("dataset", "Images", [gallery.title for gallery in self.galleries])]
        for name, title in fields:
            values = [value for gallery in self.galleries for value in gallery.choices(name)]
            found.append((name, title, list(dict.fromkeys(values))))
        return [one for one in found if len(one[2]) > 1]


def render(page: Page) -> str:
    """Return the HTML: no link, script, font or image is fetched from anywhere."""
    folder = files("hpc_recon.reporting")
    environment = Environment(
        loader=BaseLoader(), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(folder.joinpath("page.html.j2").read_text(encoding="utf-8"))
    style = folder.joinpath("style.css").read_text(encoding="utf-8")
    script = folder.joinpath("gallery.js").read_text(encoding="utf-8")
    # Drawn here from numbers and escaped by matplotlib, and files of ours: the only markup that is not escaped.
    return template.render(page=page, style=Markup(style), script=Markup(script), svg=Markup)  # noqa: S704
