"""Importers of public measurement sets, on files laid out as their owners publish them."""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from dataset.sources import Options, get_importer, import_source, source_names
from dataset.sources.pickles import read_pickled_numbers
from dataset.store import Store
from dataset.zoo import build_network
from perfsage.errors import InvalidInputError, UnknownNameError
from perfsage.metrics import Metric

CELLS = (
    "|nor_conv_1x1~0|+|none~0|none~1|+|skip_connect~0|avg_pool_3x3~1|none~2|",
    "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
    "|none~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|skip_connect~2|",
)
BLOCKS = " ".join(["k3_e1_g2", "skip"] * 11)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "imported.db") as opened:
        yield opened


def nothing_in(store: Store) -> bool:
    stats = store.stats()
    return not (stats.networks or stats.measurements or store.devices())


def table(folder: Path, **columns: object) -> Path:
    path = folder / "table.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def test_every_source_states_what_it_is() -> None:
    for name in source_names():
        source = get_importer(name).source
        assert source.name == name
        assert source.files and source.url
        assert source.licence or name == "table"
    with pytest.raises(UnknownNameError, match="edgemark"):
        get_importer("nowhere")


def test_help_from_a_table(tmp_path: Path, store: Store) -> None:
    path = table(
        tmp_path,
        cell=CELLS,
        help_pixel2=[17.0, 5, 19],
        help_1080ti_32=[1.25, 1, 2.5],
        isomorphism_class=[1, 2, 3],
    )
    done = import_source(store, "help-nasbench201", path)
    assert (done.devices, done.networks, done.measurements, done.licence) == (2, 2, 4, "MIT")
    assert list(done.left_out.values()) == [1]  # the cell that is always zero
    frame = store.frame()
    assert set(frame["mode"]) == {"imported"}
    assert sorted(frame[frame["device"] == "help-pixel2"]["value"]) == [17.0, 19.0]
    conditions = {json.loads(text)["runtime"]: json.loads(text) for text in frame["conditions"]}
    assert conditions["TensorFlow Lite"] | {"noise": 0.0} == {
        "runtime": "TensorFlow Lite", "batch": 1, "resolution_ms": 1.0, "noise": 0.0,
        "source": "help-nasbench201", "licence": "MIT",
    }  # fmt: skip
    assert conditions["TensorFlow Lite"]["noise"] == pytest.approx(1 / np.sqrt(12) / 17, rel=1e-3)
    assert "noise" not in conditions["not stated"]


def test_imported_devices_are_devices_like_any_other(tmp_path: Path, store: Store) -> None:
    path = table(tmp_path, cell=CELLS[:1], help_1080ti_32=[1.25], help_eyeriss=[2.0])
    import_source(store, "help-nasbench201", path)
    gpu, chip = store.devices()
    assert (gpu.name, gpu.kind, gpu.descriptors) == ("help-1080ti-32", "gpu", {"batch": 32.0})
    assert gpu.metrics == {Metric.LATENCY_MS: "whole_network_of_a_batch"}
    assert chip.metrics == {Metric.LATENCY_MS: "analytic_model"}
    assert set(chip.unavailable) == set(Metric) - {Metric.LATENCY_MS}
    assert "github.com/HayeonLee/HELP" in chip.source and "(MIT)" in chip.source


def test_imported_networks_are_built_again(tmp_path: Path, store: Store) -> None:
    from perfsage.graph import read_graph

    import_source(store, "help-nasbench201", table(tmp_path, cell=CELLS[:1], help_pixel2=[17.0]))
    import_source(store, "help-fbnet", table(tmp_path, ops=[BLOCKS], help_pixel2=[17.0]))
    for number, row in store.networks().iterrows():
        graph = read_graph(store.rebuild(int(str(number))))
        assert (graph.graph_id, graph.model_id) == (row["graph_id"], row["model_id"])


def test_importing_again_adds_nothing(tmp_path: Path, store: Store) -> None:
    path = table(tmp_path, cell=CELLS[:1], help_pixel2=[17.0])
    import_source(store, "help-nasbench201", path)
    before = store.stats()
    import_source(store, "help-nasbench201", path)
    assert store.stats() == before


