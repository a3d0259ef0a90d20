"""orpheus.doctor: what is broken is found, named and cured; the rest is said to be well."""

import json
import os
import subprocess
import sys

import pytest

from orpheus import doctor
from orpheus.tasks import health
from orpheus.tasks.health import BROKEN, OK, WARNING, Check
from tests.conftest import ROOT


def statuses(checks) -> dict[str, str]:
    return {check.name: check.status for check in checks}


def test_packages_that_do_not_work_are_named_with_the_cure(monkeypatch, tmp_path):
    (tmp_path / "orpheus_test_broken.py").write_text("raise ValueError('numpy.dtype size\\n changed')")
    (tmp_path / "orpheus_test_needs.py").write_text("import orpheus_test_absent")
    monkeypatch.syspath_prepend(tmp_path)
    wanted = {
        "numpy": "numpy",
        "absent": "orpheus_test_absent",
        "broken": "orpheus_test_broken",
        "needs": "orpheus_test_needs",
    }
    monkeypatch.setattr(health, "NEEDED", wanted)
    monkeypatch.setattr(health, "OPTIONAL", {"orpheus-test-optional": "nothing"})
    monkeypatch.setattr(health, "pins", lambda: {"numpy": "0.1", "broken": "7.0"})
    found = {check.name: check for check in health.packages()}
    assert found["numpy"].status == WARNING
    assert found["numpy"].found.endswith(", tested with 0.1")
    assert found["absent"] == Check("absent", BROKEN, "not installed", "pip install -r requirements.txt")
    assert found["broken"].found == "cannot be imported (numpy.dtype size changed)"
    assert found["broken"].cure == "pip install --force-reinstall broken==7.0"
    assert "No module named 'orpheus_test_absent'" in found["needs"].found
    assert found["needs"].cure == "pip install --force-reinstall needs"
    assert found["orpheus-test-optional"].status == OK


def test_pins_are_those_of_requirements_for_this_python(monkeypatch):
    lines = [
        "numpy==1.26.4",
        'keras==3.15.1; python_version >= "3.11"',
        'keras==3.12.4; python_version < "3.11"',
        "pytest==9; extra == 'dev'",
        "loose>=2",
    ]
    monkeypatch.setattr(health.importlib.metadata, "requires", lambda name: lines)
    assert health.pins() == {"numpy": "1.26.4", "keras": "3.12.4" if sys.version_info < (3, 11) else "3.15.1"}

    def absent(name):
        raise health.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(health.importlib.metadata, "requires", absent)
    pinned = health.pins()  # from requirements.txt beside the package
    assert pinned["tensorflow"] == ("2.17.1" if sys.version_info < (3, 13) else "2.21.0")
    assert set(health.NEEDED) <= set(pinned)


def test_keras_on_another_backend_is_broken(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    (check,) = health.keras_settings()
    assert (check.status, check.found) == (BROKEN, "jax")
    monkeypatch.delenv("KERAS_BACKEND")
    assert set(statuses(health.keras_settings()).values()) == {OK}


def test_folders(monkeypatch, tmp_path):
    (inside, _) = health.writable([tmp_path / "not/yet/there"])
    assert inside.status == OK
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"

    def refuse(path, value):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(health.files, "write_json", refuse)
    first, _ = health.writable([tmp_path])
    assert (first.status, first.found) == (BROKEN, "cannot be written (Permission denied)")
    assert "log_dir" in first.cure


def test_ffmpeg_missing_or_failing_is_a_warning(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    (check,) = health.ffmpeg()
    assert check.status == WARNING
    assert "m4a" in check.found
    script = tmp_path / "ffmpeg"
    script.write_text(
        "#!/bin/sh\ncase $1 in -version) echo ffmpeg version 9;; *) echo no such encoder >&2; exit 1;; esac\n"
    )
    script.chmod(0o755)
    (check,) = health.ffmpeg()
    assert (check.status, check.found) == (WARNING, "ffmpeg version 9, does not work (no such encoder)")


def test_libsndfile_reads_what_music_comes_in():
    (check,) = health.libsndfile()
    assert check.status == OK
    assert "reads WAV, FLAC, OGG, MP3" in check.found


def test_a_device_that_fails_is_broken(monkeypatch):
    def failed(*words):
        return subprocess.CompletedProcess(words, 134, "", "W tensorflow\nCUDA_ERROR_NO_DEVICE\n")

    monkeypatch.setattr(health, "_python", failed)
    assert [(c.name, c.status, c.found) for c in health.devices()] == [
        ("training on CPU:0", BROKEN, "failed (CUDA_ERROR_NO_DEVICE)")
    ]


def test_exit_code_and_output(monkeypatch, capsys):
    checks = [Check("a", OK, "1.0"), Check("long name", WARNING, "old", "update")]
    monkeypatch.setattr(health, "examine", lambda folders, progress: checks)
    assert doctor.main([]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ok       a          1.0",
        "warning  long name  old",
        "                    -> update",
        "0 broken, 1 warnings",
    ]
    checks.append(Check("b", BROKEN, "gone", "install"))
    assert doctor.main(["--json"]) == 1
    assert json.loads(capsys.readouterr().out)[2] == {
        "name": "b",
        "status": "broken",
        "found": "gone",
        "cure": "install",
    }


@pytest.mark.slow
def test_this_machine_is_well_and_a_wrong_backend_is_not(command):
    done = command("orpheus.doctor", "--json")
    assert done.returncode == 0, done.stdout
    found = {check["name"]: check for check in json.loads(done.stdout)}
    assert found["training on CPU:0"]["status"] == OK
    assert "loss 0." in found["training on CPU:0"]["found"]
    assert {"python", "system", "environment", "tensorflow", "libsndfile", "ffmpeg", "folder /tmp"} <= set(
        found
    ) or os.environ.get("TMPDIR")
    assert not (ROOT / ".orpheus-doctor").exists()
    done = command("orpheus.doctor", KERAS_BACKEND="jax")
    assert done.returncode == 1
    assert "unset the environment variable KERAS_BACKEND" in done.stdout
