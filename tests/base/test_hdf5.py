"""orpheus.base.hdf5: what points out of the file or claims more than is there is refused before a value is read."""

import h5py
import numpy as np
import pytest

from orpheus.base import hdf5
from orpheus.errors import DataError


def external(file, other):
    file.create_dataset("a/secret", (10,), "u1", external=[(str(other), 0, 10)])


def virtual(file, other):
    layout = h5py.VirtualLayout((3,), "f4")
    layout[:] = h5py.VirtualSource(str(other), "x", (3,))
    file.create_virtual_dataset("v", layout)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (external, "/a/secret is stored in '.*other'; refused"),
        (virtual, r"/v is made of other datasets \(virtual\); refused"),
        (
            lambda file, other: file.__setitem__("x", h5py.ExternalLink(str(other), "/a")),
            "/x is a link to .*other; refused",
        ),
        (lambda file, _: file.__setitem__("g/x", h5py.SoftLink("/a")), "/g/x is a link to another place; refused"),
        (
            lambda file, _: file.create_dataset("a", (10**10,), "f4", chunks=(1000,)),
            r"/a says it has 40000000000 bytes",
        ),
        (lambda file, _: file.create_dataset("a", (10**10,), "f4", chunks=(9,), compression="gzip"), "and stores 0"),
    ],
)
def test_hostile_files_are_refused(tmp_path, make, message):
    (tmp_path / "other").write_bytes(b"not for you" * 10)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        make(file, tmp_path / "other")
    with pytest.raises(DataError, match=message), hdf5.opened(tmp_path / "x.h5", "x.h5"):
        pass


def test_good_files_are_read(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["plain"] = np.arange(6.0).reshape(2, 3)
        file.create_dataset("packed", data=np.zeros(100_000), compression="gzip")
        file["empty"] = np.zeros((10, 0))
        file["text"] = np.array([b"a", b"b"])
        file["g/one"] = 3
        file["g/again"] = file["plain"]  # a second name of the same data
        file["g/loop"] = file["/"]
    with hdf5.opened(tmp_path / "x.h5", "x.h5") as file:
        assert hdf5.check(file, "x.h5") == 6 + 100_000 + 0 + 2 + 1
        np.testing.assert_array_equal(file["plain"], np.arange(6.0).reshape(2, 3))


def test_damage_is_one_line(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a"] = np.arange(6.0)
    (tmp_path / "x.h5").write_bytes((tmp_path / "x.h5").read_bytes()[:1000])
    with (
        pytest.raises(DataError, match=r"^x\.h5: not an HDF5 file that can be read"),
        hdf5.opened(tmp_path / "x.h5", "x.h5"),
    ):
        pass
