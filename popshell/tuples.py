"""NamedTuple as in typing, except that its `__new__` is compiled with its second instance.

typing.NamedTuple compiles a `__new__` and each annotation where a class is defined. Most classes have one
instance or none before the first prompt, and to define all took a third of the time in which PopShell loads.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:
    from collections import _tuplegetter

    def _first(cls, /, *values, **named):
        cls.__new__ = _second
        taken = {*cls._fields[: len(values)], *named}
        given = cls._field_defaults | dict(zip(cls._fields, values, strict=False)) | named
        if len(taken) < len(values) + len(named) or given.keys() != set(cls._fields):
            return _second(cls, *values, **named)  # it says what is wrong
        return tuple.__new__(cls, map(given.get, cls._fields))

    def _second(cls, /, *values, **named):
        fields = "".join(f"{field}, " for field in cls._fields)
        make = eval(f"lambda cls, {fields}: new(cls, ({fields}))", {"new": tuple.__new__})
        make.__defaults__ = tuple(cls._field_defaults.values())
        cls.__new__ = make
        return make(cls, *values, **named)

    class _Tuple(tuple):
        __slots__ = ()

        def __repr__(self):
            return f"{type(self).__name__}({', '.join(map('{}={!r}'.format, self._fields, self))})"

        def __getnewargs__(self):
            return tuple(self)

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def _replace(self, /, **named):
            changed = tuple.__new__(type(self), map(named.pop, self._fields, self))
            if named:
                raise ValueError(f"unexpected fields: {list(named)}")
            return changed

    class _Class(type):
        def __new__(mcs, name, bases, body):
            fields = tuple(body.get("__annotations__", ()))
            defaults = {field: body[field] for field in fields if field in body}
            body |= {field: _tuplegetter(at, "") for at, field in enumerate(fields)}
            body |= {"_fields": fields, "_field_defaults": defaults, "__match_args__": fields, "__slots__": ()}
            return type(name, (_Tuple,), {"__new__": _first} | body)

    NamedTuple = type.__new__(_Class, "NamedTuple", (), {})
