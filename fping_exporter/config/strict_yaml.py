"""Strict parsing of YAML into typed values. Each error is one line: the place, and what would be right."""

import difflib
import json
import re
from collections.abc import Collection, Hashable, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
import yaml

from fping_exporter.errors import ConfigError

__all__ = ["Section", "convert", "dump", "parse", "read", "to_data"]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the sections of a configuration: immutable, without unknown keys."""


_S = TypeVar("_S", bound=Section)


def read(path: Path) -> str:
    """Return the text of the file at `path`; raise ConfigError when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read: {reason}") from None


def parse(text: str, kind: type[_S], *, source: str, as_text: Collection[str] = ()) -> _S:
    """Parse `text` into a `kind`. Raises ConfigError, which calls the text `source`.

    In the mappings at the paths `as_text`, such as ``http_server_config.headers``, keys and values are
    text as they are written, such as ``1`` or ``no``. Go's yaml reads them so where it wants a string.
    A type that msgspec does not know is parsed by its class method ``parse``, which raises ValueError.
    """
    try:
        loader = _StrictLoader(text)
        try:
            node = loader.get_single_node()
            for path in as_text:
                _read_as_text(node, path)
            data = loader.construct_document(node) if node else None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(f"{source}{place}: {error.problem or error.context}") from None
    except RecursionError:
        raise ConfigError(f"{source}: lists or mappings are nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:  # control characters; 2026-13-01
        raise ConfigError(f"{source}: {_one_line(str(error))}") from None
    try:
        return convert({} if data is None else data, kind)
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from None


def convert(data: object, kind: type[_S]) -> _S:
    """Convert what YAML gave into a `kind`. Raises ValueError with the place and what would be right."""
    try:
        return msgspec.convert(data, kind, strict=True, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise ValueError(_one_line(_explain(str(error), kind))) from None


def to_data(section: Section) -> dict[str, Any]:
    """Return a configuration, defaults included, as YAML would give it; :func:`convert` reads it back."""
    data: dict[str, Any] = msgspec.to_builtins(section, enc_hook=str)
    return data


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _decode(kind: Any, value: object) -> object:  # noqa: ANN401, any type with a method parse
    return kind.parse(value)


def dump(section: Section) -> str:
    """Return the YAML of a configuration, defaults included; :func:`parse` reads it back."""
    return yaml.safe_dump(to_data(section), sort_keys=False, allow_unicode=True)


def _read_as_text(node: yaml.Node | None, path: str) -> None:
    for name in path.split("."):
        if isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == name), None)
    if isinstance(node, yaml.MappingNode):
        for scalar in (each for pair in node.value for each in pair):
            if scalar.tag in _SCALAR_TAGS:
                scalar.tag = "tag:yaml.org,2002:str"


_SCALAR_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("bool", "float", "int", "timestamp")}


class _StrictLoader(yaml.SafeLoader):
    """A loader that refuses duplicate keys, and keys that are lists or mappings."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002, the base's signature
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(
                    problem="expected text as a key, got a list or a mapping", problem_mark=key.start_mark
                )
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_PLACE = re.compile(r"(?P<what>.*?)(?: - at (?P<key>`key` in )?`\$(?P<path>[^`]*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<key>.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<key>.*)`", re.DOTALL)
_CHOICE = re.compile(r"Invalid enum value (?P<got>.*)", re.DOTALL)
_KIND = re.compile(r"Expected `(?P<expected>[^`]*)`(?P<bound>.*?)(?:, got `(?P<got>[^`]*)`)?", re.DOTALL)
_KINDS = {
    "array": "a list",
    "bool": "true or false",
    "date": "a date",
    "datetime": "a time",
    "float": "a number",
    "int": "a whole number",
    "null": "nothing",
    "object": "a mapping",
    "str": "text",
}


def _explain(message: str, root: type[Section]) -> str:
    """Translate an error of msgspec into the terms of YAML."""
    found = _PLACE.fullmatch(message)
    assert found  # noqa: S101, the pattern matches any text
    what, path = found["what"], (found["path"] or "").lstrip(".")
    where = f"{path}: " if path else ""
    if unknown := _UNKNOWN.fullmatch(what):
        known = list(_section(_type_at(path, root)).__struct_encode_fields__)
        near = difflib.get_close_matches(unknown["key"], known, n=1, cutoff=0.5)
        hint = f'did you mean "{near[0]}"?' if near else "known are " + ", ".join(known)
        return f"{path + '.' if path else ''}{unknown['key']}: unknown key; {hint}"
    if missing := _MISSING.fullmatch(what):
        return f"{path + '.' if path else ''}{missing['key']}: missing, and it has no default"
    if choice := _CHOICE.fullmatch(what):
        allowed = _describe_choice(_type_at(path, root))
        return f"{where}expected {allowed}, got {choice['got'].replace(chr(39), chr(34))}"
    if kind := _KIND.fullmatch(what):
        # Null is left out of the message: a key that may be null may also be absent.
        expected = [_KINDS.get(name, name) for name in kind["expected"].split(" | ") if name != "null"]
        got = f", got {_KINDS.get(kind['got'], kind['got'])}" if kind["got"] else ""
        every = " as every key" if found["key"] else ""
        quote = "; put it in quotes if it is text" if "text" in expected and kind["got"] in _SCALARS else ""
        return f"{where}expected {' or '.join(expected)}{every}{kind['bound']}{got}{quote}"
    return where + what


_SCALARS = {"int", "float", "bool", "date", "datetime"}


def _type_at(path: str, root: type[Section]) -> Any:  # noqa: ANN401, types have no common type
    """Return the type of the value at `path`, such as ``instances.include[0].name``.

    msgspec writes an item of a list, and a value of a mapping with any keys, as ``[0]`` or ``[...]``.
    """
    kind: Any = root
    for name, item in re.findall(r"([^.[\]]+)|(\[[^]]*\])", path):
        if item:
            container = next(
                option for option in _options(kind) if get_origin(option) in (tuple, dict, Mapping)
            )
            # A tuple's items have the first of its arguments, a mapping's values the last but for ``...``.
            kind = [each for each in get_args(container) if each is not ...][-1]
        else:
            section = _section(kind)
            fields = dict(zip(section.__struct_encode_fields__, section.__struct_fields__, strict=True))
            kind = get_type_hints(section)[fields[name]]
    return kind


def _section(kind: Any) -> type[Section]:  # noqa: ANN401, types have no common type
    """Return the section in a union, or the type itself."""
    found: type[Section] = next(
        option for option in _options(kind) if issubclass(get_origin(option) or option, Section)
    )
    return found


def _options(kind: Any) -> list[Any]:  # noqa: ANN401, types have no common type
    """Return the members of a union, or the type itself."""
    kind = getattr(kind, "__value__", kind)
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, UnionType):
        return [option for each in get_args(kind) for option in _options(each)]
    return [kind]


def _describe_choice(kind: Any) -> str:  # noqa: ANN401, types have no common type
    """Return what is allowed where only certain texts or numbers are, alone or in a list."""
    values = [
        value for option in _options(kind) if get_origin(option) is Literal for value in get_args(option)
    ]
    allowed = [" or ".join(map(json.dumps, values))] if values else []
    for option in _options(kind):
        if get_origin(option) is tuple:
            (item, *_) = get_args(option)
            allowed.append("a list of " + ", ".join(map(json.dumps, get_args(item))))
    return " or ".join(allowed)
