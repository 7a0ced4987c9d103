"""Reading annotation lists: a row a line, and one error that names the file and its broken rows."""

from __future__ import annotations

import csv
import gc
import math
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

from devias.data.records import VideoRecord
from devias.errors import DeviasError

Parsed = TypeVar("Parsed")
Row = TypeVar("Row")

MAX_LINE = 65_536
"""Characters; the longest rows of any dataset, HVU's lists of tags, have some thousands."""
MAX_SHOWN = 5
"""Broken rows that an error spells out."""
MAX_WHY = 300
"""Characters said of one broken row, which may be as long as a line."""

# Control characters but for the tab, marks of byte order within a file, ends of lines that no
# list means as such, and bytes that are not UTF-8, which are read as lone surrogates.
_STRAY = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")
_LAST_FIELD = r"(?:[ \t]*,[ \t]*|[ \t]+)([^ \t,]+)"
_YOUTUBE_ID = re.compile(r"[\w-]+", re.ASCII)
_PLAIN_PATH = re.compile(r"[^/\\:.][^/\\:]{0,199}(/[^/\\:.][^/\\:]{0,199}){0,9}")
"""What most paths are: below the folder, and as they should be spelt."""


class AnnotationError(DeviasError, ValueError):
    """An annotation file that cannot be used; names the file, and the line where it is known.

    Args:
        path: of the file.
        line: a number, or another place as `entry 3`.
        why: it cannot be used.
    """

    def __init__(self, path: Path | str, line: int | str | None, why: str) -> None:
        line = f"line {line}" if isinstance(line, int) else line
        super().__init__(f"{path}: {why}" if line is None else f"{path}, {line}: {why}")


class RowError(ValueError):
    """Why a row or an entry cannot be used; what reads the file adds where it stands."""


def read_rows(path: Path, parse: Callable[[str, str], Parsed]) -> list[Parsed]:
    """Parse the lines of a UTF-8 text file, empty ones left out.

    A mark of byte order and CRLF are fine.

    Args:
        path: of the file.
        parse: takes a line without the blanks around it, and its place `file:line`; raises
            `RowError` where it cannot be used.

    Raises:
        AnnotationError: broken rows, of which it tells the first few and the number; no row at
            all; a file that cannot be read.
        FileNotFoundError: there is no such file.
    """
    return parse_all(path, _numbered_lines(path), _cleaned(parse))


def read_csv(
    path: Path, columns: Sequence[str], parse: Callable[[dict[str, str], str], Parsed]
) -> list[Parsed]:
    """Parse the rows of a csv file below its header, as `read_rows` does.

    Fields may stand in double quotes, but not go on in the next line.

    Args:
        path: of the file.
        columns: what the header must name, in any order and among others.
        parse: takes a row's fields by column, and its place `file:line`; raises `RowError`.

    Raises:
        AnnotationError: as `read_rows`, or the header is broken.
        FileNotFoundError: there is no such file.
    """
    lines = _numbered_lines(path)
    line, text = next(lines, (None, ""))
    try:
        header = [name.strip() for name in _csv_fields(clean(text))]
        if line and (missing := [name for name in columns if name not in header]):
            raise RowError(f"the header lacks {', '.join(missing)}, got {text!r}")
        if len(set(header)) < len(header):
            raise RowError(f"the header names a column twice, got {text!r}")
    except RowError as error:
        raise AnnotationError(path, line, _short(str(error))) from None

    def parse_fields(text: str, source: str) -> Parsed:
        fields = _csv_fields(text)
        if len(fields) != len(header):
            raise RowError(f"{len(fields)} fields, but the header has {len(header)}, got {text!r}")
        return parse(dict(zip(header, fields, strict=True)), source)

    return parse_all(path, lines, _cleaned(parse_fields))


def first_line(path: Path) -> str:
    """The first line that is not empty, to tell formats apart; empty if there is none.

    Raises:
        AnnotationError: the file cannot be read.
        FileNotFoundError: there is no such file.
    """
    return next(_numbered_lines(path), (1, ""))[1]


def read_records(path: Path, parse: Callable[[str, str], VideoRecord]) -> list[VideoRecord]:
    """The records of a list, as `read_rows`; no video may stand there twice.

    Segments may, as they do in ActivityNet's own lists.
    """
    return read_rows(path, no_video_twice(parse))


def read_csv_records(
    path: Path, columns: Sequence[str], parse: Callable[[dict[str, str], str], VideoRecord]
) -> list[VideoRecord]:
    """The records of a csv file with a header, as `read_csv` and `read_records`."""
    return read_csv(path, columns, no_video_twice(parse))


def split_row(text: str, layout: str) -> list[str]:
    """Split a row from the right, since only its first field may hold blanks and commas.

    Args:
        text: the row; blanks, tabs or a comma stand between its fields.
        layout: its fields for the message, with single blanks: `<video> <label>`.

    Raises:
        RowError: there are too few fields.
    """
    fields = _row_pattern(layout).fullmatch(text)
    if fields is None:
        raise RowError(f"expected '{layout}', got {text!r}")
    return list(fields.groups())


