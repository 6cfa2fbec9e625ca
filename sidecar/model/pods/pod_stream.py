"""A PodList read while it comes: of its text one pod is held, and of each pod what is kept.

As Python's values a list takes five times its text, and a node's may be 20 MB.
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
"""Of one pod's text, and of what stands before the pods; etcd holds 1.5 MB of one."""
_BLANKS = re.compile(r"[ \t\r\n]*+")
_DECODE = json.JSONDecoder().raw_decode


class PodListReader:
    """Takes a PodList's text in parts of any size.

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
        """How long the text must be before it is looked at again."""
        self._take_step: Callable[[], None] = self._begin
        self._has_items = self._is_over = False
        self._pods: list[Pod] = []

    def feed(self, part: bytes) -> None:
        """Take the next part.

        Raises:
            PodsError: it is no PodList, or one without bounds; says where.
        """
        self._size += len(part)
        if self._size > MAX_LIST_BYTES:
            raise PodsError(f"the pods are more than {MAX_LIST_BYTES >> 20} MiB")
        try:
            self._text = self._text[self._at :] + self._decoder.decode(part)
        except ValueError as error:
            raise PodsError(f"the pods are not JSON: {error}") from error
        self._at = 0
        if len(self._text) < self._try_at:
            return
        try:
            self._read()
        except (ValueError, RecursionError):
            left = len(self._text) - self._at
            if left > MAX_POD_CHARACTERS:
                raise PodsError(f"a pod is more than {MAX_POD_CHARACTERS >> 20} MiB") from None
            # So that a long pod is not read from its beginning with every part.
            self._try_at = 2 * left

    def finish(self) -> tuple[Pod, ...]:
        """Return the pods, sorted by namespace and name.

        Raises:
            PodsError: what came is no PodList, or not the whole of it.
        """
        try:
            self._text = self._text[self._at :] + self._decoder.decode(b"", final=True)
            self._at = 0
            self._read()
        except (ValueError, RecursionError) as error:
            raise PodsError(f"the pods are not JSON: {error}") from error
        if self._skip() != len(self._text):
            raise PodsError("the pods are not JSON: something stands behind them")
        if not self._has_items:
            raise PodsError("the pods are no PodList: there is no list `items`")
        return tuple(sorted(self._pods, key=lambda pod: (pod.namespace, pod.name, pod.uid)))

    def _read(self) -> None:
        """Take one step after the other; each moves on only when it has all that it needs.

        Raises:
            ValueError: the text ends too early, or is no JSON.
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
        # Go writes an empty list so: a node without pods.
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
            raise PodsError(f"the pods are more than {MAX_PODS}")
        self._pods.append(self._keep(parse_pod(item, f"items[{number}]")))

    def _next(self, at: int, end: str) -> int:
        """Go on to the next member, or stand at the end."""
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
        PodsError: it is none; says where.
    """
    reader = PodListReader()
    reader.feed(body)
    return reader.finish()
