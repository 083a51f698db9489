# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physicsnemo_fs.data.types import Channel, Grid
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.layout import EnsembleSpec
from physicsnemo_fs.io.reader import EnsembleFile
from physicsnemo_fs.io.writer import EnsembleWriter
from physicsnemo_fs.metrics.bootstrap import Interval, Resampling
from physicsnemo_fs.metrics.calibration import rank_histogram
from physicsnemo_fs.metrics.consistency import Consistency
from physicsnemo_fs.pipelines import figures
from physicsnemo_fs.pipelines.numerals import duration, interval_text, number
from physicsnemo_fs.pipelines.report import sentences, write_report
from physicsnemo_fs.pipelines.report.calibration import exchanged_ranks, read_calibration
from physicsnemo_fs.pipelines.report.evidence import crps_ratio, median_time, read_scores
from physicsnemo_fs.pipelines.report.page import text
from physicsnemo_fs.pipelines.report.resolutions import busiest_window, read_same_seed
from physicsnemo_fs.pipelines.score import score

FEW = settings(max_examples=15, deadline=None)
LENGTH = 2 * np.pi
TIMES = np.arange("2000-01-01", "2000-01-07", dtype="datetime64[D]").astype("datetime64[ns]")
NASTY = "<script>alert('x')</script> & \"$x$\""
VORTICITY = Channel("vorticity", "s-1", long_name=NASTY)


def wave(grid, random, highest=5):
    """A random function of low wavenumbers, the same on every grid."""
    field = np.zeros(grid.shape)
    for k in range(1, highest):
        amplitude, phase = random.normal(size=2) / k, random.uniform(0, LENGTH, 2)
        field += amplitude[0] * np.outer(np.cos(k * grid.y + phase[0]), np.cos(k * grid.x + phase[1]))
        field += amplitude[1] * np.cos(k * grid.y + phase[1])[:, None]
    return field


