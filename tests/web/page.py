"""How the tests use the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

SECONDS = 30


def wait(browser: Any, condition: Any) -> Any:
    return WebDriverWait(browser, SECONDS, poll_frequency=0.1).until(condition)


def text(browser: Any, name: str) -> str:
    return browser.find_element(By.ID, name).text


def choose(browser: Any, *paths: Path) -> None:
    """Choose files, and wait until the page shows as many models."""
    before = len(browser.find_elements(By.CSS_SELECTOR, "#models .card"))
    wanted = 2 if len(paths) == 2 else min(before + 1, 2)
    browser.find_element(By.ID, "files").send_keys("\n".join(map(str, paths)))
    wait(browser, lambda b: len(b.find_elements(By.CSS_SELECTOR, "#models .card")) == wanted)


def rows(browser: Any, table: str) -> list[str]:
    return [row.text for row in browser.find_elements(By.CSS_SELECTOR, f"#{table} tbody tr")]


def select(browser: Any, name: str, value: str) -> None:
    from selenium.webdriver.support.ui import Select

    Select(browser.find_element(By.ID, name)).select_by_value(value)
