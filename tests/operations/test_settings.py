"""docs/settings.md is what the settings say: run this file as a program to write its table anew."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from api.rest.running import environment
from api.rest.settings import Settings

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "settings.md"
BEGIN, END = "<!-- table -->\n", "<!-- end -->\n"
NAMES = {f"PERFSAGE_{name.upper()}" for name in Settings.model_fields}
OTHERS = {"PERFSAGE_PUBLISH"}


def table() -> str:
    """Return the table of all settings, from the code."""
    lines = ["| environment variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        text = " ".join((field.description or "").split()).rstrip(".")
        lines.append(
            f"| `PERFSAGE_{name.upper()}` | {_default(field.default)} | {text[0].lower()}{text[1:]} |"
        )
    return "\n".join(lines) + "\n"


def _default(value: object) -> str:
    return "unset" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def page() -> str:
    """Return the page with its table written anew."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END)[1]


def test_the_page_lists_every_setting() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def test_the_container_sets_only_what_exists() -> None:
    compose = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    named = set(re.findall(r"PERFSAGE_[A-Z_]+", compose + dockerfile))
    assert named <= NAMES | OTHERS
    services = yaml.safe_load(compose)["services"]
    assert services["perfsage"]["environment"]["PERFSAGE_DATABASE"].startswith("postgresql://")


def test_the_image_installs_extras_that_exist() -> None:
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    installed = re.search(r"'\.\[(.*)\]'", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    assert installed and set(installed[1].split(",")) <= set(extras)


def test_workers_get_the_settings_of_the_command_line() -> None:
    given = Settings(port=8123, workers=2, require_keys=False)
    assert environment(given) == {
        "PERFSAGE_PORT": "8123",
        "PERFSAGE_WORKERS": "2",
        "PERFSAGE_REQUIRE_KEYS": "False",
    }


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