def write_samples(path, size=16, members=4, name="ensemble", spread=1.0, days=range(TIMES.size), **changes):
    """Members and truth are exchangeable if ``spread`` is one."""
    grid, coarse = Grid((size, size), (LENGTH, LENGTH)), Grid((4, 4), (LENGTH, LENGTH), registration="cell")
    inputs = () if changes.pop("without_input", False) else (VORTICITY,)
    times, blocks, seeds = TIMES[list(days)], np.array(days) // 2, tuple(range(10, 10 + members))
    spec = EnsembleSpec(grid, coarse, times, blocks, (VORTICITY,), inputs, seeds, {"model_name": name}, **changes)
    with EnsembleWriter(path, spec) as writer:
        for position, day in enumerate(days):
            mean = wave(grid, np.random.default_rng([0, day]))
            truth = mean + wave(grid, np.random.default_rng([1, day]))
            drawn = [mean + spread * wave(grid, np.random.default_rng([2, day, m])) for m in range(members)]
            writer.write(
                position,
                np.stack(drawn)[:, None],
                input=mean[None] * 0.5 if inputs else np.zeros((0, size, size)),
                input_native=np.ones((1, 4, 4)) if inputs else np.zeros((0, 4, 4)),
                truth=truth[None] if spec.has_truth else None,
                regression=mean[None] if spec.has_regression else None,
            )
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Everything that goes into a full report."""
    folder = tmp_path_factory.mktemp("run")
    samples, fine = write_samples(folder / "samples.nc"), write_samples(folder / "fine.nc", size=32)
    dressed = write_samples(folder / "dressed.nc", name="dressed regression", spread=0.5)
    options = {"bootstrap_samples": 100, "quiet": True}
    return {
        "samples": samples,
        "scores": score([samples, dressed], folder / "scores", **options),
        "fine_samples": fine,
        "fine_scores": score([fine], folder / "fine_scores", **options),
        "consistency": Consistency(3e-4, 6e-7),
        "title": f"Waves {NASTY}",
        "timings": {"train": 200.0, "generate": 20.0},
        "facts": {"command": "make demo", NASTY: NASTY},
    }


@pytest.fixture(scope="module")
def html(run, tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("report") / "report.html", **run).read_text(encoding="utf-8")


class Page(HTMLParser):
    """Collects what the tests ask about, and checks that tags nest."""

    VOID = frozenset({"meta", "br", "img", "link"})

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).replace("\u2060", "").split())


def test_a_report_is_one_well_formed_file_that_needs_nothing_else(html):
    page = Page(html)
    kinds = {tag for tag, _ in page.tags}
    assert not kinds & {"script", "link", "iframe", "img"}
    links = [value for _, attributes in page.tags for name, value in attributes.items() if name.endswith("href")]
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
    assert "@import" not in html
    assert "://" not in re.sub(r'xmlns(:xlink)?="[^"]+"', "", html)
    assert len(html) < 1_000_000


def test_ids_are_unique_and_references_resolve(html):
    ids = [attributes["id"] for _, attributes in Page(html).tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    references = re.findall(r"url\(#([^)]+)\)", html) + re.findall(r'href="#([^"]+)"', html)
    assert set(references) <= set(ids)


def test_every_figure_says_what_it_shows(html):
    pictures = [attributes for tag, attributes in Page(html).tags if tag == "svg"]
    assert len(pictures) == 6
    assert all(picture["role"] == "img" and len(picture["aria-label"]) > 20 for picture in pictures)


def test_strings_of_users_are_text(html):
    assert "<script" not in html
    assert html.count(text(NASTY)) >= 3
    assert "<code>make demo</code>" in html
    assert NASTY in Page(html).text


def test_sections_come_in_the_order_of_a_story(html):
    headings = re.findall(r"<h2>(.*?)</h2>", html)
    assert [heading.split(" ")[0] for heading in headings] == ["One", "Scores", "Do", "Can", "The", "Limits", "How"]


def test_the_table_shows_the_scores_and_marks_the_best(run, html):
    body = html[html.index("<tbody>") : html.index("</tbody>")]
    names = re.findall(r'<th scope="row">(.*?)</th>', body)
    assert names == ["Interpolation", "Regression", "Regression + Gaussian field", "Ensemble"]
    shown = [re.search(r"<td>(?:<b>)?([\d.]+)", line)[1] for line in body.split("</tr>")[:4]]
    rows = [
        ("interpolation", "mae"),
        ("regression", "mae"),
        ("dressed regression", "crps_fair"),
        ("ensemble", "crps_fair"),
    ]
    crps = [run["scores"].row(model, metric, "vorticity").value for model, metric in rows]
    assert shown == [number(value) for value in crps]
    best = body.split("</tr>")[int(np.argmin(crps))]
    assert f"<b>{number(min(crps))}</b>" in best


def test_the_same_input_gives_the_same_page(run, html, tmp_path):
    assert write_report(tmp_path / "again.html", **run).read_text(encoding="utf-8") == html


def test_a_bare_ensemble_gets_the_sections_it_has_numbers_for(tmp_path):
    samples = write_samples(tmp_path / "s.nc", members=1, has_regression=False, without_input=True)
    scores = score([samples], tmp_path / "scores", quiet=True, bootstrap_samples=50)
    page = Page(write_report(tmp_path / "r.html", title="Bare", samples=samples, scores=scores).read_text("utf-8"))
    assert "A single member has no spread." in page.text
    assert "Can the spread be trusted?" not in page.text
    assert "The same seed" not in page.text


def test_a_report_without_truth_is_refused_and_leaves_the_old_one(run, tmp_path):
    samples, page = write_samples(tmp_path / "s.nc", has_truth=False), tmp_path / "report.html"
    page.write_text("old")
    with pytest.raises(InputError, match="needs truth"):
        write_report(page, title="", samples=samples, scores=run["scores"])
    assert page.read_text() == "old"


def test_scores_of_other_times_are_refused(run):
    scores = read_scores(run["scores"].scores_path, "vorticity")
    with pytest.raises(InputError, match="must share times"):
        median_time(scores.models["ensemble"], TIMES + np.timedelta64(1, "h"))
    with pytest.raises(InputError, match="no model there"):
        read_scores(run["scores"].scores_path, "t2m")


def test_the_shown_time_is_the_median_one(run):
    scores = read_scores(run["scores"].scores_path, "vorticity").models["ensemble"]
    crps = scores.metrics["crps_fair"]
    shown = crps[scores.times == median_time(scores, TIMES)][0]
    assert (crps < shown).sum() == 2
    assert (crps > shown).sum() == 3


def test_the_finer_grid_may_have_some_of_the_times(run, tmp_path):
    fine = write_samples(tmp_path / "few.nc", size=32, days=(1, 3))
    finer = run | {"fine_samples": fine, "fine_scores": score([fine], tmp_path / "few", quiet=True)}
    page = Page(write_report(tmp_path / "report.html", **finer).read_text(encoding="utf-8"))
    own, few = (
        read_scores(finer[name].scores_path, "vorticity").models["ensemble"] for name in ("scores", "fine_scores")
    )
    expected = few.metrics["crps_fair"].mean() / own.metrics["crps_fair"][[1, 3]].mean()
    assert crps_ratio(few, own) == pytest.approx(expected)
    assert "(2 times drawn on both)" in page.text
    assert "the median CRPS of the 2 drawn on both grids" in page.text


def test_one_function_on_two_grids_has_no_difference(run):
    with EnsembleFile(run["samples"]) as coarse, EnsembleFile(run["fine_samples"]) as fine:
        pair = read_same_seed(coarse, fine, "vorticity", (2, 2))
    assert pair.seed == 10
    assert np.abs(pair.difference).max() < 2e-6  # float32 files; 3e-7 measured
    np.testing.assert_allclose(pair.fine[::2, ::2], pair.coarse, atol=2e-6)


def test_each_rank_is_taken_once_at_every_point():
    random = np.random.default_rng(0)
    ensemble, truth = random.normal(size=(5, 200)), random.normal(size=200)
    ranks = exchanged_ranks(ensemble, truth, random)
    np.testing.assert_array_equal(ranks.sum(axis=0), 200)
    np.testing.assert_array_equal(ranks.sum(axis=1), 200)
    expected = rank_histogram(ensemble[:, None], truth[None], random).total
    np.testing.assert_array_equal(ranks[-1], expected)


def test_ties_fall_on_all_ranks():
    ranks = exchanged_ranks(np.zeros((3, 4000)), np.zeros(4000), np.random.default_rng(0))
    np.testing.assert_allclose(ranks / 4000, 0.25, atol=0.03)  # four standard deviations


def test_the_band_of_independent_points_is_the_binomial_one(tmp_path):
    """White fields: the share of each of 17 ranks over n points has variance p (1 - p) / n."""
    size, members = 32, 16
    grid = Grid((size, size), (1.0, 1.0))
    spec = EnsembleSpec(
        grid, grid, TIMES, np.arange(6), (VORTICITY,), (), tuple(range(members)), {}, has_regression=False
    )
    random, nothing = np.random.default_rng(0), np.zeros((0, size, size))
    with EnsembleWriter(tmp_path / "white.nc", spec) as writer:
        for time in range(6):
            fields = random.normal(size=(members + 1, 1, size, size))
            writer.write(time, fields[1:], truth=fields[0], input=nothing, input_native=nothing)
    with EnsembleFile(tmp_path / "white.nc") as file:
        calibration = read_calibration(file, "vorticity", Resampling(file.blocks, samples=100))
    share, points = 1 / (members + 1), 6 * size**2
    expected = 1.96 * np.sqrt(share * (1 - share) / points)
    assert calibration.rank_band.mean() == pytest.approx(expected, rel=0.15)  # scatter 0.045
    assert len(calibration.error) == calibration.spread.size == 10


@FEW
@given(st.integers(8, 40), st.integers(8, 40), st.integers(0, 1000))
def test_the_window_lies_inside_the_domain(height, width, seed):
    grid = Grid((height, width), (2.0, 3.0), origin=(-1.0, 5.0))
    y0, y1, x0, x1 = busiest_window(np.random.default_rng(seed).normal(size=grid.shape), grid)
    assert -1.0 < y0 < y1 < 1.0
    assert 5.0 < x0 < x1 < 8.0


@FEW
@given(st.floats(1e-12, 1e12), st.sampled_from([-1, 1]), st.integers(2, 4))
def test_numbers_keep_their_digits(size, sign, digits):
    plain = number(sign * size, digits).replace("−", "-").replace(" × 10", "e")
    plain = plain.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
    assert float(plain) == pytest.approx(sign * size, rel=0.051)


@FEW
@given(st.sets(st.integers(1, 99), min_size=1))
def test_ranges_name_every_shell(shells):
    named = set()
    for part in sentences.shell_ranges(sorted(shells)).replace(" and ", ", ").split(", "):
        first, _, last = part.partition("–")
        named |= set(range(int(first), int(last or first) + 1))
    assert named == shells


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0.97, 0.95, 0.99), "overconfident: its spread is 3 % too small"),
        ((1.10, 1.02, 1.20), "underconfident: its spread is 10 % too large"),
        ((0.99, 0.95, 1.03), "Spread and error agree"),
        ((0.99, np.nan, np.nan), "gives no interval"),
        ((np.nan, np.nan, np.nan), "no spread"),
    ],
)
def test_the_spread_is_judged_by_its_interval(arguments, words):
    assert words in sentences.spread_sentence(*arguments)


def test_a_difference_is_claimed_only_if_the_interval_allows_it():
    ratios = {
        "interpolation": Interval(0.15, 0.14, 0.16, 8),
        "the regression": Interval(0.97, 0.93, 1.02, 8),
        "a rival": Interval(1.2, 1.1, 1.3, 8),
    }
    said = sentences.crps_sentence(ratios)
    assert "85 % lower than for interpolation and 20 % higher than for a rival." in said
    assert "It cannot be told apart from that of the regression" in said
    assert sentences.crps_sentence({}) == ""


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (Interval(0.9, 0.85, 0.95, 8), "beats the regression: its RMSE is 10 % lower"),
        (Interval(1.1, 1.05, 1.2, 8), "no better than the regression: its RMSE is 10 % higher"),
        (Interval(1.0, 0.95, 1.05, 8), "as good as the regression, not better"),
        (Interval(1.3, np.nan, np.nan, 1), "1.30 times the regression's, without an interval"),
    ],
)
def test_the_mean_is_judged_by_its_interval(ratio, words):
    assert words in sentences.mean_sentence(ratio)


def test_spectra_are_judged_by_one_decibel():
    power = np.array([0.0, 60.0, 30.0, 9.0, 1.0])
    shells, error = np.arange(1, 5), np.array([0.5, -0.9, -2.0, 40.0])
    limit = sentences.spectrum_limit(error, shells, power, "8 × 8")
    assert "too much power at wavenumber 4 (by more than 30 dB)" in limit
    assert "too little power at wavenumber 3 (by up to 2.0 dB)" in limit
    assert "10 % of the truth's variance" in limit
    assert "Up to wavenumber 2" in sentences.reach_sentence(error, shells, power)
    assert "Already at wavenumber 1" in sentences.reach_sentence(error + 5, shells, power)
    assert "all of the truth's" in sentences.reach_sentence(0 * error, shells, power)
    assert sentences.spectrum_limit(0 * error, shells, power, "8 × 8") == ""


@pytest.mark.parametrize(
    ("consistency", "words"),
    [
        (Consistency(2e-6, 6e-7), "to rounding (2.0 × 10⁻⁶); the generated residual alone agrees to rounding"),
        (Consistency(3e-4, 2e-3), "to 0.030 %; the generated residual alone differs by 0.2 %"),
        (Consistency(0.38, 2.2), "different fields at A and at B: they differ by 38 % after low-pass"),
        (Consistency(1e-3, None), "to 0.1 %."),
    ],
)
def test_consistency_is_called_what_it_is(consistency, words):
    assert words in sentences.consistency_sentence(consistency, "A", "B")


def test_new_detail_is_denied_only_where_there_is_none():
    power = np.array([0.0, 90.0, 10.0])
    assert sentences.detail_limit(power, 1, "A", "B") == ""
    assert "tests consistency" in sentences.detail_limit(power * [0, 1, 1e-6], 1, "A", "B")


@pytest.mark.parametrize(("ratio", "words"), [(1.0, "same as"), (1.02, "2.00 % higher"), (0.99, "1.00 % lower")])
def test_the_finer_grid_is_compared(ratio, words):
    assert words in sentences.finer_sentence(ratio, "A", "B")


def test_intervals_tell_their_ends_apart():
    assert interval_text(Interval(1.01, 1.0081, 1.0119, 8)) == "1.008–1.012"
    assert interval_text(Interval(0.1, -0.1, 0.3, 8)) == "−0.100 to 0.300"
    assert interval_text(Interval(1.0, np.nan, np.nan, 1)) == ""
    assert duration(59.97) == "1 min 0 s"


def test_scales_follow_the_signs_and_panels_share_colour_bars():
    signed, positive = np.linspace(-1, 3, 64).reshape(8, 8), np.full((8, 8), 280.0)
    scale = figures.field_scale([signed], "a")
    assert scale.low == -scale.high
    assert figures.field_scale([positive], "b").colours == "viridis"
    spread = figures.spread_scale(np.abs(signed), "c")
    one = figures.panel_figure([[figures.Panel("a", signed, scale)] * 2] * 2)
    two = figures.panel_figure([[figures.Panel("a", signed, scale)] * 2, [figures.Panel("c", np.abs(signed), spread)]])
    assert [len(figure.axes) for figure in (one, two)] == [5, 6]
