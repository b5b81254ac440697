"""Studies run on real tools: LiteRT on this machine, TFLM, Vela; others beside them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from api.cli.main import run
from api.study.compare import compare_studies
from api.study.report import Findings, find, render
from api.study.roofline import COMPUTE, FALLBACK, MEMORY, OVERHEAD
from api.study.rows import read_rows
from api.study.run import Tally, run_study
from api.study.spec import Spec, read_spec, ready_studies
from api.study.statistics import frontier, spearman
from api.study.svg import Axis, Mark, dot_plot, scatter
from dataset.sources.running import import_source
from dataset.store import Store
from dataset.zoo import build_network
from perfsage.errors import InvalidInputError, UnknownNameError
from perfsage.measurement import Mode
from perfsage.metrics import Metric

pytestmark = pytest.mark.xdist_group("trained")
NETWORKS = ("mlperf-tiny-kws", "mlperf-tiny-vww", "mlperf-tiny-ic", "mlperf-tiny-ad", "mobilenet-v1-0.25-128")
NPU, FRIEND, PHONE = "ethos-u55-128", "npu-of-a-friend", "ncnn-a-phone"
NCNN = """### A phone
./benchncnn 4 1 0 -1
loop_count = 4
num_threads = 1
powersave = 0
gpu_device = -1
      mobilenet_v2  min =   20.00  max =   21.00  avg =   20.50
     squeezenet_int8  min =   9.00  max =   9.50  avg =   9.20
num_threads = 4
      mobilenet_v2  min =    8.00  max =    9.00  avg =    8.50
"""
MODES = {
    "host-cpu": Mode.MEASURED, "tflm": Mode.MEASURED, NPU: Mode.SIMULATED, FRIEND: Mode.PREDICTED,
    PHONE: Mode.IMPORTED,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, predictor: Path) -> Path:
    """A folder with a study, a predictor that knows a device which is not here, and a phone's timings."""
    folder = tmp_path_factory.mktemp("study")
    shutil.copytree(predictor, folder / "predictor")
    manifest = folder / "predictor" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(f'"{NPU}"', f'"{FRIEND}"'))
    (folder / "README.md").write_text(NCNN)
    (folder / "study.toml").write_text(
        f"""name = "test"
networks = {json.dumps([*NETWORKS, "mobilenet-v2"])}
devices = {json.dumps(list(MODES))}
threads = [1, 2]
batch = [1, 2]
visits = 2
visit_ms = 2.0
per_operator = true
predictor = "predictor"
"""
    )
    return folder


@pytest.fixture(scope="module")
def spec(folder: Path) -> Spec:
    return read_spec(folder / "study.toml")


@pytest.fixture(scope="module")
def tally(folder: Path, spec: Spec) -> Tally:
    with Store.open(folder / "study.db") as store:
        import_source(store, "ncnn", folder / "README.md")
        return run_study(spec, store)


@pytest.fixture(scope="module")
def store(folder: Path, tally: Tally) -> Iterator[Store]:
    with Store.open(folder / "study.db", create=False) as store:
        yield store


@pytest.fixture(scope="module")
def found(spec: Spec, store: Store) -> Findings:
    return find(spec, store)


def test_every_cell_is_measured_or_predicted(tally: Tally) -> None:
    # Six networks: on the host once with one thread, once with two, once as a batch; else once.
    assert (tally.measured, tally.predicted, tally.failed) == (6 * 3 + 6 + 6, 6, 0)
    assert tally.total == tally.done == 36
    assert tally.missing == {}


def test_a_study_goes_on_where_it_was(spec: Spec, store: Store) -> None:
    again = run_study(spec, store)
    assert (again.stored_before, again.measured, again.predicted) == (36, 0, 0)
    further = run_study(replace(spec, devices=(NPU, "ethos-u55-64"), networks=("mlperf-tiny-kws",)), store)
    assert (further.stored_before, further.measured) == (1, 1)


def test_every_value_says_how_it_came_to_be(spec: Spec, store: Store) -> None:
    study = read_rows(spec, store)
    modes = {(row.device, row.mode) for row in study.rows}
    assert modes == set(MODES.items())
    predicted = [row for row in study.of(Metric.LATENCY_MS) if row.device == FRIEND]
    assert len(predicted) == 6
    assert all(
        row.low is not None and row.high is not None and row.low <= (row.value or 0) <= row.high
        for row in predicted
    )
    for row in study.rows:
        assert (row.value is None) == (row.unavailable is not None)


