"""Look-alikes: a text in plain capitals, with the places that its letters come from; one slip of the hand."""

from __future__ import annotations

from support import each

from popshell.protocol.lookalikes import as_letters, folded, is_one_slip


def test_a_text_is_folded_with_the_ends_of_its_characters() -> None:
    def check(text: str, plain: str, ends: list[int]) -> None:
        assert folded(text) == (plain, ends)

    each(
        [
            ("", "", []),
            ("Pa s", "PA S", [1, 2, 3, 4]),
            ("%50a%53s", "PASS", [3, 4, 7, 8]),  # as in an address
            ("a%7a", "AZ", [1, 4]),
            ("5%", "5%", [1, 2]),
            ("%5", "%5", [1, 2]),
            ("ax\bb", "AB", [1, 4]),
            ("a%7Fb", "B", [5]),
            ("a\tb\0c", "A B C", [1, 2, 3, 4, 5]),
            ("\uff30\uff41", "PA", [1, 2]),  # full width
            ("pa\u0301", "PA", [1, 2]),
            ("p\u200ba", "PA", [1, 3]),
            ("p\u2800a", "P A", [1, 2, 3]),
            ("\u0420A", "PA", [1, 2]),  # Cyrillic
            ("\u24c5", "P", [1]),
            ("\x1b[1mPA", "PA", [5, 6]),
            ("\u5bc6", "\u5bc6", [1]),
        ],
        check,
    )


def test_signs_and_digits_that_stand_for_letters() -> None:
    each([("P@$$", "PASS"), ("U53R", "USER"), ("1234", "1234"), ("L0G1N", "LOGIN")], _as_letters)


def _as_letters(word: str, wanted: str) -> None:
    assert as_letters(word) == wanted


def test_one_slip() -> None:
    def check(word: str, name: str, wanted: bool) -> None:
        assert is_one_slip(word, name) is wanted

    each(
        [
            ("PAS", "PASS", True),
            ("PASSS", "PASS", True),
            ("PAAASSSS", "PASS", True),  # doubled
            ("XPAASS", "PASS", False),
            ("PSAS", "PASS", True),
            ("PAXS", "PASS", True),
            ("PXXS", "PASS", False),
            ("PA", "PASS", False),
            ("PASWORD", "PASSWORD", True),
            ("UUSER", "USER", True),
            ("APPASS", "PASS", False),
        ],
        check,
    )
