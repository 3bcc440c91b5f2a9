"""What can an answer be read as? Each text is read once, and its views are made when a rule first asks for them."""

import re
from functools import cached_property, lru_cache

from circuitseer_trl.grading.expressions import parse_expression
from circuitseer_trl.grading.families import Family, parse_family
from circuitseer_trl.grading.nodes import Node
from circuitseer_trl.grading.phrases import roman_numbers
from circuitseer_trl.grading.real_sets import RealSet, parse_real_set
from circuitseer_trl.grading.relations import assigned, name_of
from circuitseer_trl.grading.structure import (
    case_rows,
    compact,
    expand_signs,
    matrix_cells,
    relation_parts,
    split_top_level,
    strip_brackets,
)
from circuitseer_trl.grading.units import split_unit

_REMARK = re.compile(
    r'(?<=\S)\s*[,;]?\s*"(?:for (?:all|any|every|each|some)|for|where|其中|with'
    r'|is (?:the|a|our|one) (?:solution|answer|root))\b(?:[^"]*)".*$'
    r'|(?<=\S)\s*\(?\s*"\(?\s*(?:since|because|by)\b[^"]*".*$',
    re.DOTALL,
)


class Reading:
    """A normalised text, and what it can be read as.

    A view is None where the text is no such thing; `node` and `matrix` raise `ParseError` where it is broken.
    """

    def __init__(self, text: str) -> None:
        self.text = text.strip()

    @cached_property
    def compact(self) -> str:
        """The text without what spacing alone can change."""
        return compact(self.text)

    @cached_property
    def bare(self) -> "Reading":
        """The answer without a closing "for all x" or "where n is an integer"."""
        if self.cases is not None:
            return self
        return read(_REMARK.sub("", self.text).strip() or self.text)

    @cached_property
    def is_words(self) -> bool:
        return '"' in self.text and not re.search(r"\d", self.text)

    @cached_property
    def parts(self) -> list[str]:
        """Sides and relations in turn: `1 < x` gives three parts, an expression one."""
        return relation_parts(self.text)

    @cached_property
    def value(self) -> "Reading | None":
        """The value that an equation gives to a name, such as 5 in `x = 5`."""
        value = assigned(self.text)
        return None if value is None else read(value)

    @cached_property
    def value_of_sum(self) -> "Reading | None":
        """The value of `a + b = 5`, which answers a question for no equation."""
        value = assigned(self.text, sums=True)
        return None if value is None else read(value)

    @cached_property
    def name(self) -> str | None:
        """The name in `x = 5`."""
        return name_of(self.text)

    @cached_property
    def components(self) -> "list[Reading] | None":
        return _tuple(self.text)

    @cached_property
    def point(self) -> "list[Reading] | None":
        """Coordinates of a point with or without its name, `P(1, 2)`."""
        return _tuple(re.sub(r"^[A-Z](?=\s*\()", "", self.text))

    @cached_property
    def places(self) -> "list[Reading]":
        """Coordinates of a tuple, with the names that `(x, y) = (1, 2)` and `x = y = 1` give them; nothing for others."""
        if self.point or self.value is None:
            return self.point or []
        values = self.value.components
        names = _tuple(self.parts[0])
        if values is None and len(self.parts) > 3 and set(self.parts[1::2]) == {"="}:
            names = [read(part) for part in self.parts[:-1:2]]
            values = [self.value] * len(names)
        if values is None or names is None or len(names) != len(values):
            return values or []
        return [read(f"{name.text} = {value.text}") for name, value in zip(names, values, strict=True)]

    @cached_property
    def cases(self) -> "list[list[Reading]] | None":
        """Values and conditions of a function defined by cases."""
        rows = case_rows(self.text)
        return None if rows is None else [[read(part) for part in row] for row in rows]

    @cached_property
    def without_system(self) -> "Reading":
        """A system of equations as the list of its equations; anything else as it is."""
        rows = self.cases or []
        equations = len(rows) > 1 and all(len(row) == 1 and len(row[0].parts) > 1 for row in rows)
        return read(" , ".join(row[0].text for row in rows)) if equations else self

    @cached_property
    def matrix(self) -> list[list[Node]] | None:
        return matrix_cells(self.text)

    @cached_property
    def column(self) -> list[list[Node]] | None:
        """A tuple as the column that it may be written as."""
        parts = (self.value or self).components
        return [[part.node] for part in parts] if parts is not None else None

    @cached_property
    def real_set(self) -> RealSet | None:
        return parse_real_set(self.text)

    @cached_property
    def family(self) -> Family | None:
        return parse_family(self.text)

    @cached_property
    def unnamed_family(self) -> Family | None:
        """The family of 6k + 1 where only the other answer says that k is an integer."""
        return parse_family(self.text, said=False)

    @cached_property
    def _quantity(self) -> "tuple[str, str]":
        return split_unit(self.text)

    @property
    def core(self) -> str:
        """The text without its unit."""
        return self._quantity[0]

    @property
    def unit(self) -> str:
        return self._quantity[1]

    @cached_property
    def node(self) -> Node:
        """The expression, without its unit."""
        return parse_expression(self.core)

    @cached_property
    def with_letters(self) -> Node:
        """The expression with its unit taken for factors: the 6m that may be six metres or six times m."""
        return parse_expression(re.sub(r'"([A-Za-z]+)"', r"\1", self.text))

    @cached_property
    def is_set(self) -> bool:
        text = (self.value or self).text if len(self.pieces) == 1 else self.text
        return _braced(text) is not None

    @cached_property
    def pieces(self) -> list[str]:
        """Parts between commas, semicolons, "and" and "or" that are in no brackets."""
        return split_top_level(self.text)

    @cached_property
    def only_or(self) -> bool:
        """Whether its parts are joined by "or" alone."""
        return len(self.pieces) > 1 and len(split_top_level(self.text, r"\\or(?![A-Za-z])")) == len(self.pieces)

    @cached_property
    def items(self) -> "list[Reading]":
        """The parts of a list or of a set in braces, with every plus-minus written out."""
        return self._items(together=True)

    @cached_property
    def items_of_all_signs(self) -> "list[Reading]":
        """The same, with every plus-minus by itself."""
        return self._items(together=False) if self.text.count(r"\pm") > 1 else self.items

    def _items(self, *, together: bool) -> "list[Reading]":
        if self.cases is not None:
            return [self]
        text = self.text
        inner = _braced(text)
        if inner is None and len(self.pieces) == 1 and self.value is not None:
            inner = strip_brackets(self.value.text, r"\{", r"\}")
        if inner is not None and not re.search(r"[|:]", inner) and inner and inner != r"\emptyset":
            text = inner
        parts = roman_numbers(_without_domain(split_top_level(_with_separators(text))))
        return [read(each) for part in parts for each in expand_signs(part, together=together)]


