"""Seeded mutation: bytes of any file, lines and cells of a text, values of a JSON file, members of an archive."""

import io
import json
import random
import warnings
import zipfile

NUMBERS = [
    "0",
    "-1",
    "1e999",
    "-1e999",
    "NaN",
    "Infinity",
    "9" * 19,
    "9" * 20,
    "9" * 5000,
    "1e-320",
    "0.5",
    "1_0",
    "٣",
    "",
]
VALUES = [
    None,
    True,
    False,
    0,
    -1,
    0.5,
    1e308,
    2**31,
    2**63 - 1,
    10**30,
    "",
    "x",
    "\u0000",
    "\ud800",
    "a" * 5000,
    [],
    {},
    [1],
    ["a"],
    [["a"]],
    [[]],
    {"a": 1},
    {"": {}},
]
PIECES = [
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\r",
    b"\n",
    b"\r\n",
    b'"',
    b"'",
    b",",
    b"\t",
    b";",
    b" ",
    b"\x1a",
    b"\xed\xa0\x80",
    b"{",
    b"[",
    b"]" * 50,
    b"[" * 2000,
    b"NaN",
    b"1e999",
    b"../",
    b"\xc2\xa0",
    b"=",
    b"-",
    b"x" * 140_000,
]


def of_bytes(content: bytes, draw: random.Random) -> bytes:
    """Some bytes changed, cut, doubled, moved or put in."""
    changed = bytearray(content)
    for _ in range(draw.choice([1, 1, 1, 2, 4, 16])):
        place = draw.randrange(len(changed) + 1)
        end = min(len(changed), place + draw.choice([1, 1, 2, 4, 8, 100, 5000]))
        match draw.randrange(8):
            case 0 if changed:
                changed[min(place, len(changed) - 1)] ^= 1 << draw.randrange(8)
            case 1 if changed:
                changed[min(place, len(changed) - 1)] = draw.choice([0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)])
            case 2:
                del changed[place:end]
            case 3:
                changed[place:place] = changed[place:end]
            case 4:
                changed[place:end] = draw.randbytes(end - place)
            case 5:
                changed[place:place] = draw.choice(PIECES[:-3])
            case 6:
                changed[place : place + 4] = draw.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x10000]).to_bytes(4, "little")
            case 7 if draw.random() < 0.3:
                del changed[place:]
    return bytes(changed)


def of_text(content: bytes, draw: random.Random) -> bytes:
    """Lines and cells dropped, doubled, joined or replaced; else as `of_bytes`."""
    if draw.random() < 0.3:
        return of_bytes(content, draw)
    lines = content.split(b"\n")
    for _ in range(draw.choice([1, 1, 2, 5])):
        place = draw.randrange(len(lines))
        line = lines[place]
        mark = next((mark for mark in (b"\t", b",", b" ") if mark in line), b",")
        cells = line.split(mark)
        cell = draw.randrange(len(cells))
        match draw.randrange(8):
            case 0:
                lines.insert(place, line)
            case 1 if len(lines) > 1:
                del lines[place]
            case 2:
                cells[cell] = draw.choice(NUMBERS).encode()
                lines[place] = mark.join(cells)
            case 3:
                del cells[cell]
                lines[place] = mark.join(cells)
            case 4:
                cells.insert(cell, draw.choice(PIECES))
                lines[place] = mark.join(cells)
            case 5:
                cells[cell] = draw.choice(PIECES) + cells[cell] + draw.choice([b"", *PIECES])
                lines[place] = mark.join(cells)
            case 6:
                lines[place : place + 2] = [b"".join(lines[place : place + 2])]
            case 7:
                draw.shuffle(cells)
                lines[place] = mark.join(cells)
    return b"\n".join(lines)


def of_json(content: bytes, draw: random.Random) -> bytes:
    """Values replaced, keys dropped and renamed; else as `of_text`."""
    if draw.random() < 0.2:
        return of_text(content, draw)
    lines = content.decode().splitlines() if content.count(b"\n{") else [content.decode()]
    place = draw.randrange(len(lines))
    value = json.loads(lines[place])
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        value = _changed(value, draw)
    text = json.dumps(value, ensure_ascii=draw.random() < 0.5)
    if draw.random() < 0.1:  # numbers and constants that Python's writer has no way to write
        text = text.replace(draw.choice([": 1", ": 0", "null", "true"]), f": {draw.choice(NUMBERS[:11])}", 1)
    lines[place] = text
    return "\n".join(lines).encode("utf-8", errors="surrogatepass")


def _changed(value, draw: random.Random):
    """A JSON value with one place in it changed."""
    if isinstance(value, dict) and value and draw.random() < 0.85:
        key = draw.choice(list(value))
        match draw.randrange(10):
            case 0:
                return {name: one for name, one in value.items() if name != key}
            case 1:
                return {
                    (draw.choice(["", "x", key.upper(), key + " "]) if name == key else name): one
                    for name, one in value.items()
                }
            case _:
                return {**value, key: _changed(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.85:
        place = draw.randrange(len(value))
        match draw.randrange(6):
            case 0:
                return value[:place] + value[place + 1 :]
            case 1:
                return [*value, value[place]]
            case _:
                return [*value[:place], _changed(value[place], draw), *value[place + 1 :]]
    if isinstance(value, int | float) and not isinstance(value, bool) and draw.random() < 0.5:
        return draw.choice([-value, value + 1, value * 1000, value / 3, float(value), str(value)])
    nested = draw.choice(VALUES)
    if draw.random() < 0.03:
        for _ in range(200):
            nested = [nested]
    return nested


def of_archive(content: bytes, draw: random.Random, *, json_members: bool = False) -> bytes:
    """One member changed, with checksums that are right again; in half of the cases as `of_bytes`."""
    if draw.random() < 0.5:
        return of_bytes(content, draw)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(member.filename, archive.read(member)) for member in archive.infolist()]
    place = draw.randrange(len(members))
    name, inside = members[place]
    match draw.randrange(8):
        case 0:
            del members[place]
        case 1:
            members.append((draw.choice([name, "../x", "/x", "extra.npy", "é" * 300]), inside))
        case 2:
            members[place] = (draw.choice(["x", name + "x", ""]), inside)
        case _ if json_members and name.endswith(".json"):
            members[place] = (name, of_json(inside, draw))
        case _:
            head = inside[:160]  # where an array says what it is
            members[place] = (
                name,
                of_bytes(head, draw) + inside[160:] if draw.random() < 0.7 else of_bytes(inside, draw),
            )
    file = io.BytesIO()
    packing = draw.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", packing) as archive:
        warnings.simplefilter("ignore")  # of a name that is there twice
        for name, inside in members:
            archive.writestr(zipfile.ZipInfo(name), inside)
    return file.getvalue()
