"""How is a table written to a file? CSV with the numbers themselves; Markdown and LaTeX as people read them."""

import csv
import io
import re

from circuitseer_trl.drawing.exhibits import Cell, Number, Table

ARROWS = {"+": ("\u2191", r"$\uparrow$"), "-": ("\u2193", r"$\downarrow$")}
_LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}"},
}


def table_csv(table: Table) -> str:
    """Numbers are not rounded. A column with changes has another one for them, and one with text beside its numbers as well."""
    columns = list(zip(*table.rows, strict=True)) if table.rows else [() for _ in table.heading]
    heading, lines = list[str](), list[list[str]]()
    for name, column in zip(table.heading, columns, strict=True):
        heading.append(name)
        lines.append([_value(cell) for cell in column])
        if any(isinstance(cell, Number) and cell.change for cell in column):
            heading.append(f"{name}, change")
            lines.append([cell.change if isinstance(cell, Number) else "" for cell in column])
        if any(isinstance(cell, Number) and "[" in cell.text for cell in column):
            heading.append(f"{name}, as text")
            lines.append([cell.text if isinstance(cell, Number) else cell for cell in column])
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(heading)
    writer.writerows(zip(*lines, strict=True))
    return stream.getvalue()


def _value(cell: Cell) -> str:
    if isinstance(cell, str):
        return cell
    return "" if cell.value is None else repr(cell.value)


def table_markdown(table: Table) -> str:
    rows = [[_markdown(cell) for cell in line] for line in ([*table.heading], *table.rows)]
    widths = [max(3, *(len(line[place]) for line in rows)) for place in range(len(table.heading))]
    right = [_is_number(table, place) for place in range(len(table.heading))]
    aligned = [
        "| " + " | ".join(_aligned(cell, width, to_right) for cell, width, to_right in zip(line, widths, right, strict=True))
        for line in rows
    ]  # fmt: skip
    rule = "|" + "|".join(
        "-" * (width + 1) + (":" if to_right else "-") for width, to_right in zip(widths, right, strict=True)
    )
    title = f"**{table.title}**" + (f". {table.note}" if table.note else "")
    return "\n".join([title, "", aligned[0] + " |", rule + "|", *(line + " |" for line in aligned[1:]), ""])


def _aligned(cell: str, width: int, to_right: bool) -> str:
    return cell.rjust(width) if to_right else cell.ljust(width)


def _is_number(table: Table, place: int) -> bool:
    return any(isinstance(line[place], Number) for line in table.rows)


def _markdown(cell: Cell) -> str:
    text = cell if isinstance(cell, str) else cell.text
    text = re.sub(r"([\\|*_`<>\[\]])", r"\\\1", " ".join(text.split()))
    if isinstance(cell, str):
        return text
    text = f"**{text}**" if cell.strong else text
    return f"{text} {_arrow(cell, 0)}{cell.change}" if cell.change else text


def _arrow(cell: Number, form: int) -> str:
    return ARROWS[cell.change[0]][form] if cell.change[0] in ARROWS else ""


def latex_text(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in " ".join(text.split()))


def table_latex(table: Table) -> str:
    """A table for the package booktabs."""
    columns = "".join("r" if _is_number(table, place) else "l" for place in range(len(table.heading)))
    lines = [" & ".join(map(latex_text, table.heading)) + r" \\"]
    body = [" & ".join(map(_latex, line)) + r" \\" for line in table.rows]
    caption = latex_text(table.title + (f". {table.note}" if table.note else ""))
    return "\n".join(
        [
            *(r"% needs \usepackage{booktabs} and \usepackage[T1]{fontenc}", r"\begin{table}", r"  \centering"),
            *(f"  \\caption{{{caption}}}", f"  \\begin{{tabular}}{{{columns}}}", r"    \toprule"),
            *(f"    {lines[0]}", r"    \midrule", *(f"    {line}" for line in body), r"    \bottomrule"),
            *(r"  \end{tabular}", r"\end{table}", ""),
        ]
    )


def _latex(cell: Cell) -> str:
    if isinstance(cell, str):
        return latex_text(cell)
    text = latex_text(cell.text)
    text = f"\\textbf{{{text}}}" if cell.strong else text
    return f"{text} {{\\scriptsize {_arrow(cell, 1)}{latex_text(cell.change)}}}" if cell.change else text
