"""What a migration may do while older programs go on: it only adds. Read with PostgreSQL's own parser."""

from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

from pglast import parse_sql
from pglast.enums import AlterTableType, ConstrType

from crawler.adapters.migrations import Migration
from crawler.adapters.postgres import Database
from tests.making import rows

BACK: Final = """
drop table links, page_words;
alter table fetches drop column tx;
alter table domain_pages drop column searched_at, drop column searched_hash;
alter table pages drop column fields, drop column simhash;
alter table crawls drop column keep_links, drop column search;
delete from migrations where number = 8
"""
"""What makes a database that is up to date lack its newest migration, number 8."""
FIRST_BOUND: Final = 7
"""The number of the first migration that is bound by the rule: the programs before it went on with no newer one anyway."""
PLAIN: Final = frozenset({"CreateSeqStmt", "CommentStmt"})
"""Statements that nobody notices."""
GIVEN: Final = {ConstrType.CONSTR_NULL, ConstrType.CONSTR_DEFAULT, ConstrType.CONSTR_NOTNULL}
"""What may be said of a new column."""
LETTING_GO: Final = {"c", "n", "d"}
"""What a new table may do when a row of an old one goes that it refers to: cascade, set null, set default."""


def objections(sql: str, columns: Iterable[str] = ()) -> list[str]:
    """Why older programs may not be able to go on with that. *columns*: the names that older tables have."""
    known, made, added = frozenset(columns), set[str](), set(columns_of(sql))
    found: list[str] = []
    for kind, statement in _statements(sql):
        found += _of_statement(kind, statement, known, made, added)
        if kind == "CreateStmt":
            made.add(statement.relation.relname)
    return found


def columns_of(sql: str) -> Iterator[str]:
    """The names of the columns that a migration adds, with its tables or to others."""
    for kind, statement in _statements(sql):
        parts: Any = ()
        if kind == "CreateStmt":
            parts = statement.tableElts or ()
        elif kind == "AlterTableStmt":
            parts = [command.def_ for command in statement.cmds]
        yield from (part.colname for part in parts if _kind(part) == "ColumnDef")


def _statements(sql: str) -> list[tuple[str, Any]]:
    return [(_kind(raw.stmt), raw.stmt) for raw in parse_sql(sql)]


def _kind(node: Any) -> str:
    """The parser's name of it."""
    return type(node).__name__


def _of_statement(
    kind: str, statement: Any, known: frozenset[str], made: set[str], added: Collection[str]
) -> Iterator[str]:
    """*made*: the tables that this migration has made; *added*: all columns that it adds."""
    match kind:
        case "CreateStmt":
            yield from _of_table(statement, made)
        case "IndexStmt":
            yield from _of_index(statement, made)
        case "AlterTableStmt" | "InsertStmt" if statement.relation.relname in made:
            pass
        case "AlterTableStmt":
            for command in statement.cmds:
                yield from _of_change(statement.relation.relname, command, known, added)
        case "DoStmt":
            yield "what a DO block does cannot be read: write it out"
        case _ if kind not in PLAIN:
            yield f"{kind} does more than add"


def _of_index(index: Any, made: set[str]) -> Iterator[str]:
    table = index.relation.relname
    if index.unique and table not in made:
        yield f"a unique index on {table} refuses what older programs write"
    if index.concurrent:
        yield "an index is not made concurrently within a transaction"


def _of_table(create: Any, made: set[str]) -> Iterator[str]:
    name = create.relation.relname
    for parent in create.inhRelations or ():
        if parent.relname not in made:
            yield f"{name} changes where rows of {parent.relname} go"
    for part in create.tableElts or ():
        constraints = [part] if _kind(part) == "Constraint" else (getattr(part, "constraints", None) or ())
        for one in constraints:
            if (
                one.contype == ConstrType.CONSTR_FOREIGN
                and one.pktable.relname not in made
                and one.fk_del_action not in LETTING_GO
            ):
                yield f"{name} keeps older programs from deleting rows of {one.pktable.relname}"


def _of_change(table: str, command: Any, known: frozenset[str], added: Collection[str]) -> Iterator[str]:
    if command.subtype == AlterTableType.AT_SetRelOptions:
        return
    if command.subtype == AlterTableType.AT_ColumnDefault and command.name in added:
        return  # a default that is given apart holds for new rows only: nothing is written anew
    if command.subtype != AlterTableType.AT_AddColumn:
        yield f"{AlterTableType(command.subtype).name} on {table} does more than add"
        return
    column = command.def_
    named = f"{table}.{column.colname}"
    if column.colname in known:
        yield f"{named} is called as a column of an older table, which makes older statements ambiguous"
    said = {ConstrType(one.contype): one for one in column.constraints or ()}
    for kind in said.keys() - GIVEN:
        yield f"{kind.name} on {named} refuses what older programs write, or locks the table for long"
    if ConstrType.CONSTR_NOTNULL in said and ConstrType.CONSTR_DEFAULT not in said:
        yield f"{named} is not null and has no default: older programs do not write it"
    default = said.get(ConstrType.CONSTR_DEFAULT)
    if default is not None and not _is_plain(default.raw_expr):
        yield f"the default of {named} is computed: the whole table would be written anew under its lock"


def _is_plain(expression: Any) -> bool:
    """A constant, or the time."""
    match _kind(expression):
        case "A_Const" | "SQLValueFunction":
            return True
        case "TypeCast":
            return _is_plain(expression.arg)
        case "FuncCall":
            return [name.sval for name in expression.funcname] == ["now"]
    return False


async def newer(database: Database, number: int) -> Migration:
    """A migration that does all that one may, and to every table there is."""
    tables = await rows(
        database,
        "select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname = current_schema() and c.relkind in ('r', 'p') and not c.relispartition order by 1",
    )
    added = "\n".join(
        f"alter table {row['name']} add column newer_note text, add column newer_count int not null default 7,"
        f" add column newer_at timestamptz default now(), add column newer_tags text[] not null default '{{}}';"
        for row in tables
    )
    return Migration(
        number,
        "newer",
        f"""-- All that older programs can go on with.
{added}
create table newer_things (
  newer_id  bigint generated always as identity primary key,
  crawl_id  int not null references crawls on delete cascade,
  newer_why text not null);
insert into newer_things (crawl_id, newer_why) select crawl_id, 'it was there' from crawls;
create table newer_parts (newer_domain bigint not null, newer_when timestamptz) partition by hash (newer_domain);
create table newer_parts_0 partition of newer_parts for values with (modulus 1, remainder 0);
create index newer_parts_when on newer_parts (newer_when);
create sequence newer_numbers;
create index newer_urls on urls (crawl_id, newer_count) where newer_note is not null;
create index newer_fetches on fetches (crawl_id, newer_at);
create index newer_domains on domains (newer_at, next_at) include (turn);
create index newer_pages on pages (newer_at);
create index newer_messages on messages (newer_count);
comment on column urls.newer_note is 'a note';
""",
    )