def test_imported_phones_have_the_fastest_of_their_settings(spec: Spec, store: Store) -> None:
    [row] = [row for row in read_rows(spec, store).rows if row.device == PHONE and row.value]
    assert (row.network, row.dtype, row.value, row.threads) == ("mobilenet-v2", "float32", 8.0, 4)


def test_shares_of_the_latency_add_up(found: Findings) -> None:
    assert {bound.row.device for bound in found.bounds} == {"host-cpu", NPU, FRIEND}
    for bound in found.bounds:
        assert bound.compute + bound.memory + bound.overhead == pytest.approx(1)
        assert bound.bottleneck in (COMPUTE, MEMORY, OVERHEAD, FALLBACK)
    [fully_connected] = [b for b in found.bounds if b.row.network == "mlperf-tiny-ad" and b.row.device == NPU]
    assert fully_connected.bottleneck == MEMORY  # a fully connected network reads each weight once
    assert fully_connected.roof.stated


def test_operators_have_rates_under_the_roof(found: Findings) -> None:
    roofs = {bound.row.device: bound.roof for bound in found.bounds}
    mine = {rate.type: rate for rate in found.rates if rate.device == NPU}
    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"} <= mine.keys()
    for rate in mine.values():
        assert 0 < rate.macs_per_s <= roofs[NPU].macs_per_s


def test_report_is_one_file_that_needs_nothing_else(found: Findings, store: Store) -> None:
    html = render(found, store)
    assert not re.search(r"<script|<link|<img|<iframe|@import|url\(|src=|href=\"(?!#)", html)
    for name in (
        *NETWORKS,
        FRIEND,
        "hollow: predicted or imported",
        "Roofline of host-cpu",
        "MACs as a proxy",
    ):
        assert name in html
    assert "nan" not in re.sub("<text.*?</text>|<title>.*?</title>", "", html).lower().split()


