"""Does the report say what the comparison found, in all three forms?"""

import base64
import io
import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import eventsolve as es
from eventsolve.io.records import Record
from tests.shared.records import altered
from validation import report
from validation.compare import compare, worst_spike

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
    culprit = worst_spike(comparison)
    times = np.linspace(0, 20e-3, 50)
    excerpt = culprit and report.Excerpt(
        culprit, 1.0, times, np.sin(times), times[::5], np.sin(times[::5]), times[3:5], times[4:6]
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
def html(runs, origin):
    return report.to_html(runs, origin)


class Page(HTMLParser):
    """Collects what a page refers to, and checks that its tags close in order."""

    VOID = frozenset({"meta", "img", "br", "link", "input", "hr"})

    def __init__(self, text):
        super().__init__()
        self.open, self.references, self.ids, self.images, self.words = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.references += [attributes[name] for name in ("href", "src") if name in attributes]
        self.ids += [attributes["id"]] if "id" in attributes else []
        if tag == "img":
            self.images.append(attributes)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_is_whole_and_refers_to_nothing_outside(html):
    page = Page(html)
    for reference in page.references:
        assert reference.startswith(("#", "data:image/png;base64,"))
        assert not reference.startswith("#") or reference[1:] in page.ids
    for forbidden in ("http://", "https://", "<script", "@import", "url("):
        assert forbidden not in html
    assert len(html) < 3_000_000


def test_every_picture_decodes_and_has_words(runs, html):
    images = Page(html).images
    assert len(images) == 1 + 4 * len(runs)
    for image in images:
        data = base64.b64decode(image["src"].partition(",")[2], validate=True)
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            assert picture.width > 800
            assert len(picture.getcolors(maxcolors=256)) > 3
        assert len(image["alt"]) > 40


def test_the_page_escapes_what_users_name(html):
    assert "test &lt;b&gt;&amp;" in html


def test_json_has_no_nan_and_keeps_every_digit(runs, origin):
    def refuse(constant):
        raise AssertionError(constant)

    document = json.loads(report.to_json(runs, origin), parse_constant=refuse)
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
    assert "part first at the dL/dw of in → hidden (relative error undefined" in breaks


def test_the_table_names_runs_layers_and_places(runs):
    console = Console(width=120, file=io.StringIO())
    console.print(report.table(runs))
    text = console.file.getvalue()
    for word in (
        "agrees",
        "misses",
        "hidden → out",
        "in → hidden",
        "spikes of hidden",
        "nowhere",
        "undefined",
    ):
        assert word in text


def test_an_interrupted_campaign_says_so(tmp_path, runs, origin):
    page, data = report.write(runs[:1], origin, tmp_path / "new" / "folder", complete=False)
    assert "interrupted" in page.read_text(encoding="utf-8")
    assert json.loads(data.read_text(encoding="utf-8"))["complete"] is False
    Page(report.to_html([], origin, complete=False))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.123456, "0.1235"), (1.5e-7, "1.50e-7"), (12345.0, "1.23e4"), (np.nan, "undefined")],
)
def test_numbers_are_short(value, text):
    assert report.number(value) == text
