"""The report of an evidence pack as a PDF: the same parts as the page, laid out for A4.

The fonts are those that every reader of PDF has, so nothing is embedded and nothing is fetched; they know Western
letters. Whatever else a path or a reason holds stands there as a visible escape, and in full in the page.
"""

from __future__ import annotations

from datetime import datetime

from fpdf import FPDF
from fpdf.enums import TableBordersLayout, XPos, YPos
from fpdf.fonts import FontFace

from dashboard.failovers.evidence_report import Grid, Pairs, Report

INK, GREY, LINE, HAZARD = (27, 31, 36), (74, 83, 95), (201, 206, 214), (124, 45, 18)
EDGE, LABEL, LEADING = 16, 50, 4.4  # mm
# Typography of the house that the fonts lack.
_PLAIN = str.maketrans({"“": '"', "”": '"', "’": "'", "…": "...", "—": "-", "–": "-", "−": "-", "→": "->"})


class _Page(FPDF):
    def __init__(self, title: str) -> None:
        super().__init__(format="A4")
        self._title = title
        self.set_margins(EDGE, EDGE, EDGE)
        self.set_auto_page_break(auto=True, margin=18)

    def footer(self) -> None:
        self.set_y(-12)
        self.set_font("Helvetica", size=8)
        self.set_text_color(*GREY)
        self.cell(0, 5, f"{self._title}, page {self.page_no()} of {{nb}}", align="R")


def pdf(report: Report, *, at: datetime) -> bytes:
    """`at` is written into the file as its date, so that the same record gives the same bytes."""
    page = _Page(plain(report.title))
    page.set_title(plain(report.title))
    page.set_creation_date(at)
    page.set_creator("Failover Desk")
    page.set_producer("Failover Desk")
    page.add_page()
    _head(page, report)
    for part in report.parts:
        _title(page, part.title)
        if isinstance(part, Grid):
            _grid(page, part)
        else:
            _pairs(page, part)
        if part.note:
            _text(page, part.note, size=8, colour=GREY)
    return bytes(page.output())


def plain(text: str) -> str:
    """In the letters of the fonts; the others as escapes."""
    return text.translate(_PLAIN).encode("latin-1", "backslashreplace").decode("latin-1")


def _head(page: FPDF, report: Report) -> None:
    page.set_font("Helvetica", "B", 18)
    page.set_text_color(*INK)
    page.cell(0, 9, plain(report.title), new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    _text(page, report.subtitle, size=11, colour=GREY)
    for mark in report.marks:
        page.ln(2)
        page.set_font("Helvetica", "B", 11)
        page.set_text_color(*HAZARD)
        page.set_draw_color(*HAZARD)
        page.set_line_width(0.6)
        words = plain(mark)
        page.cell(page.get_string_width(words) + 8, 8, words, border=1, align="C", new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _title(page: FPDF, title: str) -> None:
    if page.will_page_break(24):  # a heading stands with what follows it
        page.add_page()
    page.ln(5)
    page.set_draw_color(*LINE)
    page.set_line_width(0.2)
    page.line(page.l_margin, page.y, page.w - page.r_margin, page.y)
    page.ln(2)
    page.set_font("Helvetica", "B", 11)
    page.set_text_color(*INK)
    page.multi_cell(0, 6, plain(title), new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _pairs(page: FPDF, part: Pairs) -> None:
    """Labels on the left, texts of any length on the right: they run on over pages."""
    for label, words in part.rows:
        if page.will_page_break(LEADING):
            page.add_page()
        top, number = page.y, page.page
        page.set_font("Helvetica", size=8.5)
        under_label = _column(page, label, left=EDGE, width=LABEL, colour=GREY)
        if page.page == number:
            page.set_y(top)
        under_words = _column(page, words, left=EDGE + LABEL + 2, width=page.epw - LABEL - 2, colour=INK)
        page.set_xy(EDGE, max(under_label, under_words) + 1 if page.page == number else page.y + 1)


def _column(page: FPDF, text: str, *, left: float, width: float, colour: tuple[int, int, int]) -> float:
    """Writes it and says where it ends."""
    page.set_text_color(*colour)
    page.set_x(left)
    shown = plain(text)
    if page.get_string_width(shown) < width - 2 * page.c_margin and "\n" not in shown:  # most are: much quicker
        page.cell(width, LEADING, shown, new_x=XPos.LEFT, new_y=YPos.NEXT)
    else:
        page.multi_cell(width, LEADING, shown, align="L", new_x=XPos.LEFT, new_y=YPos.NEXT)
    return page.y


def _grid(page: FPDF, part: Grid) -> None:
    page.set_font("Helvetica", size=7.5)
    page.set_text_color(*INK)
    page.set_draw_color(*LINE)
    page.set_line_width(0.2)
    head = FontFace(emphasis="", color=GREY)
    with page.table(
        borders_layout=TableBordersLayout.HORIZONTAL_LINES,
        headings_style=head,
        line_height=4,
        padding=(0.8, 1.5, 0.8, 0),
        text_align="LEFT",
        first_row_as_headings=True,
    ) as table:
        for cells in (part.head, *part.rows):
            row = table.row()
            for cell in cells:
                row.cell(plain(cell))


def _text(page: FPDF, words: str, *, size: float, colour: tuple[int, int, int]) -> None:
    page.set_font("Helvetica", size=size)
    page.set_text_color(*colour)
    page.multi_cell(0, size * 0.5, plain(words), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
