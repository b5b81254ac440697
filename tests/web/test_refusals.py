"""What the page says when something is wrong; the browser itself logs requests that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from selenium.webdriver.common.by import By

from api.web.routes import parts
from tests.api.service import serving
from tests.api.support import Cli
from tests.web.page import choose, text, wait


def test_a_file_that_is_no_model_is_explained(chromium: Any, address: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.tflite"
    path.write_bytes(b"no model at all")
    chromium.get(f"{address}/")
    chromium.find_element(By.ID, "files").send_keys(str(path))
    wait(chromium, lambda b: text(b, "problems"))
    assert "wrong.tflite" in text(chromium, "problems")
    assert "Check that the file is a complete .tflite file" in text(chromium, "problems")
    assert not chromium.find_element(By.ID, "results").is_displayed()


def test_a_link_to_a_model_that_is_gone_says_so(chromium: Any, address: str) -> None:
    chromium.get("about:blank")
    chromium.get(f"{address}/#model={'0' * 64}")
    wait(chromium, lambda b: text(b, "problems"))
    assert "Upload it first" in text(chromium, "problems")


def test_a_service_with_keys_asks_for_one(
    chromium: Any, predictor: Path, models: dict[str, Path], tmp_path: Path, program: Cli
) -> None:
    database = tmp_path / "keys.db"
    made = program("keys", "create", "page", "--db", database, "--scope", "predict", "--json")
    with serving(predictor, database=database, require_keys=True) as client:
        chromium.get(f"{client.base_url}/")
        wait(chromium, lambda b: b.find_element(By.ID, "key-form").is_displayed())
        chromium.find_element(By.ID, "key").send_keys(made.json["key"] + "\n")
        choose(chromium, models["int8"])
        assert "tflm" in text(chromium, "device-table")


def test_the_page_needs_nothing_from_elsewhere(address: str) -> None:
    with httpx.Client(base_url=address) as client:
        page = client.get("/")
        policy = page.headers["content-security-policy"]
        assert "unsafe" not in policy and "http" not in policy and "default-src 'none'" in policy
        assert client.get("/", headers={"If-None-Match": page.headers["etag"]}).status_code == 304
        assert client.get("/web/../routes.py").status_code == 404
        assert client.get("/web/none.js").json()["type"] == "/errors/not-found"


@pytest.mark.parametrize("name", sorted(parts()))
def test_no_part_of_the_page_names_another_host(name: str) -> None:
    content = parts()[name].content.decode().replace("http://www.w3.org/2000/svg", "")
    assert "http:" not in content and "https:" not in content and "//cdn" not in content
    assert "innerHTML" not in content and "style=" not in content
