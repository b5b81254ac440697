"""What a person does with the page, in a real browser."""

from __future__ import annotations

import csv
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.web.page import choose, rows, select, text, wait

DROP = """
const [path, content] = arguments;
const transfer = new DataTransfer();
transfer.items.add(new File([Uint8Array.from(content)], path));
document.getElementById("drop").dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, bubbles: true}));
"""


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with an operator that the predictor never saw: RELU on its own."""
    from dataset.spaces import get_space

    path = tmp_path_factory.mktemp("other") / "nasbench.tflite"
    path.write_bytes(get_space("nasbench201").build(77, "int8").data)
    return path


def test_a_model_shows_devices_operators_and_memory(
    browser: Any, models: dict[str, Path], address: str
) -> None:
    choose(browser, models["int8"])
    content = models["int8"].read_bytes()
    headers = {"Content-Type": "application/octet-stream"}
    said = httpx.post(f"{address}/v1/inspect", content=content, headers=headers).json()
    assert len(browser.find_elements(By.CSS_SELECTOR, "#charts svg")) >= 3
    assert len(rows(browser, "device-table")) == 2
    assert "TFLM" in text(browser, "device-table") and "not available" in text(browser, "device-table")
    assert f"of {len(said['operators'])} operators" in text(browser, "operator-table")
    buffers = browser.find_elements(By.CSS_SELECTOR, "#memory-chart rect.buffer")
    assert len(buffers) == len(said["memory_plan"]["buffers"])
    assert f"{said['memory_plan']['peak_bytes'] / 1024:.3g} KiB at its peak" in text(
        browser, "memory-summary"
    )


def test_the_slider_goes_through_the_memory_by_keyboard(browser: Any, models: dict[str, Path]) -> None:
    choose(browser, models["int8"])
    slider = browser.find_element(By.ID, "memory-step")
    slider.send_keys(Keys.HOME)
    assert text(browser, "memory-now").startswith("before the first operator")
    slider.send_keys(Keys.ARROW_RIGHT)
    assert text(browser, "memory-now").startswith("operator 0 ")
    assert slider.get_attribute("aria-valuetext") == text(browser, "memory-now")
    assert len(rows(browser, "memory-table")) >= 2


def test_all_operators_can_be_listed(browser: Any, models: dict[str, Path]) -> None:
    choose(browser, models["int8"])
    browser.find_element(By.ID, "more-operators").click()
    assert len(rows(browser, "operator-table")) > 15
    select(browser, "operator-device", "tflm")
    assert "No latency is predicted on this device" in text(browser, "operator-chart")


def test_a_dropped_file_is_read(browser: Any, models: dict[str, Path]) -> None:
    browser.execute_script(DROP, "dropped.tflite", list(models["int8"].read_bytes()))
    wait(browser, lambda b: "dropped.tflite" in text(b, "models"))


def test_two_models_are_compared_and_doubts_explained(
    browser: Any, models: dict[str, Path], other: Path
) -> None:
    choose(browser, models["int8"], other)
    assert len(browser.find_elements(By.CSS_SELECTOR, "#models .card")) == 2
    assert "never seen in training: " in text(browser, "doubts") and "nasbench.tflite" in text(
        browser, "doubts"
    )
    assert "the first model's" in text(browser, "device-table")
    assert browser.find_elements(By.CSS_SELECTOR, "#charts path.model-1.doubtful")
    browser.find_element(By.ID, "filter").send_keys("ethos")
    assert len(rows(browser, "device-table")) == 2


def test_a_shared_link_shows_the_same(browser: Any, models: dict[str, Path]) -> None:
    choose(browser, models["int8"])
    shown = text(browser, "device-table")
    browser.find_element(By.ID, "share").click()
    wait(browser, lambda b: b.find_element(By.ID, "link").is_displayed())
    link = browser.find_element(By.ID, "link").get_attribute("value")
    assert hashlib.sha256(models["int8"].read_bytes()).hexdigest() in link
    browser.get("about:blank")
    browser.get(link)
    wait(browser, lambda b: b.find_elements(By.CSS_SELECTOR, "#models .card"))
    assert text(browser, "device-table") == shown
    assert models["int8"].name in text(browser, "models")


def test_what_is_shown_can_be_downloaded(browser: Any, models: dict[str, Path]) -> None:
    choose(browser, models["int8"])
    for name in ("perfsage.json", "perfsage.csv"):
        (browser.downloads / name).unlink(missing_ok=True)
        browser.find_element(By.ID, "save-" + name.rpartition(".")[2]).click()
        wait(browser, lambda b, path=browser.downloads / name: path.exists() and path.stat().st_size)
    time.sleep(0.2)
    [entry] = json.loads((browser.downloads / "perfsage.json").read_text())["models"]
    with (browser.downloads / "perfsage.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 4 * len(entry["report"]["predictions"]) == 8
    assert {line["device"] for line in lines} == {"tflm", "ethos-u55-128"}
    assert any(line["value"] == "" and line["reason"] for line in lines)


def test_the_page_works_by_keyboard_alone(browser: Any, models: dict[str, Path]) -> None:
    choose(browser, models["int8"])
    browser.execute_script("document.getElementById('theme').focus()")
    reached = []
    for _ in range(30):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        reached.append(browser.switch_to.active_element.get_attribute("id"))
    order = ["files", "share", "save-json", "save-csv", "filter", "order", "operator-device", "memory-step"]
    assert [name for name in dict.fromkeys(reached) if name in order] == order


def test_every_control_and_picture_has_a_name(browser: Any, models: dict[str, Path]) -> None:
    choose(browser, models["int8"])
    for element in browser.find_elements(
        By.CSS_SELECTOR, "main input, main select, main button, main svg[role]"
    ):
        if element.is_displayed():
            assert element.accessible_name, element.get_attribute("outerHTML")[:200]
    assert len(browser.find_elements(By.TAG_NAME, "h1")) == 1
    for table in browser.find_elements(By.TAG_NAME, "table"):
        assert table.find_elements(By.CSS_SELECTOR, "caption, thead th[scope=col]")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_contrast_in_both_themes(browser: Any, models: dict[str, Path], theme: str) -> None:
    select(browser, "theme", theme)
    choose(browser, models["int8"])
    for selector in ("main h2", "#status", ".card dt", "#device-table td", "#predictor", ".drop .button"):
        element = browser.find_element(By.CSS_SELECTOR, selector)
        assert browser.execute_script(CONTRAST, element) >= 4.5, selector


CONTRAST = """
const parts = (text) => text.match(/[\\d.]+/g).map(Number);
const linear = (v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => [r, g, b].map((v) => linear(v / 255))
  .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
let behind = arguments[0];
const solid = (node) => (parts(getComputedStyle(node).backgroundColor)[3] ?? 1) > 0;
while (behind.parentElement && !solid(behind)) behind = behind.parentElement;
const colours = [getComputedStyle(arguments[0]).color, getComputedStyle(behind).backgroundColor];
const both = colours.map(parts).map(light);
return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
"""


def test_charts_can_be_read_in_a_narrow_window(browser: Any, models: dict[str, Path], other: Path) -> None:
    size = browser.get_window_size()
    choose(browser, models["int8"], other)
    browser.set_window_size(420, 900)
    try:
        wait(browser, lambda b: b.execute_script(SMALLEST_TEXT) >= 10)
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    finally:
        browser.set_window_size(size["width"], size["height"])


SMALLEST_TEXT = """
const texts = [...document.querySelectorAll("#charts text, #operator-chart text, #memory-chart text")];
return Math.min(...texts.map((text) => text.getBoundingClientRect().height));
"""


def test_hostile_names_stay_text(browser: Any, models: dict[str, Path]) -> None:
    name = "<img src=x onerror=alert(1)>.tflite"
    browser.execute_script(DROP, name, list(models["int8"].read_bytes()))
    wait(browser, lambda b: name in text(b, "models"))
    assert not browser.find_elements(By.CSS_SELECTOR, "main img")
