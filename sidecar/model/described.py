"""Enums whose members have a code for metrics and logs, and a sentence for people."""

from enum import StrEnum
from typing import Self


class Described(StrEnum):
    """An enum whose members are defined by a code and one sentence."""

    sentence: str
    """What the member means, as a clause that can follow a colon."""

    def __new__(cls, code: str, sentence: str) -> Self:
        """Create a member."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.sentence = sentence
        return member
