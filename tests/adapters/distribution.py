"""Reads our SQL as somebody who must run it on many servers: which rows of which tables meet, and by which column.

    statement ──PostgreSQL's own parser──► levels (a query, and the queries within it) ──► columns that are equal ──► findings

1. A column is followed through aliases, subqueries, CTEs and USING to the table that it comes from. Columns that a WHERE or ON with
   AND sets equal are one; so are those that are equal to the same parameter.
2. Rows of two distributed tables that meet in one level, or in a level and one within it, must be equal in the distribution column.
3. What a CTE hands on is a new row: it has a distribution column only if one of its columns is equal to that of all its sources.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import count
from typing import Any, Final

from pglast import ast, parse_sql
from pglast.enums import A_Expr_Kind, BoolExprType, SetOperation, SubLinkType

from tests.adapters.meeting import Equalities, Level, Member, Mention, Node, Place, called, inside

VOLATILE: Final = frozenset({"clock_timestamp", "random", "pg_notify", "nextval"})
STABLE: Final = frozenset({"now", "date_trunc", "date_bin"})
ROUTES: Final = ("one", "set", "all")


class Hindrance(StrEnum):
    """What Citus' documents and sources say that it does not do."""

    LOCKS = "locks rows of more than one shard (SELECT ... FOR UPDATE)"
    VOLATILE = "calls a VOLATILE function in an UPDATE or DELETE"
    CONFLICT = "calls a function that is not IMMUTABLE in ON CONFLICT DO UPDATE"
    RECURSIVE = "recurses over more than one shard"
    SAMPLE = "takes a sample of more than one shard (TABLESAMPLE)"
    REFERENCE = "writes a reference table by what other tables hold"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the rows of our tables lie. Others that a statement names are the session's own, or the system's."""

    columns: Mapping[str, frozenset[str]]
    distributed: Mapping[str, str]
    """The distribution column by table."""
    replicated: frozenset[str]
    """Reference tables: the same on every server."""


@dataclass(slots=True)
class Findings:
    """What is to be said of a statement."""

    route: str | None = None
    """one: a shard, for the domain is named; set: of domains that are named; all: asks every shard; None: touches none."""
    apart: set[str] = field(default_factory=set)
    """Tables that meet otherwise than in their distribution column."""
    blind: set[str] = field(default_factory=set)
    """Tables that are written without the distribution column."""
    hindrances: set[Hindrance] = field(default_factory=set)


def read(sql: str, layout: Layout) -> Findings:
    """What is to be said of a statement; of one that is no query (DO), nothing."""
    (statement,) = parse_sql(sql)
    return _Reader(layout).judged(statement.stmt)


class _Reader:
    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.found = Findings()
        self._equal = Equalities()
        self._numbers = count(1)
        self._sets: set[Node] = set()
        self._roots: list[Level] = []
        self._written: list[tuple[Member, Level]] = []

    # --- queries: each returns its columns

    def _query(self, tree: Any, at: Place) -> dict[str, Node]:
        if tree.withClause:
            at = self._with(tree.withClause, at)
        if isinstance(tree, ast.InsertStmt):
            return self._insert(tree, at)
        if not isinstance(tree, ast.SelectStmt):
            return self._change(tree, at)
        if tree.op != SetOperation.SETOP_NONE:
            return self._union(tree, at)
        if tree.valuesLists:
            return {
                f"column{n}": self._node(value, at) or self._new()
                for n, value in enumerate(tree.valuesLists[0], 1)
            }
        return self._select(tree, at)

    def _with(self, clause: Any, at: Place) -> Place:
        for cte in clause.ctes:
            level = Level()
            self._roots.append(level)
            known = {**at.ctes, cte.ctename: (None, level)} if clause.recursive else at.ctes
            columns = self._query(cte.ctequery, replace(at, level=level, ctes=known))
            at = replace(
                at, ctes={**at.ctes, cte.ctename: (Mention(_renamed(columns, cte.aliascolnames)), level)}
            )
            names = {table.relname for table in inside(cte.ctequery, ast.RangeVar)}
            if clause.recursive and level.everything() and cte.ctename in names:
                self.found.hindrances.add(Hindrance.RECURSIVE)
        return at

    def _union(self, tree: Any, at: Place) -> dict[str, Node]:
        levels = (Level(), Level())
        at.level.arms += levels
        one, other = (
            self._query(arm, replace(at, level=level))
            for arm, level in zip((tree.larg, tree.rarg), levels, strict=True)
        )
        for ours, theirs in zip(one.values(), other.values(), strict=False):
            self._equal.join(ours, theirs)
        return one

    def _select(self, tree: Any, at: Place) -> dict[str, Node]:
        frame: dict[str, Mention] = {}
        at = replace(at, scopes=(*at.scopes, frame))
        for item in tree.fromClause or ():
            self._from(item, frame, at)
        self._condition(tree.whereClause, at)
        self._expressions((tree.targetList, tree.havingClause, tree.sortClause, tree.limitCount), at)
        at.level.locks |= bool(tree.lockingClause)
        return self._columns(tree.targetList, frame, at)

    def _insert(self, tree: Any, at: Place) -> dict[str, Node]:
        target, member = self._table(tree.relation.relname)
        names = [item.name for item in tree.cols or ()]
        given = self._query(tree.selectStmt, at) if tree.selectStmt else {}
        for column, node in zip(names, given.values(), strict=False):
            self._equal.join(target.node(column), node)
        if member is not None:
            at.level.members.append(member)
            if member.by not in names:
                self.found.blind.add(member.name)
        frame = {_alias(tree.relation): target, "excluded": target}
        at = replace(at, scopes=(*at.scopes, frame))
        if clause := tree.onConflictClause:
            parts = (clause.targetList, clause.whereClause)
            self._expressions(parts, at)
            shared = member is not None or tree.relation.relname in self.layout.replicated
            if shared and set(called(parts)) & (VOLATILE | STABLE):
                self.found.hindrances.add(Hindrance.CONFLICT)
        return self._returned(tree, frame, at)

    def _change(self, tree: Any, at: Place) -> dict[str, Node]:
        target, member = self._table(tree.relation.relname)
        frame = {_alias(tree.relation): target}
        at = replace(at, scopes=(*at.scopes, frame))
        if member is not None:
            at.level.members.append(member)
            self._written.append((member, at.level))
        is_update = isinstance(tree, ast.UpdateStmt)
        for item in (tree.fromClause if is_update else tree.usingClause) or ():
            self._from(item, frame, at)
        changes = tree.targetList if is_update else ()
        self._condition(tree.whereClause, at)
        self._expressions(changes, at)
        if member is not None and set(called((changes, tree.whereClause))) & VOLATILE:
            self.found.hindrances.add(Hindrance.VOLATILE)
        others = {str(table.relname) for table in inside(tree, ast.RangeVar)} & self.layout.columns.keys()
        if tree.relation.relname in self.layout.replicated and others - self.layout.replicated:
            self.found.hindrances.add(Hindrance.REFERENCE)
        return self._returned(tree, frame, at)

    def _returned(self, tree: Any, frame: dict[str, Mention], at: Place) -> dict[str, Node]:
        targets = tree.returningClause.exprs if tree.returningClause else ()
        self._expressions(targets, at)
        return self._columns(targets, frame, at)

    def _columns(self, targets: Any, frame: dict[str, Mention], at: Place) -> dict[str, Node]:
        columns: dict[str, Node] = {}
        for place, target in enumerate(targets or ()):
            value = target.val
            fields = value.fields if isinstance(value, ast.ColumnRef) else ()
            if fields and isinstance(fields[-1], ast.A_Star):
                for mention in [frame[fields[0].sval]] if len(fields) > 1 else frame.values():
                    columns = {**mention.nodes, **columns}
            else:
                name = target.name or (fields[-1].sval if fields else f"?{place}")
                columns[name] = self._node(value, at) or self._new()
        return columns

    # --- what stands in a FROM

    def _from(self, item: Any, frame: dict[str, Mention], at: Place) -> None:
        number = next(self._numbers)
        if isinstance(item, ast.JoinExpr):
            self._joined(item, frame, at)
        elif isinstance(item, ast.RangeTableSample):
            self.found.hindrances.add(Hindrance.SAMPLE)
            self._from(item.relation, frame, at)
        elif isinstance(item, ast.RangeVar):
            frame[_alias(item)] = self._named(str(item.relname), at)
        elif isinstance(item, ast.RangeSubselect):
            nodes = self._query(item.subquery, at)
            frame[_alias(item)] = Mention(_renamed(nodes, item.alias.colnames if item.alias else ()))
        else:
            names = [name.sval for name in item.alias.colnames or ()] if item.alias else []
            frame[_alias(item)] = Mention({name: (number, name) for name in names}, number, is_open=not names)

    def _joined(self, item: Any, frame: dict[str, Mention], at: Place) -> None:
        sides: list[list[Mention]] = []
        for side in (item.larg, item.rarg):
            before = dict(frame)
            self._from(side, frame, at)
            sides.append([frame[alias] for alias in frame.keys() - before.keys()])
        for column in item.usingClause or ():
            one, other = ([node for m in side if (node := m.node(column.sval))] for side in sides)
            self._equal.join(next(iter(one), None), next(iter(other), None))
        self._condition(item.quals, at)

    def _table(self, name: str) -> tuple[Mention, Member | None]:
        number = next(self._numbers)
        known = self.layout.columns.get(name)
        mention = Mention({column: (number, column) for column in known or ()}, number, is_open=known is None)
        by = self.layout.distributed.get(name)
        return mention, None if by is None else Member(name, (number, by), by)

    def _named(self, name: str, at: Place) -> Mention:
        if name not in at.ctes:
            mention, member = self._table(name)
            at.level.members += [] if member is None else [member]
            return mention
        cte, level = at.ctes[name]
        number = next(self._numbers)
        if cte is None:
            return Mention({}, number, is_open=True)
        if sources := list(level.sources()):
            keys = [
                (number, column)
                for column, node in cte.nodes.items()
                if all(self._equal.same(node, source.key) for source in sources)
            ]
            for key in keys:
                self._equal.join(key, keys[0])
            at.level.members.append(Member(name, keys[0] if keys else None, sources[0].by, is_table=False))
        return Mention({column: (number, column) for column in cte.nodes}, number)

    # --- expressions

    def _new(self) -> Node:
        return (next(self._numbers), "computed")

    def _node(self, tree: Any, at: Place) -> Node | None:
        """The column or parameter that an expression is; None: it is computed."""
        if isinstance(tree, ast.TypeCast):
            return self._node(tree.arg, at)
        if isinstance(tree, ast.ParamRef):
            return ("$", str(tree.number))
        if not isinstance(tree, ast.ColumnRef):
            return None
        *alias, column = (getattr(part, "sval", "*") for part in tree.fields or ())
        for frame in reversed(at.scopes):
            those = [frame[alias[-1]]] if alias and alias[-1] in frame else [] if alias else frame.values()
            for mention in sorted(those, key=lambda one: one.is_open):
                if (node := mention.node(column)) is not None:
                    return node
        return None

    def _condition(self, tree: Any, at: Place) -> None:
        self._equate(tree, at)
        self._expressions(tree, at)

    def _equate(self, tree: Any, at: Place) -> None:
        if isinstance(tree, ast.BoolExpr) and tree.boolop == BoolExprType.AND_EXPR:
            for part in tree.args or ():
                self._equate(part, at)
        elif isinstance(tree, ast.A_Expr) and [part.sval for part in tree.name or ()] == ["="]:
            node = self._node(tree.lexpr, at)
            if tree.kind == A_Expr_Kind.AEXPR_OP:
                self._equal.join(node, self._node(tree.rexpr, at))
            elif tree.kind == A_Expr_Kind.AEXPR_OP_ANY and node is not None:
                self._sets.add(node)

    def _expressions(self, trees: object, at: Place) -> None:
        for link in inside(trees, ast.SubLink):
            within = Level()
            at.level.within.append(within)
            columns = self._query(link.subselect, replace(at, level=within))
            if link.subLinkType == SubLinkType.ANY_SUBLINK:
                self._equal.join(self._node(link.testexpr, at), next(iter(columns.values()), None))

    # --- the judgement

    def judged(self, tree: Any) -> Findings:
        """Read it."""
        root = Level()
        self._roots.append(root)
        if isinstance(tree, (ast.SelectStmt, ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt)):
            self._query(tree, Place(root))
        for level in self._roots:
            self._meet(level, [])
        tables = [member for level in self._roots for member in level.everything() if member.is_table]
        numbers = {member.key[0] for member in tables if member.key is not None}
        routes = [self._route(member, numbers) for member in tables]
        self.found.route = max(routes, key=ROUTES.index, default=None)
        for member, level in self._written:
            beside = {other.key for within in level.within for other in within.everything()}
            if self._route(member, numbers) == "all" and self._equal.all_of(_key(member)) - beside == {
                member.key
            }:
                self.found.blind.add(member.name)
        if self.found.route == "one":
            self.found.hindrances -= {Hindrance.RECURSIVE, Hindrance.SAMPLE}
        elif any(level.locks and level.everything() for root in self._roots for level in root.all()):
            self.found.hindrances.add(Hindrance.LOCKS)
        return self.found

    def _meet(self, level: Level, above: list[Member]) -> None:
        meeting = [*above, *level.members]
        for place, one in enumerate(meeting):
            for other in meeting[max(place + 1, len(above)) :]:
                alike = one.by == other.by and self._equal.same(one.key, other.key)
                if not alike and (one.is_table or other.is_table):
                    self.found.apart.add(" and ".join(sorted((one.name, other.name))))
        for within in (*level.arms, *level.within):
            self._meet(within, meeting)

    def _route(self, member: Member, tables: set[int | str]) -> str:
        equal = self._equal.all_of(_key(member))
        if any(node[0] == "$" for node in equal):
            return "one"
        return "set" if any(node in self._sets or node[0] not in tables for node in equal) else "all"


def _key(member: Member) -> Node:
    assert member.key is not None
    return member.key


def _alias(item: Any) -> str:
    return str(item.alias.aliasname if item.alias else getattr(item, "relname", id(item)))


def _renamed(nodes: dict[str, Node], names: Any) -> dict[str, Node]:
    return dict(zip([name.sval for name in names], nodes.values(), strict=False)) if names else nodes
