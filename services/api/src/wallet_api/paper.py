"""This module is where a statement is put on pages: the same statement, the same bytes."""

import io
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache
from typing import Final

from reportlab.lib.pagesizes import A4
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas

from wallet_api.past_schemas import StatementAnswer, StatementLine
from wallet_api.strict import in_utc

_WIDTH, _HEIGHT = A4
_MARGIN: Final = 42.0
_LEADING: Final = 13.0
_TOP: Final = _HEIGHT - 118
_LINES_MAX: Final = int((_TOP - _MARGIN - _LEADING) / _LEADING)
_FONT, _BOLD, _SIZE, _HEAD_SIZE = "Helvetica", "Helvetica-Bold", 8.0, 9.0
_CUT: Final = "..."
# Where columns begin; amount and balance are set to where they end.
_TIME, _TYPE, _REFERENCE = _MARGIN, _MARGIN + 92, _MARGIN + 178
_AMOUNT, _BALANCE = _WIDTH - _MARGIN - 96, _WIDTH - _MARGIN
# The fonts that every reader has know no others.
_LETTERS: Final = "cp1252"

_Row = tuple[str, str, str, str, str]


def pages(told: StatementAnswer) -> bytes:
    """
    Return the statement as PDF.

    Letters that the standard fonts do not have are question marks, and a long reference is cut: the
    other formats have them whole.
    """
    written = io.BytesIO()
    canvas = Canvas(written, pagesize=A4, invariant=1)
    canvas.setTitle(f"Statement of {told.wallet_id}")
    rows = list(_rows(told))
    sheets = [rows[first : first + _LINES_MAX] for first in range(0, len(rows), _LINES_MAX)]
    for number, sheet in enumerate(sheets, 1):
        _head(canvas, told, f"{number} / {len(sheets)}")
        _body(canvas, sheet)
        canvas.showPage()
    canvas.save()
    return written.getvalue()


def _rows(told: StatementAnswer) -> Iterator[_Row]:
    yield _time(told.since), "opening balance", "", "", told.opening_balance
    yield from map(_row, told.lines)
    yield _time(told.until), "closing balance", "", "", told.closing_balance


def _row(line: StatementLine) -> _Row:
    said = line.reference or line.request_id
    return _time(line.occurred_at), line.type, said, line.amount, line.balance_after


def _head(canvas: Canvas, told: StatementAnswer, page: str) -> None:
    canvas.setFont(_BOLD, 14)
    canvas.drawString(_MARGIN, _HEIGHT - 54, "Statement")
    canvas.setFont(_FONT, _HEAD_SIZE)
    whose = cut(f"{told.currency}, wallet {told.wallet_id}", _BALANCE - _MARGIN, _HEAD_SIZE)
    canvas.drawString(_MARGIN, _HEIGHT - 70, whose)
    canvas.drawString(_MARGIN, _HEIGHT - 83, f"{_time(told.since)} to {_time(told.until)}, UTC")
    canvas.drawRightString(_BALANCE, _HEIGHT - 54, page)
    canvas.setFont(_BOLD, _SIZE)
    for at, name in ((_TIME, "Time"), (_TYPE, "Type"), (_REFERENCE, "Reference")):
        canvas.drawString(at, _TOP + 5, name)
    canvas.drawRightString(_AMOUNT, _TOP + 5, "Amount")
    canvas.drawRightString(_BALANCE, _TOP + 5, "Balance")
    canvas.line(_MARGIN, _TOP, _BALANCE, _TOP)


def _body(canvas: Canvas, rows: Sequence[_Row]) -> None:
    canvas.setFont(_FONT, _SIZE)
    for number, (time, kind, reference, amount, balance) in enumerate(rows, 1):
        at = _TOP - number * _LEADING
        canvas.drawString(_TIME, at, time)
        canvas.drawString(_TYPE, at, kind.replace("_", " "))
        room = _AMOUNT - canvas.stringWidth(amount, _FONT, _SIZE) - _REFERENCE - 8
        canvas.drawString(_REFERENCE, at, cut(reference, room, _SIZE))
        canvas.drawRightString(_AMOUNT, at, amount)
        canvas.drawRightString(_BALANCE, at, balance)


def cut(text: str, room: float, size: float) -> str:
    """Return the text, or as much of it as has room with an ellipsis; looks at no letter twice."""
    plain = text.encode(_LETTERS, "replace").decode(_LETTERS)
    room_for_cut = room - len(_CUT) * _width(_CUT[0], size)
    width, kept = 0.0, 0
    for place, letter in enumerate(plain, 1):
        width += _width(letter, size)
        if width > room:
            return f"{plain[:kept]}{_CUT}"
        if width <= room_for_cut:
            kept = place
    return plain


@cache
def _width(letter: str, size: float) -> float:
    width: float = stringWidth(letter, _FONT, size)
    return width


def _time(at: datetime) -> str:
    return f"{in_utc(at):%Y-%m-%d %H:%M:%S}"
