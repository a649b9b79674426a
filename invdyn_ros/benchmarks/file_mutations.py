"""Random damage to files: bits, lengths, values, structure, encodings and file types."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from random import Random

Damage = Callable[[bytes, Random], bytes]

HEADER_LENGTH_BYTES = 8  # of a safetensors file, before its header
DEPTH = 100_000  # of nested lists, mappings or elements
LONG = 1_000_000  # characters of a long line
HEAD = 4096  # bytes at the start of a large file that are damaged more often than the rest
HUGE_SHAPES = ([10**12], [10**6, 10**6], [2**63 - 1], [-1], [0], [2**32, 2**32])
VALUES = (
    "nan", "NaN", ".nan", "inf", ".inf", "-Infinity", "1e308", "-1e308", "1e999", "1e12", "-1",
    "0", "-0.5", "1e-320", "99999999999999999999", "9" * 5000, "true", "null", "~", '"text"',
    "[]", "{}", "", "1,5", "${x}", "!!python/object:os.system ls", "2026-01-01", "0x10", "1 2",
    "\u0661", '"../../../etc/passwd"', '"/etc/passwd"', '"N m"', '"rad"',
)  # fmt: skip
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?(?![\w.])")
WORD = re.compile(r"[A-Za-z_/]{2,}")
ENTITIES = ["<!DOCTYPE robot [", '<!ENTITY e0 "lol">'] + [
    f'<!ENTITY e{k} "{f"&e{k - 1};" * 10}">' for k in range(1, 10)
]
EXTERNAL_ENTITY = '<!DOCTYPE robot [<!ENTITY e9 SYSTEM "file:///etc/passwd">]>'


def mutate(path: Path, rng: Random, foreign: bytes) -> str:
    """Damage a file in place, and return the name of the damage.

    Args:
        path: the file.
        rng: source of the choices.
        foreign: content of another kind of file.
    """
    content = path.read_bytes()
    if rng.random() < 0.06:
        name = rng.choice(sorted(REPLACEMENTS))
        REPLACEMENTS[name](path)
        return name
    if rng.random() < 0.04:
        path.write_bytes(foreign)
        return "foreign content"
    damages = dict(BYTES)
    if rng.random() < 0.75:
        damages = _damages_of(path, content) or damages
    name = rng.choice(sorted(damages))
    path.write_bytes(damages[name](content, rng))
    return name


def _damages_of(path: Path, content: bytes) -> dict[str, Damage]:
    """Return the damages that the format of a file allows."""
    if path.suffix == ".safetensors":
        return {"header": _safetensors_header, "values": _float_values}
    if path.suffix == ".npz":
        return {"header": _npz_header}
    if path.suffix in (".npy", ".h5", ".hdf5", ".parquet", ".db3", ".mcap", ".onnx"):
        return BYTES | {"float values": _float_values, "numbers": _integers}
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return {}
    if text.lstrip().startswith("<"):
        return TEXT | XML
    return TEXT | (JSON if text.lstrip()[:1] in ("{", "[") else YAML)


def _flip_bits(content: bytes, rng: Random) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8)) if data else 0):
        data[_position(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(data)


def _truncate(content: bytes, rng: Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _insert(content: bytes, rng: Random) -> bytes:
    at = _position(content, rng)
    return content[:at] + rng.randbytes(rng.choice((1, 4, 100))) + content[at:]


def _zero_block(content: bytes, rng: Random) -> bytes:
    at, size = _position(content, rng), rng.choice((4, 64, 512))
    return content[:at] + bytes(len(content[at : at + size])) + content[at + size :]


def _delete_block(content: bytes, rng: Random) -> bytes:
    at = _position(content, rng)
    return content[:at] + content[at + rng.choice((1, 8, 512)) :]


def _repeat_block(content: bytes, rng: Random) -> bytes:
    at, size = _position(content, rng), rng.choice((8, 512))
    return content[: at + size] + content[at:]


def _position(content: bytes | bytearray, rng: Random) -> int:
    """Return a random position, half of the time near the start or the end of a large file."""
    part, last = rng.random(), max(len(content) - 1, 0)
    if part < 0.25:
        return rng.randint(0, min(HEAD, last))
    return rng.randint(max(0, last - HEAD), last) if part < 0.5 else rng.randint(0, last)


def _float_values(content: bytes, rng: Random) -> bytes:
    """Overwrite an aligned number by NaN, infinity or a huge value, in either precision."""
    patterns = ("000000000000f87f", "000000000000f07f", "0000c07f", "000080ff", "ffffff7f", "ff")
    pattern = bytes.fromhex(rng.choice(patterns))
    at = _position(content, rng) // 4 * 4
    return content[:at] + pattern + content[at + len(pattern) :]


def _integers(content: bytes, rng: Random) -> bytes:
    """Overwrite an integer by a huge or negative one."""
    size = rng.choice((4, 8))
    value = rng.choice((2 ** (8 * size) - 1, 2 ** (8 * size - 1) - 1, 2**31, 10**9))
    at = _position(content, rng) // 4 * 4
    return content[:at] + value.to_bytes(size, "little") + content[at + size :]


def _safetensors_header(content: bytes, rng: Random) -> bytes:
    """Change a name, type, shape, offset or the metadata in the header."""
    size = int.from_bytes(content[:HEADER_LENGTH_BYTES], "little")
    body = content[HEADER_LENGTH_BYTES + size :]
    header = json.loads(content[HEADER_LENGTH_BYTES : HEADER_LENGTH_BYTES + size])
    text = json.dumps(header)
    entries = [entry for name, entry in header.items() if name != "__metadata__"]
    if rng.random() < 0.5 and entries:
        rng.choice(entries)["shape"] = rng.choice(HUGE_SHAPES)
        text = json.dumps(header)
    else:
        name = rng.choice(sorted(TEXT | JSON))
        text = (TEXT | JSON)[name](text.encode(), rng).decode("utf-8", "replace")
    encoded = text.encode()
    return len(encoded).to_bytes(HEADER_LENGTH_BYTES, "little") + encoded + body


def _npz_header(content: bytes, rng: Random) -> bytes:
    """Change the shape or type in the header of one array, or damage its bytes."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(members))
    shape = tuple(rng.choice(HUGE_SHAPES))
    header = re.sub(rb"'shape': \([^)]*\)", f"'shape': {shape}".encode(), members[name][:128])
    kinds = [header + members[name][128:], members[name].replace(b"<f8", b"|O8")]
    members[name] = rng.choice([*kinds, _float_values(members[name], rng)])
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for key, value in members.items():
            archive.writestr(key, value)
    return stream.getvalue()