def test_report_command_writes_tables(folder: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["study", "report", str(folder / "study.toml"), "--db", str(folder / "study.db")]
    assert run([*arguments, "-o", str(folder / "report"), "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert (written["networks"], written["devices"]) == (6, 5)
    values = pd.read_csv(folder / "report" / "values.csv")
    assert len(values) == len(pd.read_parquet(folder / "report" / "values.parquet"))
    assert set(values["mode"]) == {"measured", "simulated", "predicted", "imported"}
    assert (values["value"].isna() == values["unavailable"].notna()).all()


def test_report_tells_carbon_when_it_is_asked_for(found: Findings, store: Store, folder: Path) -> None:
    assert "CO2e" not in render(found, store)
    arguments = ["study", "report", str(folder / "study.toml"), "--db", str(folder / "study.db")]
    assert run([*arguments, "-o", str(folder / "green"), "--grid", "360:an example"]) == 0
    assert "360 g CO2e per kWh: an example" in (folder / "green" / "report.html").read_text()
    values = pd.read_csv(folder / "green" / "values.csv")
    energies = values[(values["metric"] == "energy_mj") & values["value"].notna()]
    assert len(energies) and np.allclose(energies["co2e_mg"], energies["value"] * 1e-4)
    assert values[values["metric"] != "energy_mj"]["co2e_mg"].isna().all()
    assert run([*arguments, "-o", str(folder / "wrong"), "--grid", "much"]) != 0


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no Chromium")
def test_a_browser_draws_the_report(found: Findings, store: Store, tmp_path: Path) -> None:
    page, picture = tmp_path / "report.html", tmp_path / "report.png"
    page.write_text(render(found, store))
    subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
         "--window-size=900,3000", f"--screenshot={picture}", page.as_uri()],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    assert picture.stat().st_size > 50_000


def test_generations_are_compared_at_as_many_macs(found: Findings) -> None:
    """What the same networks take on a device of a later generation, beside the first one."""
    from api.study.device_figures import generation_figure, tier_figure

    study = found.study
    assert generation_figure(study, "int8") is None  # there is one generation only
    [npu] = [device for device in study.devices if device.name == NPU]
    later = replace(npu, name="later", descriptors={**npu.descriptors, "generation": 85.0})
    faster = tuple(
        replace(row, device="later", value=row.value / 2)
        for row in study.rows
        if row.device == NPU and row.value
    )
    both = replace(study, devices=(*study.devices, later), rows=(*study.rows, *faster))
    figure = generation_figure(both, "int8")
    assert figure is not None
    assert f"later is 2.00 times as fast as {NPU} (2.00 to 2.00)." in figure.caption
    tiers = tier_figure(both, "int8")
    assert tiers is not None and "speed, relative to host-cpu" in tiers.body


def test_names_in_a_chart_cover_neither_dots_nor_each_other() -> None:
    places = [(x, y) for x in range(1, 9) for y in range(1, 9)]
    marks = [Mark(x, y + x % 3 / 4, "s", "", name=f"network-of-many-letters-{x}-{y}") for x, y in places]
    axis = Axis("x", 0.5, 9.5, log=False)
    drawn = scatter(axis, axis, marks, {"s": "#000"})
    dots = [tuple(map(float, found)) for found in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', drawn)]
    names = re.findall(r'<text x="([\d.]+)" y="([\d.]+)"[^>]*>network-', drawn)
    assert len(dots) == len(marks) and 8 <= len(names) < len(marks)
    boxes = [(float(x), float(y) - 8, float(x) + 5.1 * 27, float(y) + 2) for x, y in names]
    for left, head, right, foot in boxes:
        assert not any(left < x < right and head < y < foot for x, y in dots)
        assert sum(left < b[2] and b[0] < right and head < b[3] and b[1] < foot for b in boxes) == 1


@pytest.mark.parametrize("letters", [3, 25, 34, 45])
def test_names_beside_an_axis_are_not_cut_off(letters: int) -> None:
    drawn = dot_plot("x", ["n" * letters], [("n" * letters, Mark(1.0, 0, "s", ""))], {"s": "#000"})
    [end] = re.findall(r'<text x="([\d.]+)"[^>]*text-anchor="end"', drawn)
    assert float(end) - 6.2 * letters > 0


def test_reasons_are_told_once(found: Findings, store: Store) -> None:
    study = found.study
    rows = tuple(
        replace(row, value=None, unavailable=f"all stays on the CPU: {row.network}")
        if row.device == NPU
        else row
        for row in study.rows
    )
    html = render(replace(found, study=replace(study, rows=rows)), store)
    assert "What could not be had" in html and "What could not be had" not in render(found, store)
    assert html.count("all stays on the CPU: ") == 1


def test_comparing_a_study_with_itself_finds_nothing(spec: Spec, store: Store) -> None:
    rows = read_rows(spec, store)
    same = compare_studies(rows, rows)
    assert set(same.verdicts) == {"same"}
    assert (same.gone, same.new) == ((), ())


def test_comparing_knows_noise(spec: Spec, store: Store) -> None:
    study = read_rows(spec, store)

    def scaled(factor: float) -> object:
        rows = tuple(
            replace(row, value=row.value * factor) if row.value and row.metric is Metric.LATENCY_MS else row
            for row in study.rows
        )
        return replace(study, rows=rows)

    def verdicts(factor: float, device: str) -> Counter[str]:
        changes = compare_studies(study, scaled(factor)).changes  # type: ignore[arg-type]
        mine = [c for c in changes if c.after.device == device and c.after.metric is Metric.LATENCY_MS]
        return Counter(change.verdict for change in mine)

    assert verdicts(1.01, "host-cpu").keys() == {"noise"}
    assert verdicts(50.0, "host-cpu").keys() == {"worse"}
    assert verdicts(0.99, NPU).keys() == {"better"}  # a compiler's estimate repeats exactly


def test_comparing_tells_a_machine_that_drifts_from_a_network_that_changed(spec: Spec, store: Store) -> None:
    study = read_rows(spec, store)
    calm = replace(study, rows=tuple(replace(row, noise=0.005) for row in study.rows))

    def slower(factor: float) -> Counter[tuple[bool, str]]:
        """Compare with a run where everything measured takes 6 % longer, and one network `factor` times."""
        rows = tuple(
            replace(row, value=row.value * (factor if row.network == "mlperf-tiny-vww" else 1.06))
            if row.value and row.metric is Metric.LATENCY_MS and row.mode is Mode.MEASURED
            else row
            for row in calm.rows
        )
        found = compare_studies(calm, replace(calm, rows=rows))
        assert found.drifts == {"host-cpu": pytest.approx(6)}
        return Counter(
            (change.after.network == "mlperf-tiny-vww", change.verdict)
            for change in found.changes
            if change.after.device == "host-cpu" and change.after.metric is Metric.LATENCY_MS
        )

    assert slower(1.06).keys() == {(True, "drift"), (False, "drift")}
    assert slower(1.5).keys() == {(True, "worse"), (False, "drift")}


def test_compare_command(folder: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    database = str(folder / "study.db")
    arguments = ["compare", database, database, "--study", str(folder / "study.toml")]
    assert run([*arguments, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["verdicts"]) == {"same"}
    assert run(arguments) == 0
    assert "values in both" in capsys.readouterr().out


def test_files_are_networks_too(tmp_path: Path) -> None:
    (tmp_path / "mine.tflite").write_bytes(build_network("mlperf-tiny-kws"))
    path = tmp_path / "study.toml"
    path.write_text('networks = ["*.tflite"]\ndevices = ["tflm"]\n')
    spec = read_spec(path)
    with Store.open(tmp_path / "study.db") as store:
        assert run_study(spec, store).measured == 1
        [row] = read_rows(spec, store).of(Metric.PEAK_MEMORY_BYTES)
    assert (row.network, row.dtype, spec.name) == ("mine", "int8", "study")


def test_ready_studies_can_be_read() -> None:
    assert set(ready_studies()) == {"quick", "survey"}
    survey = read_spec(Path("survey"))
    assert len(survey.networks) >= 15
    assert len(survey.devices) >= 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("networks = [", "not TOML"),
        ('networks = ["mobilenet-v2"]', "devices is a list"),
        ('networks = ["alexnet"]\ndevices = ["tflm"]', "no network 'alexnet'"),
        ('networks = ["mobilenet-v2"]\ndevices = ["tflm"]\ncolour = 1', "unknown key 'colour'"),
        ('networks = ["mobilenet-v2"]\ndevices = ["tflm"]\nbatch = [0]', "0 cannot be used"),
        ('networks = ["mobilenet-v2"]\ndevices = ["tflm"]\nthreads = [true]', "threads is a list"),
        ('networks = ["mobilenet-v2"]\ndevices = ["tflm"]\nvisits = "many"', "visits has the wrong type"),
        ('networks = ["none/*.tflite"]\ndevices = ["tflm"]', "no file matches"),
    ],
)
def test_a_study_that_cannot_be_read_says_why(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(text)
    with pytest.raises((InvalidInputError, UnknownNameError), match=message):
        read_spec(path)


def test_a_study_that_was_not_run(tmp_path: Path) -> None:
    with Store.open(tmp_path / "empty.db") as store:
        with pytest.raises(InvalidInputError, match="nothing of the study"):
            read_rows(read_spec(Path("quick")), store)
        unknown = replace(read_spec(Path("quick")), devices=("abacus",))
        with pytest.raises(UnknownNameError, match="abacus"):
            run_study(unknown, store)


def test_frontier_keeps_what_nothing_beats() -> None:
    assert frontier([(3, 9), (1, 5), (2, 4), (2, 7), (4, 9)]) == [1, 3, 0]


def test_rank_correlation_shares_ranks() -> None:
    import numpy as np
    from scipy.stats import spearmanr

    x, y = np.array([1, 2, 2, 3, 5.0]), np.array([2, 1, 4, 4, 9.0])
    assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic)


@pytest.mark.parametrize("values", [[1, 2], [0.001, 1e9], [5, 5], [0.2, 0.21]])
@pytest.mark.parametrize("log", [True, False])
def test_axes_have_ticks_inside(values: list[float], log: bool) -> None:
    axis = Axis.over("x", values, log=log)
    assert all(0 <= axis.place(value) <= 1 for value in (*values, *axis.ticks()))
    assert len(axis.ticks()) <= 16