@pytest.mark.parametrize("kind", ["list", "tensor", "array"])
def test_help_from_its_own_files(tmp_path: Path, store: Store, kind: str) -> None:
    torch = pytest.importorskip("torch")
    make = {"list": list, "tensor": torch.tensor, "array": np.array}[kind]
    folder = tmp_path / "HELP" / "data" / "nasbench201"
    (folder / "latency").mkdir(parents=True)
    torch.save({CELLS[0]: 1, CELLS[2]: 0}, folder / "str_arch2idx.pt")
    torch.save(make([3.5, 4.5]), folder / "latency" / "raspi4.pt")
    assert import_source(store, "help-nasbench201", tmp_path / "HELP").measurements == 2
    frame = store.frame(device="help-raspi4").set_index("graph_id")["value"]
    networks = store.networks().set_index("graph_id")["architecture"]
    values = {json.loads(networks[graph_id])["text"]: value for graph_id, value in frame.items()}
    assert values == {CELLS[0]: 4.5, CELLS[2]: 3.5}


def test_help_fbnet_from_its_own_files(tmp_path: Path, store: Store) -> None:
    torch = pytest.importorskip("torch")
    (tmp_path / "latency").mkdir()
    torch.save({"arch": [{"op_idx_list": [1, 8] * 11}]}, tmp_path / "metainfo.pt")
    torch.save([12.5], tmp_path / "latency" / "pixel3.pt")
    import_source(store, "help-fbnet", tmp_path)
    assert json.loads(store.networks()["architecture"].iloc[0])["text"] == BLOCKS


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("harm"),)  # type: ignore[return-value]


def test_torch_files_with_code_are_refused(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "latency").mkdir()
    torch.save({CELLS[0]: 0}, tmp_path / "str_arch2idx.pt")
    torch.save([Harmful()], tmp_path / "latency" / "pixel3.pt")
    with pytest.raises(InvalidInputError, match="no PyTorch file of plain data"):
        import_source(store, "help-nasbench201", tmp_path)
    assert not (tmp_path / "harm").exists()
    assert nothing_in(store)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "values", [[1.5, 2, 300, 70_000, 2**40], [*np.array([1.5, 2.5])], list(np.arange(3000.0) + 1)]
)
def test_pickled_numbers_are_read_without_unpickling(
    tmp_path: Path, protocol: int, values: list[float]
) -> None:
    path = tmp_path / "numbers.pickle"
    path.write_bytes(pickle.dumps(values, protocol=protocol))
    if protocol < 3 and isinstance(values[0], np.floating):
        with pytest.raises(InvalidInputError):  # NumPy's bytes need a call then
            read_pickled_numbers(path)
    else:
        assert read_pickled_numbers(path) == [float(value) for value in values]


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps([Harmful()]),
        pickle.dumps(["text"]),
        pickle.dumps({"a": 1.0}),
        pickle.dumps([1.0])[:-2],
        pickle.dumps(np.array([1.0, 2.0])),
        pickle.dumps([True]),
        b"",
        b"\x80\x04" + b"(" * 100_000,
        b"no pickle at all",
    ],
)
def test_other_pickles_are_refused(tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "numbers.pickle"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match="no pickled list of numbers"):
        read_pickled_numbers(path)
    assert not (tmp_path / "harm").exists()


def test_oneproxy_from_its_own_files(tmp_path: Path, store: Store) -> None:
    (tmp_path / "latency_data").mkdir()
    (tmp_path / "true_a76.pickle").write_bytes(pickle.dumps([7.5, 8.5]))
    (tmp_path / "latency_data" / "eagle_dsp_855.pickle").write_bytes(pickle.dumps([1.5, 2.5]))
    with pytest.raises(InvalidInputError, match=r"cells\.txt"):
        import_source(store, "oneproxy", tmp_path)
    (tmp_path / "cells.txt").write_text(f"{CELLS[0]}\n{CELLS[2]}\n")
    done = import_source(store, "oneproxy", tmp_path)
    assert (done.devices, done.measurements) == (2, 4)
    (tmp_path / "cells.txt").write_text(f"{CELLS[0]}\n")
    with pytest.raises(InvalidInputError, match="2 values for 1 architectures"):
        import_source(store, "oneproxy", tmp_path)