def _text_damage(damage: Callable[[str, Random], str]) -> Damage:
    return lambda content, rng: damage(content.decode("utf-8", "replace"), rng).encode()


def _replace(pattern: re.Pattern[str], text: str, rng: Random, value: str) -> str:
    """Replace a random match of a pattern; without a match, append the value."""
    matches = list(pattern.finditer(text))
    if not matches:
        return text + value
    match = rng.choice(matches)
    return text[: match.start()] + value + text[match.end() :]


def _number(text: str, rng: Random) -> str:
    return _replace(NUMBER, text, rng, rng.choice(VALUES))


def _word(text: str, rng: Random) -> str:
    words = WORD.findall(text) or [""]
    other = ("", "x", "\u00fc", "\x00", "a" * 5000, "\u202e", rng.choice(words), "../..")
    return _replace(WORD, text, rng, rng.choice(other))


def _lines(text: str, rng: Random) -> str:
    """Delete or repeat a line, or swap two of them."""
    lines = text.splitlines(keepends=True) or [""]
    first, second = (rng.randrange(len(lines)) for _ in range(2))
    action = rng.choice(("delete", "repeat", "swap"))
    if action == "delete":
        del lines[first]
    elif action == "repeat":
        lines.insert(second, lines[first])
    else:
        lines[first], lines[second] = lines[second], lines[first]
    return "".join(lines)


