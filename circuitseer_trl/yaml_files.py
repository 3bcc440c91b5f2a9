"""How is YAML read? An error names the file and the line."""

from pathlib import Path
from typing import Any

import yaml

# A recipe has some dozen keys. A mistaken file is refused, not parsed for minutes.
MAX_BYTES = 1 << 18
MAX_NODES = 100_000  # with every alias counted as a copy of what it names


_TIMESTAMP = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """Raises if a mapping has a key twice: PyYAML itself takes the last of the two. A date is text, as the keys take it."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML's own name
        sign: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for sign, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[Any, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise ValueError(f"line {line}: a key must be one word, not a list or a mapping.")
            if key.value in lines and key.tag != "tag:yaml.org,2002:merge":
                raise ValueError(
                    f"line {line}: the key `{key.value}` is already in line {lines[key.value]}. Remove one of the two."
                )
            lines[key.value] = line
        return super().construct_mapping(node, deep)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag not in (None, "!"):
            line = 0 if event.start_mark is None else event.start_mark.line + 1
            raise ValueError(f"line {line}: it has the tag {event.tag!r}. Remove it: values have no tags.")
        return super().compose_node(parent, index)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, IndexError) as error:  # such as for the number 0x_
            if isinstance(node, yaml.ScalarNode):
                raise ValueError(
                    f"line {node.start_mark.line + 1}: {node.value[:80]!r} is no value: {error}."
                ) from None
            raise


def _check_nodes(root: yaml.Node) -> None:
    """Raises if a text is none, or if aliases stand for more values than memory holds: a few lines of them can do so."""
    sizes: dict[yaml.Node, int] = {}
    open_nodes: set[yaml.Node] = set()

    def size(node: yaml.Node) -> int:
        line = node.start_mark.line + 1
        if isinstance(node, yaml.ScalarNode):
            if any("\ud800" <= sign <= "\udfff" for sign in node.value):
                raise ValueError(f"line {line}: the text has half of a surrogate pair.")
            return 1
        if node in open_nodes:
            raise ValueError(f"line {line}: an alias stands within what it names.")
        if node not in sizes:
            open_nodes.add(node)
            children = [child for pair in node.value for child in (pair if isinstance(pair, tuple) else (pair,))]
            sizes[node] = 1 + sum(size(child) for child in children)
            open_nodes.remove(node)
        if sizes[node] > MAX_NODES:
            raise ValueError(f"line {line}: aliases make more than {MAX_NODES} values of it.")
        return sizes[node]

    size(root)


def _parse(text: str) -> Any:
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return {}
        _check_nodes(root)
        return loader.construct_document(root)
    finally:
        loader.dispose()


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads a YAML mapping. Errors name the file and the line."""
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} has more than {MAX_BYTES} bytes, so it is no YAML file of settings.")
    try:
        values = _parse(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path} is not UTF-8 text: line {line}: {error.reason}.") from None
    except yaml.MarkedYAMLError as error:
        line_text = "" if error.problem_mark is None else f"line {error.problem_mark.line + 1}: "
        raise ValueError(f"{path} is not YAML: {line_text}{error.problem}.") from error
    except RecursionError:
        raise ValueError(f"{path} is not YAML that can be read: it is nested too deeply.") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} must be a mapping of keys to values, got a {type(values).__name__}.")
    for key in values:
        if not isinstance(key, str):
            raise ValueError(f"{path} has the key {key!r}, which is no word. Write it in quotes, or remove it.")
    return values
