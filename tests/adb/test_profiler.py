"""The whole way on a real adbd with a real benchmark: measure, store, and survive what goes wrong."""

from __future__ import annotations

import os
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from api.workflows.profile import store_outcomes
from dataset.records import Network
from dataset.store import Store
from perfsage.errors import StableDeviceError, TransientDeviceError
from perfsage.measurement import Measurement
from perfsage.metrics import Metric
from profilers.adb.address import Address
from profilers.adb.lock import phone_lock
from profilers.adb.profiler import AdbProfiler
from profilers.adb.settings import PhoneSettings, RunnerSettings
from profilers.profiler import Model, Plan, Profiler
from profilers.testing import ProfilerConformance
from tests.adb.conftest import quick_settings
from tests.adb.phones import Phone, why_not
from tests.dataset.conftest import postgres_server, postgres_url
from tests.profilers.networks import keyword_spotter, small

__all__ = ["postgres_server", "postgres_url"]  # fixtures

ONCE = Plan(visits=1, timeout_s=30.0)
DUMPSYS_THERMAL = "IsStatusOverride: false\nThermal Status: {}\nHAL Ready: true\n"


def value(measurements: tuple[Measurement, ...], definition: str) -> float:
    (found,) = [m for m in measurements if m.definition == definition and m.operator is None]
    assert found.value is not None, found.unavailable
    return found.value


@pytest.fixture
def open_profiler(key_path: Path) -> Iterator[Callable[..., AdbProfiler]]:
    opened: list[AdbProfiler] = []

    def make(phone: Phone, **changes: object) -> AdbProfiler:
        opened.append(AdbProfiler(quick_settings(phone, key_path, **changes)))
        return opened[-1]

    yield make
    for profiler in opened:
        profiler.close()


Open = Callable[..., AdbProfiler]


class TestConformance(ProfilerConformance):
    exact_metrics = frozenset({Metric.STORAGE_BYTES})
    hostile_sizes = (0.0, 0.5)
    plan = ONCE
    phone: Phone

    @classmethod
    def setup_class(cls) -> None:
        if reason := why_not():
            pytest.skip(reason)
        cls.phone = Phone(f"conformance{os.getpid()}")
        super().setup_class()

    @classmethod
    def teardown_class(cls) -> None:
        super().teardown_class()
        cls.phone.wipe()

    @classmethod
    def open(cls) -> Profiler:
        return AdbProfiler(quick_settings(cls.phone, cls.phone.home / "keys" / "adbkey"))

    @classmethod
    def make_models(cls) -> list[Model]:
        return [keyword_spotter(), small()]

    @classmethod
    def make_float_model(cls) -> Model:
        return small("float32")


def test_the_real_benchmark_model_is_measured_and_stored(
    phone: Phone, open_profiler: Open, benchmark_model: Path, tmp_path: Path
) -> None:
    runner = RunnerSettings(path=benchmark_model, runs=5, min_s=0.05, warmup_min_s=0.02)
    profiler = open_profiler(phone, runner=runner)
    models = [keyword_spotter(), small("float32")]
    outcomes = list(profiler.profile(models, replace(ONCE, per_operator=True)))
    profiler.close()
    with Store.open(tmp_path / "measurements.db") as store:
        store.add_device(profiler.describe())
        for outcome in outcomes:
            graph = outcome.model.graph
            network = Network(
                graph_id=graph.graph_id,
                model_id=graph.model_id,
                dtype="int8",
                operators=sum(1 for _ in graph.operators),
                file_bytes=graph.file_bytes,
            )
            store.add_outcomes([network], outcome.measurements)
        stored = store.frame(device=f"adb:{phone.name}", metric="latency_ms")
    assert len(stored) >= 2
    first = outcomes[0].measurements
    assert value(first, "inference_min") <= value(first, "inference_mean")
    assert value(first, "rss_growth") > 0
    operators = [m for m in first if m.operator]
    assert len(operators) == len(models[0].graph.subgraphs[0].operators)
    conditions = first[0].conditions
    assert conditions["phone_model"] == f"Played {phone.name}" and conditions["abi"] == "x86_64"


