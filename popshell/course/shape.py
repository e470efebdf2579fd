"""The shape of a lesson's head as msgspec reads it: unknown fields and wrong types are refused with their place."""

from __future__ import annotations

from typing import Any

import msgspec


class WrongShape(msgspec.Struct, forbid_unknown_fields=True):
    lines: list[str]
    say: str


class ExerciseShape(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    kind: str
    solution: list[str]
    check: list[dict[str, Any]] = []
    maildrop: str = ""
    account: str = "learner:secret"
    conditions: dict[str, Any] = {}
    start: list[str] = []
    line: str = ""
    answer: list[str] = []
    seen: bool = True
    failed: list[str] = []
    wrong: list[WrongShape] = []


class Head(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    title: str
    teaches: list[str]
    exercise: list[ExerciseShape]
    maildrop: str = "default"


class TranslatedHead(msgspec.Struct, forbid_unknown_fields=True):
    title: str
    translated_from: str = ""


class CourseShape(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    lessons: list[str]
