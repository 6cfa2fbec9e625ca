"""Commands of a documentation page, as a reader copies them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"\s+#.*")


def bash_blocks(page: str) -> list[str]:
    """Return the bash blocks of a page, without comments."""
    found = _BLOCK.findall((ROOT / page).read_text())
    return ["\n".join(_COMMENT.sub("", line) for line in text.splitlines()) for text in found]


def commands(block: str) -> list[str]:
    """Return the commands of a block, each with its continued lines."""
    return [line for line in re.sub(r"\\\n\s*", "", block).splitlines() if line.strip()]