def test_latency_is_what_the_program_itself_timed(phone: Phone, open_profiler: Open) -> None:
    """Nothing of the connection is in a latency: it is the figure that the program printed on the phone."""
    profiler = open_profiler(phone)
    next(iter(profiler.profile([small()], ONCE)))  # puts the program on the phone
    (program,) = phone.home.glob("data/local/tmp/perfsage/runner-*/board_runner")
    program.rename(program.with_name("program"))
    listening = '#!/bin/sh\nfolder="${0%/*}"; "$folder/program" "$@" >"$folder/said"; cat "$folder/said"\n'
    program.write_text(listening)
    program.chmod(0o755)
    (outcome,) = profiler.profile([keyword_spotter()], ONCE)
    profiler.close()
    said = program.with_name("said").read_text()
    for definition, name in (("inference_min", "min"), ("inference_mean", "avg")):
        printed_us = float(said.split(f"{name}=")[1].split()[0])
        assert value(outcome.measurements, definition) == pytest.approx(printed_us / 1e3)


def test_two_phones_work_in_parallel(make_phone: Callable[..., Phone], open_profiler: Open) -> None:
    def measure(phone: Phone) -> list[float]:
        profiler = open_profiler(phone)
        try:
            models = [small(seed=1), small(seed=2)]
            return [value(o.measurements, "inference_mean") for o in profiler.profile(models, ONCE)]
        finally:
            profiler.close()

    phones = [make_phone(), make_phone(auth=True)]
    phones[1].off()
    settings_key = quick_settings(phones[1], Path("unused"))
    assert settings_key.address != phones[0].address
    with ThreadPoolExecutor(2) as pool:
        authorize(phones[1], open_profiler)
        results = list(pool.map(measure, phones))
    assert all(len(result) == 2 and min(result) > 0 for result in results)


def authorize(phone: Phone, open_profiler: Open) -> None:
    from profilers.adb.keys import load_signer

    key = open_profiler(phone).settings.key_path
    assert key is not None
    load_signer(key)
    phone.write("data/misc/adb/adb_keys", key.with_name("adbkey.pub").read_text() + "\n")
    phone.boot()


def test_a_phone_in_use_is_not_shared(phone: Phone, open_profiler: Open) -> None:
    with (
        phone_lock(Address.parse(phone.address)),  # as another process would hold it
        pytest.raises(TransientDeviceError, match=f"in use by process {os.getpid()}"),
    ):
        list(open_profiler(phone).profile([small()], ONCE))


def test_entries_of_one_phone_take_turns(phone: Phone, open_profiler: Open) -> None:
    """Such as its CPU and its GPU, in one collection."""
    profilers = [open_profiler(phone), open_profiler(phone)]

    def measure(profiler: AdbProfiler) -> list[str | None]:
        return [o.failure for seed in range(2) for o in profiler.profile([small(seed=seed)], ONCE)]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(measure, profilers)) == [[None, None]] * 2
    assert [measure(profiler) for profiler in (*profilers, *profilers)] == [[None, None]] * 4
    waiting = profilers[0].profile([small()], ONCE)
    next(waiting)  # it is not at its end
    impatient = open_profiler(phone, absence_s=0.2)
    with pytest.raises(TransientDeviceError, match="another device of the inventory"):
        next(impatient.profile([small()], ONCE))
    waiting.close()


def test_adbd_killed_before_during_and_after_a_run(phone: Phone, open_profiler: Open) -> None:
    profiler = open_profiler(phone, runner=RunnerSettings(runs=5, min_s=1.0, warmup_min_s=0.02))
    outcomes = profiler.profile([small(seed=s) for s in range(3)], ONCE)
    assert next(outcomes).failure is None
    phone.kill_adbd()  # between two models
    killer = threading.Thread(target=lambda: (phone.wait_for("board_runner --graph"), phone.kill_adbd()))
    killer.start()
    second = next(outcomes)
    killer.join()
    assert second.failure is None and value(second.measurements, "inference_mean") > 0
    phone.kill_adbd()
    assert next(outcomes).failure is None
    profiler.close()
    assert phone.processes() == {}


