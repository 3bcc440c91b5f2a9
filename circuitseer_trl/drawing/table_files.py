"""How is a table written to a file? CSV with the numbers themselves; Markdown and LaTeX as people read them."""

import csv
import io
import re

from circuitseer_trl.drawing.exhibits import Cell, Number, Table
from circuitseer_trl.terminal import visible

_MARKDOWN = re.compile(r"([\\|*_`<>\[\]&$~])")
# The rest of Unicode is for LuaLaTeX and XeLaTeX; pdfLaTeX knows accented letters and little more.
_LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}"},
    **{"\u2191": r"$\uparrow$", "\u2193": r"$\downarrow$", "\u2212": "$-$", "\u2264": r"$\leq$", "\u2265": r"$\geq$"},
    **{"\u03c1": r"$\rho$", "\u0394": r"$\Delta$", "\u2192": r"$\rightarrow$"},
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
    return "" if cell.value is None else str(cell.value)


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
    title = f"**{_markdown(table.title)}**" + (f". {_markdown(table.note)}" if table.note else "")
    return "\n".join([title, "", aligned[0] + " |", rule + "|", *(line + " |" for line in aligned[1:]), ""])


def _aligned(cell: str, width: int, to_right: bool) -> str:
    return cell.rjust(width) if to_right else cell.ljust(width)


def _is_number(table: Table, place: int) -> bool:
    return any(isinstance(line[place], Number) for line in table.rows)


def _one_line(text: str) -> str:
    return visible(" ".join(text.split()))


def _markdown(cell: Cell) -> str:
    text = cell if isinstance(cell, str) else cell.text
    text = _MARKDOWN.sub(r"\\\1", _one_line(text))
    if isinstance(cell, str):
        return text
    text = f"**{text}**" if cell.strong else text
    return f"{text} {cell.arrow}{cell.change}" if cell.change else text


def latex_text(text: str) -> str:
    text = "".join(_LATEX.get(sign, sign) for sign in _one_line(text))
    text = re.sub(r"(?<![\w.])-(?=\d)", "$-$", text)
    return f"{{}}{text}" if text[:1] in ("[", "*") else text  # after the end of a line these would be its options


def table_latex(table: Table) -> str:
    """A table for the package booktabs."""
    columns = "".join(
        "p{6cm}" if name in table.text_columns else "r" if _is_number(table, place) else "l"
        for place, name in enumerate(table.heading)
    )
    caption = latex_text(table.title + (f". {table.note}" if table.note else ""))
    label = re.sub(r"[^a-zA-Z0-9.-]+", "-", table.name)
    body = [f"    {' & '.join(map(_latex, line))} \\\\" for line in table.rows]
    return "\n".join(
        [
            *(r"% needs \usepackage{booktabs} and \usepackage[T1]{fontenc}", r"\begin{table}", r"  \centering"),
            *(f"  \\caption{{{caption}}}", f"  \\label{{tab:{label}}}", f"  \\begin{{tabular}}{{{columns}}}"),
            *(r"    \toprule", f"    {' & '.join(map(latex_text, table.heading))} \\\\", r"    \midrule", *body),
            *(r"    \bottomrule", r"  \end{tabular}", r"\end{table}", ""),
        ]
    )


def _latex(cell: Cell) -> str:
    if isinstance(cell, str):
        return latex_text(cell)
    text = latex_text(cell.text)
    text = f"\\textbf{{{text}}}" if cell.strong else text
    change = latex_text(f"{cell.arrow}{cell.change}")
    return f"{text} {{\\scriptsize {change}}}" if cell.change else text
