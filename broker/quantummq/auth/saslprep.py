"""SASLprep: names and passwords in the one form that is compared.

Source: RFC 4013, a profile of RFC 3454.
"""

import stringprep
import unicodedata
from collections.abc import Callable
from typing import Final

_PROHIBITED: Final[tuple[Callable[[str], bool], ...]] = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(text: str) -> str:
    """`text` as it is stored and compared.

    Raises:
        ValueError: it holds characters a name or password may not have.
    """
    if text.isascii() and text.isprintable():
        return text
    mapped = "".join(
        " " if stringprep.in_table_c12(letter) else letter
        for letter in text
        if not stringprep.in_table_b1(letter)
    )
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    for letter in prepared:
        if any(prohibits(letter) for prohibits in _PROHIBITED) or stringprep.in_table_a1(letter):
            raise ValueError(f"U+{ord(letter):04X} is not allowed in a name or password")
    _check_direction(prepared)
    return prepared


def _check_direction(text: str) -> None:
    """Text of both directions, or one that does not begin and end as right-to-left, is refused.

    Source: RFC 3454 §6.
    """
    if not any(stringprep.in_table_d1(letter) for letter in text):
        return
    mixed = any(stringprep.in_table_d2(letter) for letter in text)
    framed = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    if mixed or not framed:
        raise ValueError("mixes directions of writing in a way that is not allowed")
