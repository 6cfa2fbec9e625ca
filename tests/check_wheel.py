"""Build the wheel and check that it contains the three packages, and nothing else."""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGES = {"injector", "sidecar", "webhook_certs"}


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
             "-w", folder, "."],
            check=True,
            cwd=Path(__file__).parent.parent,
        )  # fmt: skip
        (wheel,) = Path(folder).glob("*.whl")
        names = zipfile.ZipFile(wheel).namelist()
    found = {name.split("/")[0] for name in names if ".dist-info" not in name}
    if found != PACKAGES:
        print(f"the wheel holds {sorted(found)}, not {sorted(PACKAGES)}", file=sys.stderr)
        return 1
    print(f"wheel: {len(names)} files in {', '.join(sorted(found))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