def _long_line(text: str, rng: Random) -> str:
    return _replace(rng.choice((NUMBER, WORD)), text, rng, rng.choice("x1") * LONG)


def _encoding(content: bytes, rng: Random) -> bytes:
    text = content.decode("utf-8", "replace")
    encoded = [text.encode("utf-16"), text.encode("utf-32"), b"\xef\xbb\xbf" + content]
    latin = _replace(WORD, text, rng, "Gr\u00f6\u00dfe").encode("latin-1", "replace")
    return rng.choice([*encoded, latin])


def _nested_list(text: str, rng: Random) -> str:
    return _replace(NUMBER, text, rng, "[" * DEPTH + "]" * rng.choice((0, DEPTH)))


def _nested_mapping(text: str, rng: Random) -> str:
    return _replace(NUMBER, text, rng, '{"a":' * DEPTH + "1" + "}" * rng.choice((0, DEPTH)))


def _repeated_key(text: str, rng: Random) -> str:
    return _replace(re.compile(r'(?=")'), text, rng, f'"rate": {rng.choice(VALUES[:12])},')


def _aliases(text: str, rng: Random) -> str:
    lines = ["a0: &a0 [x, x]"] + [f"a{k}: &a{k} [{f'*a{k - 1},' * 10}]" for k in range(1, 12)]
    cycle = ["a: &a [*a]"]
    return _replace(NUMBER, text, rng, "*a9") + "\n".join(rng.choice((lines, cycle))) + "\n"


def _nested_elements(text: str, rng: Random) -> str:
    return text.replace("<link", "<a>" * DEPTH + "</a>" * rng.choice((0, DEPTH)) + "<link", 1)


def _entities(text: str, rng: Random) -> str:
    bomb = rng.choice(("\n".join([*ENTITIES, "]>"]), EXTERNAL_ENTITY))
    body = re.sub(r"^\s*<\?xml.*?\?>", "", text)
    return bomb + body.replace("</robot>", "<link name='&e9;'/></robot>")


def _attribute(text: str, rng: Random) -> str:
    values = (*VALUES[:16], "1 2", "1 2 3 4", "0 0 0", "nan 0 0", "1,0 0 0", "${pi}", "a", "")
    return _replace(re.compile(r'(?<=")[^"<>]*(?=")'), text, rng, rng.choice(values))


def _to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _to_link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def _without_permission(path: Path) -> None:
    path.chmod(0)  # no effect for root


def _delete(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


BYTES: dict[str, Damage] = {
    "flipped bits": _flip_bits,
    "truncated": _truncate,
    "inserted bytes": _insert,
    "zeroed block": _zero_block,
    "deleted block": _delete_block,
    "repeated block": _repeat_block,
    "empty": lambda content, rng: b"",
}
TEXT: dict[str, Damage] = {
    "number": _text_damage(_number),
    "other number": _text_damage(_number),  # the most telling damage comes twice
    "word": _text_damage(_word),
    "lines": _text_damage(_lines),
    "long line": _text_damage(_long_line),
    "encoding": _encoding,
}
JSON: dict[str, Damage] = {
    "nested lists": _text_damage(_nested_list),
    "nested mappings": _text_damage(_nested_mapping),
    "repeated key": _text_damage(_repeated_key),
}
YAML: dict[str, Damage] = JSON | {"aliases": _text_damage(_aliases)}
XML: dict[str, Damage] = {
    "nested elements": _text_damage(_nested_elements),
    "entities": _text_damage(_entities),
    "attribute": _text_damage(_attribute),
    "other attribute": _text_damage(_attribute),
}
REPLACEMENTS: dict[str, Callable[[Path], None]] = {
    "a folder": _to_folder,
    "a link to itself": lambda path: _to_link(path, path.name),
    "a dangling link": lambda path: _to_link(path, "nothing"),
    "no permission": _without_permission,
    "deleted": _delete,
}