def test_a_phone_that_restarts_in_a_run_measures_the_model_again(phone: Phone, open_profiler: Open) -> None:
    profiler = open_profiler(phone, runner=RunnerSettings(runs=5, min_s=1.0, warmup_min_s=0.02))
    restarter = threading.Thread(target=lambda: (phone.wait_for("board_runner --graph"), phone.restart()))
    restarter.start()
    (outcome,) = profiler.profile([small()], ONCE)
    restarter.join()
    profiler.close()
    assert outcome.failure is None
    assert len([m for m in outcome.measurements if m.definition == "inference_mean"]) == 1, "nothing twice"
    assert phone.processes() == {}


def test_a_model_that_always_takes_the_phone_down_costs_one_model(phone: Phone, open_profiler: Open) -> None:
    """As a phone that shuts down from heat does: it is off, and somebody switches it on again."""
    profiler = open_profiler(phone, attempts=2, runner=RunnerSettings(runs=5, min_s=5.0, warmup_min_s=0.02))
    stop = threading.Event()

    def shut_down() -> None:
        for _ in range(2):
            phone.wait_for("board_runner --graph", 20.0)
            phone.restart()
        stop.set()

    watcher = threading.Thread(target=shut_down)
    watcher.start()
    (outcome,) = profiler.profile([small()], ONCE)
    watcher.join()
    profiler.close()
    assert outcome.failure is not None and "restarted while a model ran" in outcome.failure
    assert all(m.unavailable for m in outcome.measurements)


def test_usb_gone_while_a_model_runs(phone: Phone, open_profiler: Open) -> None:
    """Ten minutes in life; here the run ends long before the connection is back."""
    profiler = open_profiler(phone, absence_s=30.0)
    assert PhoneSettings(name="x", address="usb:").absence_s >= 600

    def unplug() -> None:
        phone.wait_for("board_runner --graph")
        phone.hold()
        time.sleep(2.5)
        phone.release()

    thread = threading.Thread(target=unplug)
    thread.start()
    (outcome,) = profiler.profile([small()], ONCE)
    thread.join()
    profiler.close()
    assert outcome.failure is None


def test_usb_gone_between_two_models(phone: Phone, open_profiler: Open) -> None:
    """For longer than a command is patient."""
    profiler = open_profiler(phone, patience_s=0.5, absence_s=60.0)
    outcomes = profiler.profile([small(seed=1), small(seed=2)], ONCE)
    assert next(outcomes).failure is None
    phone.hold()
    back = threading.Timer(3.0, phone.release)
    back.start()
    assert next(outcomes).failure is None
    back.join()
    profiler.close()


def test_a_phone_that_never_comes_back_ends_the_run(phone: Phone, open_profiler: Open) -> None:
    profiler = open_profiler(phone, patience_s=0.5, absence_s=1.0, attempts=1)
    outcomes = profiler.profile([small(seed=1), small(seed=2)], ONCE)
    assert next(outcomes).failure is None
    phone.off()
    with pytest.raises(TransientDeviceError, match="does not answer"):
        next(outcomes)
    profiler.close()


def test_a_crash_costs_one_model(phone: Phone, open_profiler: Open) -> None:
    profiler = open_profiler(phone, runner=RunnerSettings(runs=5, min_s=1.0, warmup_min_s=0.02))

    def kill() -> None:
        pid = phone.wait_for("board_runner --graph")
        os.kill(pid, signal.SIGSEGV)

    killer = threading.Thread(target=kill)
    killer.start()
    first, second = profiler.profile([small(seed=1), small(seed=2)], ONCE)
    killer.join()
    profiler.close()
    assert first.failure is not None and "SIGSEGV" in first.failure
    assert second.failure is None


