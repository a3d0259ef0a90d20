"""Configs and dictionaries that come with orpheus are found from any folder; what is the user's own comes first."""

import pytest

from orpheus import config
from orpheus.base import resources
from orpheus.data.tags import targets
from orpheus.errors import ConfigError
from orpheus.semantics import dictionary


def test_shipped_files_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config.load("configs/demo.json").model.n_filters
    assert dictionary.load("dictionaries/demo").mapping
    assert targets.read_filter("dictionaries")
    with pytest.raises(ConfigError, match=r"configs/no-such\.json: no such config"):
        config.load("configs/no-such.json")

    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/demo.json").write_text('{"model": {"n_filters": 77}}')
    assert config.load("configs/demo.json").model.n_filters == 77
    (tmp_path / "dictionaries").mkdir()  # the user's own, without a filter
    assert targets.read_filter("dictionaries")
    (tmp_path / "dictionaries/tags_remove.txt").write_text("mine\n")
    assert targets.read_filter("dictionaries") == ["mine"]


def test_an_installed_package_has_its_own(tmp_path, monkeypatch):
    shipped = tmp_path / "orpheus/shipped/configs"
    shipped.mkdir(parents=True)
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "orpheus")
    assert resources.folder("configs") == shipped
    assert resources.folder("dictionaries") == tmp_path / "dictionaries"
    assert resources.find("elsewhere/file.json").parts == ("elsewhere", "file.json")