@lru_cache(maxsize=4096)
def read(text: str) -> Reading:
    """The one reading of a text."""
    return Reading(text)


def _with_separators(text: str) -> str:
    """(1) 2 (2) 3 with a comma before each further label."""
    labels = re.findall(r"\(([1-9])\)", text)
    if len(labels) < 2 or labels != [str(n + 1) for n in range(len(labels))] or not text.startswith("("):
        return text
    return re.sub(r"(?<=[^\s,;(])\s+(?=\([2-9]\)\s*[^\s,;)])", " , ", text)


def _braced(text: str) -> str | None:
    inner = strip_brackets(text, r"\{", r"\}")
    return inner if inner is not None else strip_brackets(text, "{", "}")


def _tuple(text: str) -> list[Reading] | None:
    inner = strip_brackets(text, "(", ")")
    parts = split_top_level(inner) if inner is not None else []
    return [read(part) for part in parts] if len(parts) > 1 else None


def _without_domain(parts: list[str]) -> list[str]:
    """Parts without a closing "where C is any constant" or `k \\in Z`."""
    kept = list(parts)
    domain = r"\\in\s*(?:\\?[RZNQ]|\{\s*[RZNQ]\s*\})(?:[_^]\S+)?"
    remark = re.compile(rf'(?:"where[^"]*")?.*(?:{domain}|"[^"]*(?:constant|integer|常数|整数)[^"]*")\s*')
    if len(kept) > 1 and len(kept[-1]) < 500 and remark.fullmatch(kept[-1]):
        kept.pop()
        while len(kept) > 1 and re.fullmatch(r"[A-Za-z](?:_\S+)?", kept[-1]):
            kept.pop()
    return kept
