"""Does the report say what the comparison found, in all three forms?"""

import io
import json
import re
from dataclasses import replace
from html import escape
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

import eventsolve as es
from eventsolve.compare import compare, worst_spike
from eventsolve.io.records import Record
from tests.shared.records import altered
from validation import report
from validation.report import colours, pictures
from validation.report import html as html_face
from validation.report.document import Document, Picture, Table, sentences
from validation.report.html import TITLES
from validation.report.runs import READING

SIZES = {"in": 2, "hidden": 30, "out": 3}
KEYS = (("in", "hidden"), ("hidden", "out"))


def exact_record():
    random = np.random.default_rng(1)
    spikes = {
        name: es.SpikeTrains.from_dense(random.uniform(1e-3, 20e-3, (3, size)))
        for name, size in SIZES.items()
    }
    return Record(
        name="exact",
        spikes=spikes,
        loss_values=np.ones(3),
        gradients={
            "spike_times": {name: random.normal(size=trains.n_spikes) for name, trains in spikes.items()},
            "weight": {key: random.normal(size=(3, SIZES[key[1]], SIZES[key[0]])) for key in KEYS},
        },
        reduction="none",
    )


def run_of(exact, model, title="a run"):
    comparison = compare(exact, model)
    worst = worst_spike(comparison)
    times = np.linspace(0, 20e-3, 50)
    excerpt = worst and report.Excerpt(
        worst, 1.0, times, np.sin(times), times[::5], np.sin(times[::5]), times[3:5], times[4:6]
    )
    settings = {"network": "test <b>&", "samples": 3}
    return report.Run(title, "group", "float64", settings, comparison, excerpt, 0.5)


@pytest.fixture(scope="module")
def runs():
    """One run that agrees, one with a missed spike, one whose gradient is not a number."""
    exact = exact_record()
    same = replace(exact, name="model", time_step=1e-3, counters={"saturations": 2})
    all_spikes = exact.spikes["hidden"]
    kept = np.flatnonzero((all_spikes.samples != 1) | (all_spikes.neurons != 7))
    fewer = es.SpikeTrains.from_arrays(
        all_spikes.times[kept],
        all_spikes.neurons[kept],
        all_spikes.samples[kept],
        n_neurons=all_spikes.n_neurons,
        n_samples=all_spikes.n_samples,
    )
    missing = altered(
        same,
        spikes=exact.spikes | {"hidden": fewer},
        spike_times=exact.spike_times | {"hidden": exact.spike_times["hidden"][kept]},
    )
    wrong = exact.weight[KEYS[0]].copy()
    wrong[2, 4, 1] = np.nan
    broken = altered(same, weight=exact.weight | {KEYS[0]: wrong}, time_step=1e-4)
    return [run_of(exact, same, "agrees"), run_of(exact, missing, "misses"), run_of(exact, broken, "breaks")]


@pytest.fixture(scope="module")
def origin():
    return report.provenance({"seed": 5, "dt": [1e-3]}, command="eventsolve-validate yinyang --seed 5")


@pytest.fixture(scope="module")
def document(runs, origin):
    return report.document_of(runs, origin)


@pytest.fixture(scope="module")
def html(document):
    return report.to_html(document)


class Page(HTMLParser):
    """Collects what a page refers to, and checks that its tags close in order."""

    VOID = frozenset({"meta", "img", "br", "link", "input", "hr"})

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.loads, self.ids, self.places, self.meta = [], [], [], [], [], []
        self.scripts = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.links += [attributes["href"]] if tag == "a" else []
        self.loads += [
            (tag, name) for name in ("src", "srcset", "data", "href") if name in attributes and tag != "a"
        ]
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.places += [int(attributes["data-plot"])] if "data-plot" in attributes else []
        self.meta += [attributes["content"]] if "http-equiv" in attributes else []
        if tag == "script":
            self.scripts.append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data


def plots_of(html):
    """Every plot of a page as its JSON."""
    return json.loads(Page(html).scripts[0])


def columns_of(plot):
    """The columns of every source of a plot, by their name."""
    found = []

    def search(value):
        if isinstance(value, dict):
            if value.get("name") == "ColumnDataSource":
                found.append(dict(value["attributes"]["data"]["entries"]))
            for entry in value.values():
                search(entry)
        elif isinstance(value, list):
            for entry in value:
                search(entry)

    search(plot)
    return found


def test_the_page_is_whole_loads_nothing_and_is_small(html):
    page = Page(html)
    assert page.loads == []
    for link in page.links:
        assert link.startswith("file:") or (link[0] == "#" and link[1:] in page.ids)
    assert page.meta[0].startswith("default-src 'none'; script-src 'unsafe-inline'")
    assert "unsafe-eval" not in page.meta[0]
    style = html[html.index("<style>") : html.index("</style>")]
    for loads in ("@import", "url(", "http"):
        assert loads not in style
    assert len(html) < 5_000_000


