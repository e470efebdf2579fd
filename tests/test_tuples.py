"""Our NamedTuple does what typing's does."""

from __future__ import annotations

import copy
import pickle
import typing

from support import each

from popshell import tuples


def made(base: typing.Any) -> typing.Any:
    class Point(base):
        """A point."""

        x: int
        y: int = 2
        z: str = "z"

        @property
        def sum(self) -> int:
            return self.x + self.y

    Point.__qualname__ = "Point"
    return Point


Point, Theirs = made(tuples.NamedTuple), made(typing.NamedTuple)

#: What is asked of both classes; an error counts by its kind.
ASKED: dict[str, typing.Callable[[typing.Any], object]] = {
    "fields before an instance": lambda c: (c._fields, c._field_defaults, c.__match_args__, c.__doc__, c.__module__),
    "by place": lambda c: tuple(c(1, 3, "a")),
    "defaults": lambda c: tuple(c(1)),
    "by name": lambda c: tuple(c(z="a", x=1)),
    "read": lambda c: (c(1).x, c(1).y, c(1).sum),
    "repr": lambda c: repr(c(1, z="%{}")),
    "replaced": lambda c: (c(1)._replace(y=5), type(c(1)._replace()) is c),
    "as a dict": lambda c: c(1)._asdict(),
    "equal": lambda c: (c(1) == c(1), c(1) == (1, 2, "z"), hash(c(1)) == hash(c(1)), c(1) < c(2)),
    "copied": lambda c: (copy.copy(c(1)), copy.deepcopy(c(1)), type(copy.copy(c(1))) is c),
    "a field is missing": lambda c: c(),
    "one too many": lambda c: c(1, 2, "z", 4),
    "twice": lambda c: c(1, x=1),
    "another name": lambda c: c(1, w=1),
    "replaced by another name": lambda c: c(1)._replace(w=1),
    "set": lambda c: setattr(c(1), "x", 2),
    "another attribute": lambda c: setattr(c(1), "w", 2),
    "matched": lambda c: [x for x, _ in [(x, z) for x, y, z in [c(7)]]],
}


def test_it_does_what_the_one_of_typing_does() -> None:
    def answer(ask: typing.Callable[[typing.Any], object], of: typing.Any) -> object:
        try:
            return ask(of)
        except Exception as error:  # of an unknown field in _replace: ValueError up to Python 3.12, TypeError since
            return TypeError if isinstance(error, ValueError) else type(error)

    def check(name: str, ask: typing.Callable[[typing.Any], object]) -> None:
        assert answer(ask, Point) == answer(ask, Theirs)
        assert answer(ask, made(tuples.NamedTuple)) == answer(ask, Theirs), "with the first instance"

    each(ASKED.items(), check)


def test_a_class_may_have_no_fields() -> None:
    class Nothing(tuples.NamedTuple):
        """Nothing."""

    assert Nothing() == ()
    assert Nothing()._fields == ()
    assert repr(Nothing()) == "Nothing()"


def test_an_instance_can_be_pickled() -> None:
    from popshell.protocol.wire import ReplyLimits

    limits = ReplyLimits()
    assert pickle.loads(pickle.dumps(limits)) == limits