def fake_benchmark(folder: Path, script: str, more: str = "") -> RunnerSettings:
    """A program in benchmark_model's place, for what no real build does when asked."""
    folder.mkdir(exist_ok=True)
    known = "graph num_runs min_secs max_secs warmup_runs warmup_min_secs num_threads use_gpu"
    helps = "".join(f"--{name}=x\\n" for name in [*known.split(), *more.split(), "require_full_delegation"])
    program = folder / "benchmark_model"
    program.write_text(f"#!/bin/sh\n[ \"$1\" = --help ] && {{ printf -- '{helps}'; exit 1; }}\n{script}\n")
    return RunnerSettings(path=folder)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("head -c 300000 /dev/urandom", "printed no inference time"),
        ("echo 'ERROR: Failed to apply delegate' >&2; exit 1", "Failed to apply delegate"),
        ("sleep 60", "did not end in time"),
        ("echo 'Inference timings in us: Init: nan, Inference (avg): -5'", "printed no inference time"),
    ],
)
def test_a_benchmark_that_misbehaves_costs_one_model(
    phone: Phone, open_profiler: Open, tmp_path: Path, script: str, reason: str
) -> None:
    profiler = open_profiler(phone, runner=fake_benchmark(tmp_path / "tool", script))
    (outcome,) = profiler.profile([small()], replace(ONCE, timeout_s=1.0))
    profiler.close()
    assert outcome.failure is not None and reason in outcome.failure
    assert phone.processes() == {}


def test_full_delegation_is_demanded_and_told(phone: Phone, open_profiler: Open, tmp_path: Path) -> None:
    log = (
        "INFO: Explicitly applied GPU delegate, and the model graph will be partially executed "
        "by the delegate w/ 2 delegate kernels.\nINFO: count=5 first=9 curr=9 min=8 max=9 avg=8.5 std=0\n"
        "INFO: Inference timings in us: Init: 5685, First inference: 9, Warmup (avg): 9, Inference (avg): 8.5"
    )
    refusal = 'echo "ERROR: Disallowed CPU fallback detected." >&2; exit 1'
    script = f'case "$*" in *--require_full_delegation=true*) {refusal};; esac\ncat <<E\n{log}\nE'
    runner = replace(fake_benchmark(tmp_path / "tool", script), delegate="gpu")
    (outcome,) = (profiler := open_profiler(phone, runner=runner)).profile([small()], ONCE)
    profiler.close()
    assert outcome.measurements[0].conditions["delegated_gpu"] == "part"
    assert outcome.measurements[0].conditions["delegate_kernels_gpu"] == 2
    for changed, plan in (
        (replace(runner, require_full_delegation=True), ONCE),
        (runner, replace(ONCE, options={"require_full_delegation": True})),
    ):
        profiler = open_profiler(phone, runner=changed)
        (outcome,) = profiler.profile([small()], plan)
        profiler.close()
        assert outcome.failure is not None and "Disallowed CPU fallback" in outcome.failure


def test_figures_that_a_build_writes_complete_what_it_prints(
    phone: Phone, open_profiler: Open, tmp_path: Path
) -> None:
    """LiteRT's builds print no percentiles; the file that they write has them. Played by a script."""
    log = (
        "========== BENCHMARK RESULTS ==========\nModel initialization: 45.32 ms\n"
        "Inference (avg):      85.23 ms (50 runs)\n"
    )
    latency = b"".join(
        struct.pack("<Bd", n << 3 | 1, value) for n, value in ((1, 85.0), (5, 84.0), (7, 91.5))
    )
    encoded = "".join(f"\\{byte:03o}" for byte in bytes([0x12, len(latency)]) + latency)
    script = (
        'for a; do case "$a" in --result_file_path=*) '
        f"printf '{encoded}' >\"${{a#*=}}\";; esac; done\ncat <<E\n{log}\nE\n"
        "echo 'INFO: Replacing 2 out of 3 node(s) with delegate (NpuDelegate) node, "
        "yielding 1 partitions for subgraph 0.' >&2"
    )
    runner = replace(fake_benchmark(tmp_path / "tool", script, "result_file_path use_npu"), delegate="npu")
    (outcome,) = (profiler := open_profiler(phone, runner=runner)).profile([small()], ONCE)
    profiler.close()
    found = outcome.measurements
    assert value(found, "inference_mean") == 85.23 and value(found, "inference_p95") == 91.5
    assert value(found, "inference_median") == 84.0
    assert found[0].conditions["delegate_nodes_npudelegate"] == 2
    assert found[0].conditions["delegate_nodes_npudelegate_of"] == 3
    assert "NpuDelegate took 2 of 3 nodes" in outcome.notes


