"""Expressions as trees: what they are made of, and parts of them replaced."""

from dataclasses import dataclass, replace
from fractions import Fraction


@dataclass(frozen=True)
class Node:
    """An expression: an operation on its arguments, a number, or a symbol."""

    kind: str
    args: tuple["Node", ...] = ()
    value: Fraction = Fraction(0)
    name: str = ""


def number(value: int | Fraction) -> Node:
    return Node("number", value=Fraction(value))


def symbols(node: Node) -> set[str]:
    return {node.name} if node.kind == "symbol" else {name for arg in node.args for name in symbols(arg)}


def has(node: Node, kind: str, name: str | None = None) -> bool:
    """Whether an expression has a node of a kind and, if given, of a name."""
    return (node.kind == kind and name in (None, node.name)) or any(has(arg, kind, name) for arg in node.args)


def in_radians(node: Node) -> Node:
    """The expression with its degrees as parts of pi."""
    args = tuple(map(in_radians, node.args))
    if node.kind == "degree":
        return Node("product", (*args, Node("pi"), number(Fraction(1, 180))))
    return replace(node, args=args)


def rename(node: Node, name: str, new: Node) -> Node:
    """The expression with another one in a symbol's place."""
    if node.kind == "symbol" and node.name == name:
        return new
    return replace(node, args=tuple(rename(arg, name, new) for arg in node.args))


def with_function(node: Node, name: str, new: str) -> Node:
    """The expression with another function in a function's place."""
    args = tuple(with_function(arg, name, new) for arg in node.args)
    return replace(node, args=args, name=new if node.kind == "function" and node.name == name else node.name)


class TooCostlyError(ValueError):
    """The value has too many digits."""