def class_number(text: str) -> int:
    """The non-negative integer `text`.

    Raises:
        RowError: it is none, or beyond any number of classes.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise RowError(f"{text!r} is not a class number")
    return int(text)


def seconds(text: str) -> float:
    """The time `text`, from 0.

    Raises:
        RowError: it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise RowError(f"{text!r} is no time in seconds")
    return value


def youtube_id(text: str) -> str:
    """The video's id `text`.

    Raises:
        RowError: it is none.
    """
    if _YOUTUBE_ID.fullmatch(text) is None:
        raise RowError(f"{text!r} is not a YouTube id")
    return text


def relative_path(text: str) -> str:
    """A path below the folder of the videos, without needless dots and slashes.

    Raises:
        RowError: it is absolute, leads elsewhere or cannot be a file's.
    """
    if _PLAIN_PATH.fullmatch(text):
        return text
    if text[:1] == "/" or text[1:3] == ":/" or "\\" in text or "/../" in f"/{text}/":
        raise RowError(f"expected a path below the folder of the videos, got {text!r}")
    path = posixpath.normpath(text)
    if path == "." or len(path) > 4095 or max(map(len, path.split("/"))) > 255:
        raise RowError(f"{text!r} cannot be a file")
    return path


def no_video_twice(parse: Callable[[Row, str], VideoRecord]) -> Callable[[Row, str], VideoRecord]:
    """`parse`, but a whole video that an earlier row has is an error."""
    places: dict[Path | str, str] = {}

    def parse_new(row: Row, source: str) -> VideoRecord:
        record = parse(row, source)
        if record.start is None and (first := places.setdefault(record.file, source)) != source:
            raise RowError(f"the same video as in {first}, {record.file}")
        return record

    return parse_new


@contextmanager
def _gc_paused() -> Iterator[None]:
    """Rows make no cycles, and looking for them takes a third of a long list's time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@_gc_paused()
def parse_all(
    path: Path,
    rows: Iterable[tuple[int | str, Row]],
    parse: Callable[[Row, str], Parsed],
    unit: str = "line",
) -> list[Parsed]:
    """Parse all rows of a file, and tell of the broken ones together.

    Args:
        path: of the file, for messages.
        rows: each with its number or name.
        parse: takes a row and its place, as `read_rows` says; raises `RowError`.
        unit: what `rows` are.

    Raises:
        AnnotationError: broken rows, of which it tells the first few and the number; or no row.
    """
    parsed: list[Parsed] = []
    problems: list[tuple[int | str, str]] = []
    place = f"{path}:" if unit == "line" else f"{path}, {unit} "
    for number, row in rows:
        try:
            parsed.append(parse(row, f"{place}{number}"))
        except RowError as error:
            problems.append((number, _short(str(error))))
    if problems:
        number, why = problems[0]
        others = [f"\n  {unit} {number}: {text}" for number, text in problems[1:MAX_SHOWN]]
        if others:
            others.append(f"\n  {len(problems)} of {len(problems) + len(parsed)} rows are broken")
        raise AnnotationError(path, f"{unit} {number}", why + "".join(others))
    if not parsed:
        raise AnnotationError(path, None, "the list is empty")
    return parsed


def _numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers from 1 and lines, stripped of blanks but not of Unicode's other spaces."""
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
            for line, text in enumerate(iter(partial(file.readline, MAX_LINE), ""), start=1):
                if len(text) == MAX_LINE:
                    raise AnnotationError(path, line, f"longer than {MAX_LINE} characters")
                if stripped := text.strip(" \t\n"):
                    yield line, stripped
    except FileNotFoundError:
        raise
    except OSError as error:
        raise AnnotationError(path, None, f"cannot be read: {error.strerror}") from error


@cache
def _row_pattern(layout: str) -> re.Pattern[str]:
    return re.compile(r"([^\t]*[^ \t,])" + _LAST_FIELD * layout.count(" "))


def _csv_fields(text: str) -> list[str]:
    """The fields of one row."""
    if '"' not in text:
        return text.split(",") if ", " not in text else [x.lstrip(" ") for x in text.split(",")]
    try:
        return next(csv.reader((text,), skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise RowError(f"quotes that do not match ({error}) in {text!r}") from None


def clean(text: str) -> str:
    """`text`, unless it holds a character that no field may hold.

    Raises:
        RowError: control characters, and what is not Unicode.
    """
    if not text.isprintable() and (stray := _STRAY.search(text)):
        raise RowError(_describe(stray[0]))
    return text


def _cleaned(parse: Callable[[str, str], Parsed]) -> Callable[[str, str], Parsed]:
    return lambda text, source: parse(clean(text), source)


def _short(why: str) -> str:
    return why if len(why) <= MAX_WHY else f"{why[:200]} … {why[-80:]}"


def _describe(stray: str) -> str:
    """What is wrong with a character that no row may hold."""
    code = ord(stray)
    if 0xDC80 <= code <= 0xDCFF:  # as `surrogateescape` reads the bytes 0x80 to 0xff
        return f"byte 0x{code - 0xDC00:02x} is not UTF-8; save the list as UTF-8"
    return f"the control character U+{code:04X}"
