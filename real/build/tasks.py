"""Generated tasks with checkable answers: arithmetic word problems and question -> SQL.

A *sheet* is one document made of several items. Everything is drawn from the `random.Random` that is passed in, so a
sheet is a function of its seed alone. Source: this file (Apache-2.0); no outside data.
"""

from __future__ import annotations

import random
import re
import sqlite3
from dataclasses import dataclass

_NAMES = """Alice Ben Clara David Emma Farid Grace Hugo Irene Jonas Karim Laura Maya Nils Olga Paul Rosa Samir Tara Umar
Vera Walter Xenia Yusuf Zoe Anna Bruno Chen Dora Elias"""
NAMES = _NAMES.split()
_THINGS = """apples books pencils stamps marbles tickets bottles coins cards shells eggs candles plates boxes photos
stickers flowers oranges buttons cookies"""
THINGS = _THINGS.split()
PLACES = ["market", "library", "school fair", "workshop", "garden", "station", "bakery", "office", "harbour", "museum"]


@dataclass(frozen=True)
class Item:
    """One task: `prompt` ends where the answer begins, `answer` is the worked text, `reference` what is checked."""

    prompt: str
    answer: str
    reference: str

    @property
    def text(self) -> str:
        return self.prompt + self.answer


# --------------------------------------------------------------------------------------------- arithmetic


def _shopping(r: random.Random) -> tuple[str, list[str], int]:
    n, m = r.sample(NAMES, 2)
    thing, place = r.choice(THINGS), r.choice(PLACES)
    count, price, paid = r.randint(2, 12), r.randint(2, 9), r.randint(1, 40)
    total, purse = count * price, count * price + paid
    question = (
        f"{n} goes to the {place} with {purse} dollars and buys {count} {thing} for {m}. Each one of the {thing} "
        f"costs {price} dollars. How many dollars does {n} have left?"
    )
    steps = [
        f"The {thing} cost {count} * {price} = {total} dollars in total.",
        f"{n} has {purse} - {total} = {paid} dollars left.",
    ]
    return question, steps, paid


def _sharing(r: random.Random) -> tuple[str, list[str], int]:
    n, thing = r.choice(NAMES), r.choice(THINGS)
    friends, each, extra = r.randint(2, 9), r.randint(2, 12), r.randint(1, 20)
    bought = friends * each
    question = (
        f"{n} finds {bought} {thing} and shares them equally among {friends} friends. One of the friends already "
        f"had {extra} {thing} before. How many {thing} does this friend have now?"
    )
    steps = [
        f"Each friend gets {bought} / {friends} = {each} {thing}.",
        f"Together with the {extra} from before this makes {each} + {extra} = {each + extra} {thing}.",
    ]
    return question, steps, each + extra


def _collecting(r: random.Random) -> tuple[str, list[str], int]:
    n, m = r.sample(NAMES, 2)
    thing, place = r.choice(THINGS), r.choice(PLACES)
    first, more, gone = r.randint(5, 40), r.randint(3, 30), r.randint(1, 12)
    mid = first + more
    gone = min(gone, mid - 1)
    question = (
        f"There are {first} {thing} in a box at the {place}. {n} puts {more} more {thing} into the box, and then "
        f"{m} takes {gone} of them away. How many {thing} are in the box at the end?"
    )
    steps = [
        f"After {n} there are {first} + {more} = {mid} {thing} in the box.",
        f"After {m} there are {mid} - {gone} = {mid - gone} {thing} in the box.",
    ]
    return question, steps, mid - gone


def _working(r: random.Random) -> tuple[str, list[str], int]:
    n, place = r.choice(NAMES), r.choice(PLACES)
    hours, days, wage, rent = r.randint(2, 8), r.randint(2, 6), r.randint(3, 9), r.randint(5, 30)
    total = hours * days
    earned = total * wage
    rent = min(rent, earned - 1)
    question = (
        f"{n} works {hours} hours a day at the {place}, on {days} days of the week. The {place} pays {wage} dollars "
        f"for every hour, and {n} spends {rent} dollars on food. How many dollars can {n} save in a week?"
    )
    steps = [
        f"{n} works {hours} * {days} = {total} hours in a week.",
        f"This earns {total} * {wage} = {earned} dollars.",
        f"After paying for food {n} can save {earned} - {rent} = {earned - rent} dollars.",
    ]
    return question, steps, earned - rent


def _comparing(r: random.Random) -> tuple[str, list[str], int]:
    n, m = r.sample(NAMES, 2)
    thing = r.choice(THINGS)
    base, times, fewer = r.randint(3, 15), r.randint(2, 5), r.randint(1, 3)
    big = base * times
    question = (
        f"{n} has {base} {thing}. {m} has {times} times as many {thing} as {n}, but gives {fewer} of them to a "
        f"neighbour. How many {thing} do {n} and {m} have together now?"
    )
    steps = [
        f"At first {m} has {base} * {times} = {big} {thing}.",
        f"After the gift {m} has {big} - {fewer} = {big - fewer} {thing}.",
        f"Together they have {base} + {big - fewer} = {base + big - fewer} {thing}.",
    ]
    return question, steps, base + big - fewer


PROBLEMS = (_shopping, _sharing, _collecting, _working, _comparing)


def arithmetic_item(r: random.Random) -> Item:
    """One word problem with its worked solution; the answer ends in `#### N`."""
    question, steps, value = r.choice(PROBLEMS)(r)
    return Item(f"Question: {question}\nAnswer:", " " + " ".join(steps) + f"\n#### {value}\n\n", str(value))