def test_a_delegate_that_the_build_lacks_is_refused(
    phone: Phone, open_profiler: Open, tmp_path: Path
) -> None:
    runner = replace(fake_benchmark(tmp_path / "tool", "exit 1"), delegate="hexagon")
    profiler = open_profiler(phone, runner=runner)
    with pytest.raises(StableDeviceError, match="does not know --use_hexagon"):
        list(profiler.profile([small()], ONCE))
    profiler.close()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("benchmark_model", None, "there is no benchmark_model"),
        (
            "benchmark_model",
            b"\x7fELF\x02\x01\x01" + bytes(11) + b"\xb7\x00" + bytes(40),
            "is built for arm64-v8a and the phone is x86_64",
        ),
        ("benchmark_model", b"#!/bin/sh\nexit 3\n", "not a benchmark_model that this phone can run: code 3"),
        ("readme.txt", b"hello", "the folder holds no benchmark_model"),
    ],
)
def test_a_missing_or_wrong_binary_stops_the_phone(
    phone: Phone, open_profiler: Open, tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    folder = tmp_path / "tool"
    if content is not None:
        folder.mkdir()
        (folder / name).write_bytes(content)
    profiler = open_profiler(phone, runner=RunnerSettings(path=folder))
    with pytest.raises(StableDeviceError, match=reason):
        list(profiler.profile([small()], ONCE))
    profiler.close()


def test_a_model_too_large_for_the_phone_costs_one_model(
    make_phone: Callable[..., Phone], open_profiler: Open
) -> None:
    phone = make_phone(size="12m")  # the runner takes 8 MB of it
    large = replace(small(seed=1), data=small(seed=1).data + bytes(8 << 20))
    profiler = open_profiler(phone)
    first, second = profiler.profile([large, small(seed=2)], ONCE)
    profiler.close()
    assert first.failure is not None and "are free" in first.failure
    assert second.failure is None


def test_older_models_make_room(make_phone: Callable[..., Phone], open_profiler: Open) -> None:
    phone = make_phone(size="16m")
    models = [replace(small(seed=s), data=small(seed=s).data + bytes(4 << 20)) for s in range(3)]
    profiler = open_profiler(phone)
    assert [o.failure for o in profiler.profile(models, ONCE)] == [None] * 3
    profiler.close()


def test_a_hot_phone_is_waited_for(phone: Phone, open_profiler: Open) -> None:
    from profilers.adb.conditions import Cooling

    phone.play("dumpsys", "cat /played/$1 2>/dev/null\n")
    phone.write("played/thermalservice", DUMPSYS_THERMAL.format(3))
    profiler = open_profiler(phone, cooling=Cooling(limit_s=0.3, pause_s=0.1), attempts=1)
    with pytest.raises(TransientDeviceError, match=r"did not cool down.*severe"):
        list(profiler.profile([small()], ONCE))
    cooler = threading.Timer(0.5, phone.write, ["played/thermalservice", DUMPSYS_THERMAL.format(0)])
    profiler.close()
    profiler = open_profiler(phone, cooling=Cooling(limit_s=20.0, pause_s=0.1))
    cooler.start()
    (outcome,) = profiler.profile([small()], ONCE)
    cooler.join()
    profiler.close()
    assert outcome.measurements[0].conditions["thermal_status_before"] == "none"
    assert outcome.measurements[0].conditions["throttled"] is False


def test_throttling_in_a_run_marks_the_measurement(phone: Phone, open_profiler: Open) -> None:
    phone.play("dumpsys", "cat /played/$1 2>/dev/null\n")
    phone.write("played/thermalservice", DUMPSYS_THERMAL.format(0))
    profiler = open_profiler(phone, runner=RunnerSettings(runs=5, min_s=1.0, warmup_min_s=0.02))

    def heat() -> None:
        phone.wait_for("board_runner --graph")
        phone.write("played/thermalservice", DUMPSYS_THERMAL.format(2))

    heater = threading.Thread(target=heat)
    heater.start()
    (outcome,) = profiler.profile([small()], ONCE)
    heater.join()
    profiler.close()
    assert outcome.measurements[0].conditions["throttled"] is True
    assert outcome.measurements[0].conditions["thermal_status_after"] == "moderate"


def test_controls_are_set_and_put_back(phone: Phone, open_profiler: Open) -> None:
    from profilers.adb.control import Controls

    for command in ("cmd", "input", "svc"):
        phone.play(command, f'echo "{command} $*" >>/played/log\n')
    phone.play("settings", "echo 0\n")
    controls = Controls(fixed_performance=True, screen_off=True, airplane_mode=True)
    profiler = open_profiler(phone, controls=controls)
    (outcome,) = profiler.profile([small()], ONCE)
    assert outcome.measurements[0].conditions["fixed_performance_mode"] is True
    profiler.close()
    log = (phone.home / "played" / "log").read_text().splitlines()
    assert log == [
        "cmd connectivity airplane-mode enable",
        "svc wifi enable",
        "cmd power set-fixed-performance-mode-enabled true",
        "input keyevent 223",
        "cmd power set-fixed-performance-mode-enabled false",
        "cmd connectivity airplane-mode disable",
    ]


def test_what_a_killed_host_changed_is_put_back_at_the_next_start(phone: Phone, open_profiler: Open) -> None:
    """The next start may not want any control: the phone is put back all the same."""
    from profilers.adb.control import Control, Controls

    phone.play("cmd", 'echo "cmd $*" >>/played/log\n')
    phone.play("svc", "exit 0\n")
    phone.play("settings", "echo 0\n")
    killed = open_profiler(phone)._session
    Control(killed.adb, killed.jobs, Controls(airplane_mode=True, fixed_performance=True)).apply()
    killed.adb.close()
    (phone.home / "played" / "log").unlink()
    profiler = open_profiler(phone)
    (outcome,) = profiler.profile([small()], ONCE)
    profiler.close()
    assert outcome.failure is None
    assert (phone.home / "played" / "log").read_text().splitlines() == [
        "cmd power set-fixed-performance-mode-enabled false",
        "cmd connectivity airplane-mode disable",
    ]


def test_an_android_phone_without_benchmark_model_is_told_where_to_get_it(
    phone: Phone, open_profiler: Open
) -> None:
    phone.write("played/props", "ro.product.cpu.abi=arm64-v8a\nro.build.version.release=14\n")
    profiler = open_profiler(phone)
    with pytest.raises(StableDeviceError, match=r"none is given.*litert/binaries"):
        list(profiler.profile([small()], ONCE))
    profiler.close()


@pytest.mark.slow
def test_every_shared_model_end_to_end(
    phone: Phone, open_profiler: Open, benchmark_model: Path, tmp_path: Path, postgres_url: str
) -> None:
    from tests.adb.models import SHARED, load

    paths = sorted(SHARED.glob("*.tflite"))
    if not paths:
        pytest.skip("the shared models are not here")
    for runner in (
        RunnerSettings(runs=2, min_s=0.0, warmup_min_s=0.0),
        RunnerSettings(path=benchmark_model, runs=2, min_s=0.0, warmup_min_s=0.0),
    ):
        profiler = open_profiler(phone, runner=runner)
        outcomes = list(profiler.profile([load(path) for path in paths], Plan(visits=1, timeout_s=120.0)))
        profiler.close()
        failed = {o.model.path.name: o.failure for o in outcomes if o.failure and o.model.path}
        assert len(outcomes) == len(paths)
        # LiteRT's compiled models refuse variable tensors and abort on a few; custom operators are nobody's.
        assert len(failed) <= len(paths) / 3, failed
        assert all(failed.values())
        for target in (str(tmp_path / "m.db"), postgres_url):
            store_outcomes(target, profiler.describe(), outcomes)
            with Store.open(target) as store:
                assert store.stats().networks == len({o.model.graph.model_id for o in outcomes})
                frame = store.frame(metric="latency_ms")
            assert frame["network"].nunique() >= len(paths) - len(failed)
    assert phone.processes() == {}
