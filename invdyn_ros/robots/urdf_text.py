"""Text of a URDF: encodings, xacro, and elements that know their line."""

from __future__ import annotations

import codecs
import importlib.util
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import cast
from xml.parsers import expat

NAMESPACE_END = "}"
MAX_DEPTH = 50  # of nested elements
DECLARATION = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
XACRO = ".xacro"
NO_XACRO = "install xacro ('pip install xacro', or the ROS package), or expand the file elsewhere"


class UrdfElement(ET.Element):
    """An element of a URDF.

    Attributes:
        line: of its start tag in the file; 0: not read from a file.
    """

    line = 0


def read_urdf_text(path: Path) -> str:
    """Return the text of a URDF file; a .xacro file is expanded.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: its encoding is unknown or wrong, or it cannot be expanded.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no URDF file '{path}'")
    if path.suffix == XACRO:
        return _expand(path)
    return decode(path.read_bytes(), str(path))


def is_plain(path: Path) -> bool:
    """Return whether other programs can read a URDF file: no xacro file, and in UTF-8."""
    content = path.read_bytes()
    declared = DECLARATION.match(content)
    encoding = declared.group(1).decode().lower() if declared else "utf-8"
    marked = any(content.startswith(mark) for mark, _ in BYTE_ORDER_MARKS)
    return path.suffix != XACRO and not marked and encoding in ("utf-8", "us-ascii")


def urdf_name(path: Path) -> str:
    """Return the name of the arm in a URDF or xacro file: that of the file without suffixes."""
    return path.name.removesuffix(XACRO).removesuffix(".urdf")


def decode(content: bytes, source: str) -> str:
    """Return the text of an XML file in its declared encoding, by default UTF-8.

    Args:
        content: of the file.
        source: of the content, in messages.

    Raises:
        ValueError: the encoding is unknown, or not that of the content.
    """
    marked = (name for mark, name in BYTE_ORDER_MARKS if content.startswith(mark))
    declared = DECLARATION.match(content)
    encoding = next(marked, declared.group(1).decode() if declared else "utf-8")
    try:
        return content.decode(encoding)
    except LookupError:
        raise ValueError(
            f"{source}: the encoding '{encoding}' is unknown; save the file as UTF-8"
        ) from None
    except UnicodeError as error:
        line = content[: getattr(error, "start", 0)].count(b"\n") + 1
        raise ValueError(
            f"{source}: line {line} is not text in {encoding}"
            f"{'' if declared else ', which is the default'}; declare its encoding, as in "
            '<?xml version="1.0" encoding="iso-8859-1"?>, or save the file as UTF-8'
        ) from None


def parse_xml(text: str, source: str) -> UrdfElement:
    """Parse XML text into elements with lines.

    A prefix that no namespace is given for, as in the drake:acceleration of some URDFs, is taken
    as part of the name.

    Raises:
        ValueError: it is not XML, has a document type, whose entities may expand without bound,
            or is nested too deeply.
    """
    try:
        try:
            return _parse(text, expat.ParserCreate("utf-8", NAMESPACE_END), source)
        except expat.ExpatError as error:
            if expat.errors.messages[error.code] != expat.errors.XML_ERROR_UNBOUND_PREFIX:
                raise
            return _parse(text, expat.ParserCreate("utf-8"), source)
    except expat.ExpatError as error:
        raise ValueError(f"{source} is not XML: {error}; correct this line") from None


def _parse(text: str, parser: expat.XMLParserType, source: str) -> UrdfElement:
    builder = ET.TreeBuilder(element_factory=UrdfElement)
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"elements are nested more than {MAX_DEPTH} deep")
        named = {_qualified(name): value for name, value in attributes.items()}
        element = cast(UrdfElement, builder.start(_qualified(tag), named))
        element.line = parser.CurrentLineNumber

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(_qualified(tag))

    def doctype(*_: object) -> None:
        raise ValueError("it has a <!DOCTYPE>, which a URDF does not need; delete it")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = builder.data, doctype
    try:
        parser.Parse(text.encode(), True)
    except ValueError as error:  # raised above
        raise ValueError(f"{source}: line {parser.CurrentLineNumber}: {error}") from None
    return cast(UrdfElement, builder.close())  # made by the factory


def _qualified(name: str) -> str:
    """Return a name as ElementTree has it: {namespace}name."""
    return f"{{{name}" if NAMESPACE_END in name else name


def _expand(path: Path) -> str:
    """Return the URDF that xacro makes of a file."""
    program = shutil.which("xacro")
    if program is None and importlib.util.find_spec("xacro") is None:
        raise ValueError(f"{path} is a xacro file, and xacro is not installed; {NO_XACRO}")
    command = [program] if program else [sys.executable, "-c", "import xacro; xacro.main()"]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        reason = "; ".join(lines[:2]) or f"code {done.returncode}"
        raise ValueError(f"{path}: xacro cannot expand it: {reason[:300]}")
    return done.stdout