def arithmetic_answer(text: str) -> str | None:
    """The first number after `####` in a worked solution, None where there is none."""
    found = re.search(r"####\s*(-?\d+)", text)
    return found.group(1) if found else None


def check_solution(text: str) -> bool:
    """True where every `a op b = c` in the text holds (integers, op of + - * /)."""
    for a, op, b, c in re.findall(r"(\d+) ([-+*/]) (\d+) = (\d+)", text):
        a, b, c = int(a), int(b), int(c)
        if {"+": a + b, "-": a - b, "*": a * b, "/": a // b if b and a % b == 0 else None}[op] != c:
            return False
    return True


# ---------------------------------------------------------------------------------------------------- sql

TABLES = {
    "employees": ["name", "city", "salary", "age"],
    "products": ["name", "brand", "price", "stock"],
    "books": ["title", "author", "pages", "year"],
    "orders": ["customer", "product", "amount", "day"],
    "cities": ["name", "country", "population", "area"],
    "films": ["title", "director", "minutes", "year"],
    "students": ["name", "course", "grade", "age"],
    "flights": ["origin", "destination", "distance", "seats"],
}
_VALUES = """Paris Oslo Lima Cairo Delhi Rome Acme Nova Orion Smith Garcia Tanaka Math Music Chile Norway India Kenya"""
VALUES = _VALUES.split()


@dataclass(frozen=True)
class Schema:
    """A table with two text columns and two integer columns."""

    table: str
    text: tuple[str, str]
    number: tuple[str, str]

    @property
    def create(self) -> str:
        columns = [f"{c} TEXT" for c in self.text] + [f"{c} INTEGER" for c in self.number]
        return f"CREATE TABLE {self.table} ({', '.join(columns)});"


def sql_schema(r: random.Random) -> Schema:
    """One of the tables, chosen by `r`."""
    table = r.choice(sorted(TABLES))
    columns = TABLES[table]
    return Schema(table, (columns[0], columns[1]), (columns[2], columns[3]))


def _sql_pair(s: Schema, r: random.Random) -> tuple[str, str]:
    t, (a, b), n = s.table, s.text, r.choice(s.number)
    m, k, v = r.choice(s.number), r.randint(2, 90) * 10, r.choice(VALUES)
    side, op = r.choice([("more than", ">"), ("less than", "<"), ("at least", ">=")])
    best, order, func = r.choice([("largest", "DESC", "MAX"), ("smallest", "ASC", "MIN")])
    top = r.randint(2, 9)
    return r.choice(
        [
            (f"How many {t} have a {n} of {side} {k}?", f"SELECT COUNT(*) FROM {t} WHERE {n} {op} {k};"),
            (f"Show the {a} of all {t} whose {b} is {v}.", f"SELECT {a} FROM {t} WHERE {b} = '{v}';"),
            (f"What is the average {n} of the {t} for each {b}?", f"SELECT {b}, AVG({n}) FROM {t} GROUP BY {b};"),
            (
                f"Which {top} {t} have the {best} {n}? Give their {a}.",
                f"SELECT {a} FROM {t} ORDER BY {n} {order} LIMIT {top};",
            ),
            (
                f"What is the {best} {n} among the {t} whose {b} is {v}?",
                f"SELECT {func}({n}) FROM {t} WHERE {b} = '{v}';",
            ),
            (
                f"List the {a} and the {m} of the {t} with a {n} of {side} {k}, ordered by {a}.",
                f"SELECT {a}, {m} FROM {t} WHERE {n} {op} {k} ORDER BY {a};",
            ),
            (
                f"For each {b}, how many {t} are there with a {n} of {side} {k}?",
                f"SELECT {b}, COUNT(*) FROM {t} WHERE {n} {op} {k} GROUP BY {b};",
            ),
            (
                f"Which values of {b} have a total {n} of {side} {k}?",
                f"SELECT {b} FROM {t} GROUP BY {b} HAVING SUM({n}) {op} {k};",
            ),
            (f"Show every {b} of the {t} once, in alphabetical order.", f"SELECT DISTINCT {b} FROM {t} ORDER BY {b};"),
        ]
    )


def sql_item(schema: Schema, r: random.Random) -> Item:
    """One question about `schema` with the query that answers it; the query runs in sqlite3."""
    question, query = _sql_pair(schema, r)
    return Item(f"-- Question: {question}\n", f"{query}\n\n", query)


def run_query(create: str, query: str) -> list[tuple]:
    """Rows of `query` on an empty in-memory sqlite3 database with the table of `create`; errors are sqlite3's."""
    base = sqlite3.connect(":memory:")
    try:
        base.executescript(create)
        return base.execute(query).fetchall()
    finally:
        base.close()


# ------------------------------------------------------------------------------------------------- sheets


def sheet(domain: str, seed: int, items: int = 6) -> tuple[str, list[Item]]:
    """Head and items of sheet number `seed` of `domain` ("arithmetic" or "sql"); the document is head + items' text."""
    r = random.Random(f"{domain}/{seed}")
    if domain == "arithmetic":
        return "", [arithmetic_item(r) for _ in range(items)]
    if domain != "sql":
        raise ValueError(f"domain={domain!r}: generated domains are 'arithmetic' and 'sql'; choose one of them")
    schema = sql_schema(r)
    return schema.create + "\n\n", [sql_item(schema, r) for _ in range(items)]


def sheet_text(domain: str, seed: int, items: int = 6) -> str:
    """The document of sheet number `seed`: head, then questions and answers."""
    head, found = sheet(domain, seed, items)
    return head + "".join(item.text for item in found)
