"""orpheus.base.arrays and .archives: headers are compared with files, and nothing hostile is unpacked."""

import io
import stat
import zipfile

import numpy as np
import pytest

from orpheus.base import arrays
from orpheus.errors import DataError


def header(shape, descr="<f4") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (0, 4), (2, 3, 4)])
@pytest.mark.parametrize("dtype", ["float16", "float64", "int32", "bool"])
def test_arrays_are_read_as_numpy_wrote_them(tmp_path, shape, dtype, mapped):
    values = np.random.default_rng(0).integers(0, 9, shape).astype(dtype)
    np.save(tmp_path / "x.npy", np.array(values, order="F"))
    found = arrays.load_npy(tmp_path / "x.npy", mapped=mapped)
    assert found.dtype == values.dtype and found.shape == values.shape
    np.testing.assert_array_equal(found, values)


def test_archives_are_read_as_numpy_wrote_them(tmp_path):
    values = {"ids": np.array(["a", "é"]), "matrix": np.eye(3, dtype=np.float32), "none": np.zeros((0, 2))}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x.npz", **values)
        found = arrays.load_npz(tmp_path / "x.npz", ("ids", "matrix"))
        assert list(found) == list(values)
        for name, array in values.items():
            np.testing.assert_array_equal(found[name], array)


CLAIMS = [
    (header((10**9,)) + bytes(8), r"136 bytes, its header says 4000000128 \(shape \(1000000000,\)"),
    (header((10**18, 10**18)), "its header says"),
    (header((2,)) + bytes(9), "137 bytes, its header says 136"),
    (header((-1,)), "is no array's"),
    (header((0, 1 << 60)), "is no array's"),
    (header((1 << 60,), "<U0"), "holds <U0, expected numbers"),
    (header((1,), "|O") + bytes(8), "holds object, expected numbers"),
    (header((1,), "<U1") + bytes(4), "expected numbers"),
    (b"\x93NUMPY\x01\x00\xff\xff{", "not a NumPy array"),
    (b"\x93NUMPY\x01\x00\x10\x00" + b"[" * 16, "not a NumPy array"),
    (b"", "not a NumPy array"),
]


@pytest.mark.parametrize(("content", "message"), CLAIMS, ids=[message for _, message in CLAIMS])
def test_what_a_header_claims_is_compared_with_the_file(tmp_path, content, message):
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(DataError, match=message):
        arrays.load_npy(tmp_path / "x.npy")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(DataError, match=rf"member 'x\.npy': .*{message}"):
        arrays.load_npz(tmp_path / "x.npz", kinds="fiub")


def member(name="a.npy", *, mode=0) -> zipfile.ZipInfo:
    found = zipfile.ZipInfo(name)
    found.external_attr = mode << 16
    return found


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (member(mode=stat.S_IFLNK | 0o777), r"member 'a\.npy' is a link; refused"),
        (member("../a.npy"), "is named outside the archive"),
        (member("/etc/a.npy"), "is named outside the archive"),
        (member("a.txt"), "is no array"),
    ],
)
def test_hostile_members_are_refused(tmp_path, info, message):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr(info, header((1,)) + bytes(4))
    with pytest.raises(DataError, match=message):
        arrays.load_npz(tmp_path / "x.npz")


def test_a_member_packed_beyond_reason_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("orpheus.base.archives._LARGE", 1 << 20)
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros(1 << 20))
    with pytest.raises(DataError, match=r"unpacks from \d+ to 8388736 bytes"):
        arrays.load_npz(tmp_path / "x.npz")
    np.savez_compressed(tmp_path / "x.npz", a=np.random.default_rng(0).normal(size=1 << 18))
    assert arrays.load_npz(tmp_path / "x.npz")["a"].shape == (1 << 18,)


def test_a_flipped_bit_is_found(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.arange(1000.0))
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[4000] ^= 1
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.npz: not an archive that can be read \(Bad CRC-32 for file 'a\.npy'\)"):
        arrays.load_npz(tmp_path / "x.npz")


def test_missing(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        arrays.load_npy(tmp_path / "x.npy")
    np.savez(tmp_path / "x.npz", a=np.arange(3))
    with pytest.raises(DataError, match="no array named b; it has a"):
        arrays.load_npz(tmp_path / "x.npz", ("a", "b"))
