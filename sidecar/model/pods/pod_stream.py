"""Reads a PodList as it arrives: holds the text of one pod at a time, and trimmed pods.

Parsed as a whole, a list takes five times its size in Python objects, and a node's may be 20 MB.
"""

import codecs
import json
import re
from collections.abc import Callable

from sidecar.errors import PodsError
from sidecar.model.pods.pod_list import Pod, parse_pod

MAX_LIST_BYTES = 256 << 20
MAX_PODS = 5_000
MAX_POD_CHARACTERS = 8 << 20
"""For the text of one pod, and for the text before the pods; etcd limits objects to 1.5 MB."""
_BLANKS = re.compile(r"[ \t\r\n]*+")
_DECODE = json.JSONDecoder().raw_decode


class PodListReader:
    """Reads the text of a PodList in chunks of any size.

    Args:
        keep: returns what is kept of a pod.
    """

    def __init__(self, keep: Callable[[Pod], Pod] = lambda pod: pod) -> None:
        self._keep = keep
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._size = 0
        self._text = ""
        self._at = 0
        """Where in the text the next step begins."""
        self._try_at = 0
        """Length that the text must reach before parsing is tried again."""
        self._take_step: Callable[[], None] = self._begin
        self._has_items = self._is_over = False
        self._pods: list[Pod] = []

    def feed(self, part: bytes) -> None:
        """Read the next chunk.

        Raises:
            PodsError: the text is not a PodList, or exceeds a limit; says where.
        """
        self._size += len(part)
        if self._size > MAX_LIST_BYTES:
            raise PodsError(f"the pod list is larger than {MAX_LIST_BYTES >> 20} MiB")
        try:
            self._text = self._text[self._at :] + self._decoder.decode(part)
        except ValueError as error:
            raise PodsError(f"the pod list is not valid JSON: {error}") from error
        self._at = 0
        if len(self._text) < self._try_at:
            return
        try:
            self._read()
        except (ValueError, RecursionError):
            left = len(self._text) - self._at
            if left > MAX_POD_CHARACTERS:
                raise PodsError(f"a pod is larger than {MAX_POD_CHARACTERS >> 20} MiB") from None
            # A long pod must not be parsed from its beginning again with every chunk.
            self._try_at = 2 * left

    def finish(self) -> tuple[Pod, ...]:
        """Return the pods, sorted by namespace and name.

        Raises:
            PodsError: the text is not a PodList, or is incomplete.
        """
        try:
            self._text = self._text[self._at :] + self._decoder.decode(b"", final=True)
            self._at = 0
            self._read()
        except (ValueError, RecursionError) as error:
            raise PodsError(f"the pod list is not valid JSON: {error}") from error
        if self._skip() != len(self._text):
            raise PodsError("the pod list is not valid JSON: more text follows its end")
        if not self._has_items:
            raise PodsError("the document is not a PodList: it has no list `items`")
        return tuple(sorted(self._pods, key=lambda pod: (pod.namespace, pod.name, pod.uid)))

    def _read(self) -> None:
        """Run one step after the other; each advances only when it has all the text it needs.

        Raises:
            ValueError: the text ends too early, or is not JSON.
        """
        while not self._is_over:
            self._take_step()

    def _begin(self) -> None:
        self._at = self._expect(self._skip(), "{")
        self._take_step = self._read_member

    def _read_member(self) -> None:
        at = self._skip()
        if self._text[at : at + 1] == "}":
            self._at, self._is_over = at + 1, True
            return
        key, at = _DECODE(self._text, at)
        at = self._expect(at, ":")
        if key == "items" and self._text[at : at + 1] == "[":
            self._has_items, self._at = True, at + 1
            self._take_step = self._read_item
            return
        value, at = _DECODE(self._text, at)
        self._at = self._next(at, "}")
        # Go encodes an empty list as null: a node without pods.
        self._has_items |= key == "items" and value is None

    def _read_item(self) -> None:
        at = self._skip()
        if self._text[at : at + 1] == "]":
            self._at = self._next(at + 1, "}")
            self._take_step = self._read_member
            return
        item, at = _DECODE(self._text, at)
        self._at = self._next(at, "]")
        number = len(self._pods)
        if number == MAX_PODS:
            raise PodsError(f"the pod list has more than {MAX_PODS} pods")
        self._pods.append(self._keep(parse_pod(item, f"items[{number}]")))

    def _next(self, at: int, end: str) -> int:
        """Return the position of the next member, or of the end."""
        at = self._skip(at)
        return at if self._text[at : at + 1] == end else self._expect(at, ",")

    def _expect(self, at: int, char: str) -> int:
        at = self._skip(at)
        if self._text[at : at + 1] != char:
            raise ValueError(f"{char!r} is missing at character {at}")
        return self._skip(at + 1)

    def _skip(self, at: int | None = None) -> int:
        blank = _BLANKS.match(self._text, self._at if at is None else at)
        return blank.end() if blank else self._at


def read_pods(body: bytes) -> tuple[Pod, ...]:
    """Read a whole PodList.

    Raises:
        PodsError: it is not a PodList; says where.
    """
    reader = PodListReader()
    reader.feed(body)
    return reader.finish()