def test_oneproxy_leaves_out_cells_that_nobody_measured(tmp_path: Path, store: Store) -> None:
    path = table(tmp_path, cell=CELLS, eagle_jetson_nano=[3.5, None, None])
    assert import_source(store, "oneproxy", path).networks == 1


def test_edgemark_converts_units_and_says_what_is_missing(tmp_path: Path, store: Store) -> None:
    path = table(
        tmp_path, setup=["TFLM + STM", "EI + STM"], model=["CNN_1"] * 2, variant=["q_full_int"] * 2,
        flash_kb=[125.5, 80], ram_kb=[11.6015625, None], runs=[10, 10], latency_ms_mean=[10.5, 9],
        latency_ms_std=[0.021, 0.0],
    )  # fmt: skip
    done = import_source(store, "edgemark", path)
    assert (done.devices, done.networks, done.measurements) == (2, 1, 6)
    frame = store.frame(device="edgemark-tflm-stm").set_index("metric")
    assert frame.loc["storage_bytes", "value"] == 128_512
    assert frame.loc["peak_memory_bytes", "value"] == 11_880
    assert json.loads(frame.loc["latency_ms", "conditions"])["noise"] == 0.002
    other = store.frame(device="edgemark-ei-stm").set_index("metric")
    assert other.loc["peak_memory_bytes", "unavailable"] == "the source has no value"


def test_mlperf_tiny_from_a_checkout(tmp_path: Path, store: Store) -> None:
    root = tmp_path / "tiny_results_v1.1"
    run = root / "closed" / "Maker" / "results" / "BOARD-1" / "kws"
    for kind in ("performance", "energy"):
        (run / kind).mkdir(parents=True)
    (run / "performance" / "results.txt").write_text(
        "00130.185 ulp-mlperf: Median throughput is   20.000 inf./sec.\n"
    )
    (run / "energy" / "results.txt").write_text("00142.496 ulp-ml: Median energy cost is  8471.102 uJ/inf.\n")
    model = tmp_path / "kws.tflite"
    model.write_bytes(build_network("mlperf-tiny-kws"))
    done = import_source(store, "mlperf-tiny", root, Options(models={"kws": model}))
    assert (done.devices, done.networks, done.measurements) == (1, 1, 2)
    values = store.frame(device="mlperf-tiny-maker-board-1").set_index("metric")
    assert values.loc["latency_ms", "value"] == 50.0
    assert values.loc["energy_mj", "value"] == pytest.approx(8.471102)
    assert json.loads(values.loc["energy_mj", "conditions"])["round"] == "1.1"
    assert store.networks()["operators"].iloc[0] > 5


