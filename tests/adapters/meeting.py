"""Which rows meet in a statement, and in which columns they are equal: what `tests.adapters.distribution` takes down and judges."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pglast import ast

Node: TypeAlias = tuple[int | str, str]
"""A column of one mention of a table, or a parameter."""


class Equalities:
    """Columns that are equal, in classes."""

    def __init__(self) -> None:
        self._parents: dict[Node, Node] = {}

    def join(self, one: Node | None, other: Node | None) -> None:
        """These are equal; what was computed (None) is equal to nothing."""
        if one is not None and other is not None:
            self._parents[self._root(one)] = self._root(other)

    def same(self, one: Node | None, other: Node | None) -> bool:
        """Are they?"""
        return one is not None and other is not None and self._root(one) == self._root(other)

    def all_of(self, node: Node) -> set[Node]:
        """What is equal to it, itself among them."""
        known = {*self._parents, *self._parents.values(), node}
        return {other for other in known if self.same(other, node)}

    def _root(self, node: Node) -> Node:
        while (up := self._parents.get(node, node)) != node:
            node = up
        return node


@dataclass(slots=True, eq=False)
class Mention:
    """A table, a function, a CTE or a subquery in a FROM."""

    nodes: dict[str, Node]
    number: int = 0
    is_open: bool = False
    """It has whatever column it is asked for: a function, a table of the system."""

    def node(self, column: str) -> Node | None:
        """That column of it; None: it has none."""
        if column not in self.nodes and self.is_open:
            self.nodes[column] = (self.number, column)
        return self.nodes.get(column)


@dataclass(slots=True, eq=False)
class Member:
    """Rows of a distributed table, or of a CTE that has such rows."""

    name: str
    key: Node | None
    """Their distribution column; None: it was not handed on."""
    by: str
    is_table: bool = True


@dataclass(slots=True, eq=False)
class Level:
    """A query: what meets in it, and the queries within it that look at its rows."""

    members: list[Member] = field(default_factory=list)
    arms: list["Level"] = field(default_factory=list)
    """Of UNION: what meets the rows of one does not meet those of another."""
    within: list["Level"] = field(default_factory=list)
    """In an expression: EXISTS and the like."""
    locks: bool = False

    def sources(self) -> Iterator[Member]:
        """What its rows are made of."""
        yield from self.members
        for arm in self.arms:
            yield from arm.sources()

    def all(self) -> Iterator["Level"]:
        """It, and those within it."""
        yield self
        for level in (*self.arms, *self.within):
            yield from level.all()

    def everything(self) -> list[Member]:
        """What is read or written in it, at whatever depth."""
        return [member for level in self.all() for member in level.members]


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a statement we are: what a name means there."""

    level: Level
    scopes: tuple[dict[str, Mention], ...] = ()
    """From the outermost query to this one: what stands in its FROM."""
    ctes: dict[str, tuple[Mention | None, Level]] = field(default_factory=dict)
    """None: we are within it (a recursive one)."""


def inside(tree: object, kind: type) -> Iterator[Any]:
    """The nodes of a kind, but for what lies within them."""
    if isinstance(tree, kind):
        yield tree
    elif isinstance(tree, (tuple, list, ast.Node)):
        parts: Iterable[object] = (
            [getattr(tree, name) for name in tree] if isinstance(tree, ast.Node) else tree
        )
        for part in parts:
            yield from inside(part, kind)


def called(trees: object) -> Iterator[str]:
    """Functions that are called, also in queries within."""
    for call in inside(trees, ast.FuncCall):
        yield call.funcname[-1].sval
        yield from called(call.args)