def test_the_page_is_for_both_schemes_and_for_narrow_screens(html):
    style = html[html.index("<style>") : html.index("</style>")]
    assert "color-scheme: light dark" in style
    dark = style[style.index("@media (prefers-color-scheme: dark)") :].split("}")[0]
    light = style[: style.index("@media")]
    for name in colours.NAMES:
        assert f"--{name}:" in light
        assert f"--{name}:" in dark
    assert "width=device-width" in html
    assert "max-width: 640px" in style


def luminance(colour):
    """Relative luminance, WCAG 2.2."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("name", colours.NAMES)
def test_every_colour_stands_out_from_its_ground(name):
    """3 is what WCAG 2.2 wants of graphics, 4.5 of text."""
    for colour, ground in zip(colours.NAMES[name], ("#ffffff", "#12161b"), strict=True):
        low, high = sorted((luminance(colour) + 0.05, luminance(ground) + 0.05))
        assert high / low >= (4.5 if name in ("ink", "quiet") else 3), (name, colour)


def test_every_plot_has_its_place_and_every_picture_its_words(document, html):
    pictures = [b for section in document.sections for b in section.blocks if isinstance(b, Picture)]
    n_plots = sum(len(picture.panels) for picture in pictures)
    assert Page(html).places == list(range(n_plots))
    assert len(plots_of(html)) == n_plots
    for picture in pictures:
        assert len(picture.caption) > 40


def test_a_synapse_and_a_spike_tell_their_names_and_values(runs, html):
    columns = [column for plot in plots_of(html) for column in columns_of(plot)]
    synapses = [c for c in columns if "names" in c]
    names = [name for c in synapses for name in c["names"]]
    assert "hidden 3 ← in 1" in names
    assert "out 2 ← hidden 17" in names
    spikes = [c for c in columns if "gradient" in c]
    kinds = {kind for c in spikes for kind in c["kind"]}
    assert kinds == {"matched", "missed"}
    missed = [n for c in spikes for n, kind in zip(c["neuron"], c["kind"], strict=True) if kind == "missed"]
    assert missed == ["hidden 7"]


def test_a_large_network_has_a_small_picture():
    random = np.random.default_rng(1)
    shape = (2, 900, 800)
    spikes = {
        "a": es.SpikeTrains.from_lists([[[]] * 800] * 2),
        "b": es.SpikeTrains.from_lists([[[]] * 900] * 2),
    }
    given = {"weight": {("a", "b"): random.normal(size=shape)}}
    exact = Record("exact", spikes=spikes, gradients=given, reduction="none")
    wrong = exact.weight["a", "b"].copy()
    wrong[:, 631, 77] += 1e3
    run = run_of(exact, altered(exact, weight={("a", "b"): wrong}, time_step=1e-3))
    html = report.to_html(report.document_of([run], report.provenance({}, "check")))
    assert len(html) < 5_000_000
    assert any("b 631 ← a 77" in c.get("names", []) for plot in plots_of(html) for c in columns_of(plot))


@pytest.mark.parametrize("turned", [False, True])
def test_ticks_of_a_map_are_neurons_also_where_few_are_shown(turned):
    values = np.add.outer(1000.0 * np.arange(60), np.arange(900))  # which neurons an entry is of
    plot, few = pictures.gradient_map(values.T if turned else values)
    assert few
    (image,) = plot.renderers[0].data_source.data["value"]
    along, up = (axis.major_label_overrides for axis in (plot.xaxis[0], plot.yaxis[0]))
    for axis, names in ((plot.xaxis[0], along), (plot.yaxis[0], up)):
        assert axis.ticker.ticks == sorted(names)
        assert 2 <= len(names) <= 10
    for x, source in along.items():
        for y, target in up.items():
            assert image[y, x] == 1000 * int(target) + int(source)


def test_the_page_escapes_what_users_name(html):
    assert "test &lt;b&gt;&amp;" in html


def test_json_has_no_nan_and_keeps_every_digit(runs, document):
    def refuse(constant):
        raise AssertionError(constant)

    headline = sentences(document.headline)
    document = json.loads(report.to_json(document), parse_constant=refuse)
    assert document["headline"] == headline
    assert document["complete"] is True
    assert document["provenance"]["settings"]["seed"] == 5
    for run, entry in zip(runs, document["runs"], strict=True):
        for weight, written in zip(run.comparison.weight.values(), entry["weights"], strict=True):
            np.testing.assert_array_equal(np.array(written["exact"]), weight.mean_exact)
            model = np.array(written["model"], dtype=float)  # null reads as NaN
            np.testing.assert_array_equal(model, weight.mean_model)
    assert [entry["first_difference"] for entry in document["runs"]] == [
        None,
        "spikes of hidden",
        "dL/dw of in → hidden",
    ]
    missing = document["runs"][1]
    assert missing["differing_samples"] == [1]
    assert [entry["missed"] for entry in missing["spikes"]] == [0, 1, 0]
    assert document["runs"][2]["weights"][1]["mean"]["relative_error"] is None


def test_summaries_are_in_plain_words(runs):
    agrees, misses, breaks = (report.summary(run.comparison) for run in runs)
    assert agrees.startswith("All 99 spikes are matched")
    assert "agree everywhere within tolerance" in agrees
    assert "misses 1 and adds 0; gradients depend on them in 1 of 3 samples" in misses
    assert "On the 2 samples whose spikes match, the backward pass agrees" in misses
    assert "part first at the dL/dw of in → hidden (with numbers that are not finite)" in breaks


def printed(blocks, **options):
    shown = Console(width=120, file=io.StringIO())
    report.to_terminal(blocks, shown, **options)
    return shown.file.getvalue()


def test_the_terminal_says_the_verdict_first_then_runs_layers_and_places(runs, document):
    text = printed(document.headline)
    assert text.startswith(
        "differs: the two part in 2 of 3 runs, first misses, first at the spikes of hidden."
    )
    for word in (
        "agrees",
        "misses",
        "hidden → out",
        "in → hidden",
        "spikes of hidden",
        "parts nowhere",
        "undefined",
    ):
        assert word in text
    assert text.index("hidden → out") < text.index("in → hidden")
    assert printed(report.headline(runs[:1])).startswith("agrees: agrees agrees with the exact solution")


def test_the_page_and_the_terminal_say_the_same(document, html):
    words = " ".join(re.sub("<[^>]*>", " ", html[: html.index("<script")]).split())
    for sentence in sentences(document.headline):
        assert escape(sentence, quote=False) in words


def formats(runs, nudge):
    """A run and the same with another number format, whose error is another one by a share."""
    run = runs[1]
    comparison = run.comparison
    model = comparison.model
    changed = {key: w + nudge * (w - comparison.exact.weight[key] + 0.1) for key, w in model.weight.items()}
    one = run_of(comparison.exact, altered(model, weight={k: w + 0.1 for k, w in model.weight.items()}))
    other = run_of(comparison.exact, altered(model, weight={k: w + 0.1 for k, w in changed.items()}))
    return [
        replace(one, title="net, s16.15", series="s16.15"),
        replace(other, title="net, float32", series="float32"),
    ]


def test_runs_that_differ_by_less_than_a_hundredth_of_their_error_share_a_row(runs, origin):
    text = printed(report.headline(formats(runs, 0.005)))
    assert "net, s16.15 or float32" in text
    assert "The number format makes no difference" in text
    text = printed(report.headline(formats(runs, 0.02)))
    assert "or float32" not in text
    assert "no difference" not in text
    page = report.to_html(report.document_of(formats(runs, 0.005), origin))
    assert page.count("<section id=") == 1
    assert len(report.document_of(formats(runs, 0.005), origin).data["runs"]) == 2


def test_what_a_time_step_does_is_said_in_a_sentence(runs):
    text = " ".join(printed(report.headline([replace(runs[1], next_command="do this")])).split())
    assert (
        "group: at a time step of 1 ms it loses 1 and adds 0 of 99 spikes, its gradient of hidden → out 0° off"
        in text
    )
    assert text.endswith("next: do this")


def test_what_matters_less_is_shown_on_request(origin):
    table = Table("causes", ("cause", "error"), (("a", "1"),), rest=(("b", "0.001"),), folded="1 more")
    assert "0.001" not in printed([table])
    assert "1 more: --all" in printed([table])
    assert "0.001" in printed([table], everything=True)
    page = report.to_html(Document("t", (table,), (), origin, {}))
    assert "<details><summary>1 more</summary>" in page
    assert "0.001" in page.split("<details>")[1]


@pytest.mark.parametrize("place", TITLES)
def test_the_documentation_has_the_pages_that_reports_name(place):
    text = (html_face.SOURCE / f"{place}.md").read_text(encoding="utf-8")
    assert text.splitlines()[0] == f"# {TITLES[place]}"
    title, address = html_face.about(place)
    assert (title, address[:5]) == (TITLES[place], "file:")


def test_a_link_into_a_page_goes_to_a_heading_that_is_there():
    place, _, heading = READING.partition("#")
    text = (html_face.SOURCE / f"{place}.md").read_text(encoding="utf-8")
    assert heading in [
        line[3:].lower().replace(" ", "-") for line in text.splitlines() if line.startswith("## ")
    ]


def test_without_a_copy_of_the_documentation_its_page_is_named(monkeypatch, tmp_path, origin):
    monkeypatch.setattr(html_face, "SOURCE", tmp_path)
    table = Table("a table", ("x",), (("1",),), about="concepts/margins")
    assert '<span class="about">Margins' in report.to_html(Document("t", (table,), (), origin, {}))


def test_an_interrupted_campaign_says_so(tmp_path, runs, origin):
    interrupted = report.document_of(runs[:1], origin, complete=False)
    page, data = report.write(interrupted, tmp_path / "new" / "folder")
    assert "interrupted" in page.read_text(encoding="utf-8")
    assert json.loads(data.read_text(encoding="utf-8"))["complete"] is False
    Page(report.to_html(report.document_of([], origin, complete=False)))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.123456, "0.1235"), (1.5e-7, "1.50e-7"), (12345.0, "1.23e4"), (np.nan, "undefined")],
)
def test_numbers_are_short(value, text):
    assert report.number(value) == text