def test_mlperf_tiny_refuses_unknown_tasks_and_missing_models(tmp_path: Path, store: Store) -> None:
    path = table(
        tmp_path, round=[1.1], division=["closed"], submitter=["Maker"], board=["b"], task=["kws"],
        inferences_per_s=[20.0], energy_uj_per_inference=[None],
    )  # fmt: skip
    for models, message in (
        ({"cat": path}, "no task 'cat'"),
        ({"kws": tmp_path / "none.tflite"}, "no such model"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            import_source(store, "mlperf-tiny", path, Options(models=models))
    assert nothing_in(store)
    assert import_source(store, "mlperf-tiny", path).networks == 1
    with pytest.raises(Exception, match="without its structure"):
        store.rebuild(1)


def test_ncnn_from_its_readme(tmp_path: Path, store: Store) -> None:
    folder = tmp_path / "benchmark"
    folder.mkdir()
    timing = "          squeezenet  min =   11.73  max =   11.88  avg =   11.78\n"
    settings = "loop_count = 10\nnum_threads = 1\npowersave = 0\ngpu_device = {}\ncooling_down = 0\n"
    (folder / "README.md").write_text(
        f"text\n{timing}### Board A (4 cores)\n```\n{settings.format(-1)}{timing}{timing}```\n"
        f"### Board B\n```\n{settings.format(0)}{timing}```\n"
    )
    done = import_source(store, "ncnn", tmp_path)
    assert (done.devices, done.networks, done.measurements) == (2, 1, 6)
    assert [device.name for device in store.devices()] == ["ncnn-board-a-4-cores", "ncnn-board-b-gpu0"]
    frame = store.frame(device="ncnn-board-b-gpu0").set_index("statistic")["value"]
    assert (frame["min"], frame["mean"]) == (11.73, 11.78)


def test_qai_hub_from_a_table(tmp_path: Path, store: Store) -> None:
    path = table(
        tmp_path, model=["act"] * 2, precision=["float"] * 2, component=["ACT"] * 2, runtime=["tflite"] * 2,
        device=["Samsung Galaxy S24", "RB3"], latency_ms=[4.5, 5], peak_memory_mb_max=[72, 0],
        compute_unit=["NPU", "CPU"], layers=[7, 7], npu=[7, None], gpu=[None, None], cpu=[None, 7],
    )  # fmt: skip
    assert import_source(store, "qai-hub", path).measurements == 4
    frame = store.frame(device="qai-hub-samsung-galaxy-s24").set_index("metric")
    assert frame.loc["peak_memory_bytes", "value"] == 72 * 2**20
    other = store.frame(device="qai-hub-rb3").set_index("metric")
    assert other.loc["peak_memory_bytes", "unavailable"] == "the source states no peak"


def test_a_table_of_unknown_origin_needs_a_licence(tmp_path: Path, store: Store) -> None:
    path = table(tmp_path, cell=CELLS[:1], raspi5_latency_ms=[3.5])
    with pytest.raises(InvalidInputError, match="states no licence"):
        import_source(store, "table", path)
    assert nothing_in(store)
    import_source(store, "table", path, Options(licence="CC-BY-4.0"))
    assert json.loads(store.frame(device="raspi5")["conditions"].iloc[0])["licence"] == "CC-BY-4.0"
    with store.engine.connect() as connection:
        assert connection.execute(sa.text("SELECT licence FROM devices")).scalar_one() == "CC-BY-4.0"


@pytest.mark.parametrize(
    ("name", "columns", "message"),
    [
        ("help-nasbench201", {"ops": [BLOCKS]}, "no column cell"),
        ("help-nasbench201", {"cell": CELLS}, "no column of a known device"),
        ("help-nasbench201", {"cell": CELLS[:1], "help_pixel2": ["fast"]}, "'help_pixel2'"),
        ("help-nasbench201", {"cell": CELLS[:1], "help_pixel2": [-3.0]}, "row 1: -3.0"),
        (
            "help-nasbench201",
            {"cell": [*CELLS, "|x~0|"], "help_pixel2": [1.5] * 4},
            "row 4: a cell has 3 nodes",
        ),
        ("edgemark", {"setup": ["x"]}, "no column model"),
        ("ncnn", {"device": ["x"]}, "no column threads"),
    ],
)
def test_wrong_tables_leave_no_rows(
    tmp_path: Path, store: Store, name: str, columns: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        import_source(store, name, table(tmp_path, **columns))
    assert nothing_in(store)


@pytest.mark.parametrize("name", [name for name in source_names() if name != "table"])
def test_wrong_files_leave_no_rows(tmp_path: Path, store: Store, name: str) -> None:
    damaged, empty = tmp_path / "table.parquet", tmp_path / "empty"
    damaged.write_bytes(b"PAR1 and nothing else")
    empty.mkdir()
    for path in (damaged, empty, tmp_path / "missing"):
        with pytest.raises(InvalidInputError):
            import_source(store, name, path)
    assert nothing_in(store)


def test_training_leaves_out_networks_without_a_graph(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from api.workflows.train import build_examples
    from perfsage.errors import DatasetError

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = table(
        tmp_path, round=[1.1], division=["closed"], submitter=["Maker"], board=["b"], task=["kws"],
        inferences_per_s=[20.0], energy_uj_per_inference=[None],
    )  # fmt: skip
    import_source(store, "mlperf-tiny", path)
    with pytest.raises(DatasetError, match="no network that was measured has a graph"):
        build_examples(store, store.devices(), workers=1)
    import_source(store, "help-nasbench201", table(tmp_path, cell=CELLS, help_pixel2=[17.0, 5, 19]))
    examples = build_examples(store, store.devices(), workers=1)
    assert sorted(value for example in examples for value in example.labels.values()) == [17.0, 19.0]
