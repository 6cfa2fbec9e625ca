"""Each module has its tests in the same place under `tests/`."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
_PACKAGES = {
    "injector": ROOT / "injector",
    "sidecar": ROOT / "sidecar",
    "webhook_certs": ROOT / "webhook-certs" / "webhook_certs",
}
WITHOUT_TESTS = {
    "injector/commands/demo/app.py": "run by test_demo.py, in a process of its own",
    "injector/commands/demo/kubelet.py": "run by test_demo.py, in a process of its own",
    "injector/commands/demo/prometheus.py": "run by test_demo.py, in a process of its own",
    "injector/commands/demo/stage.py": "run by test_demo.py, in a process of its own",
    "injector/control/backend.py": "protocols and a record of them",
    "injector/errors.py": "classes of errors, tested where they are raised",
    "sidecar/control/receivers.py": "protocols",
    "sidecar/errors.py": "classes of errors, tested where they are raised",
    "webhook_certs/errors.py": "classes of errors, tested where they are raised",
}


def _modules() -> dict[str, Path]:
    """Modules by name, each with the place of its tests."""
    found = {}
    for package, folder in _PACKAGES.items():
        for path in folder.rglob("*.py"):
            place = Path(package) / path.relative_to(folder)
            name = f"test_{place.stem.strip('_')}.py"
            if place.name != "__init__.py":
                found[str(place)] = ROOT / "tests" / place.parent / name
    return found


def test_each_module_has_its_mirror() -> None:
    lacking = {module for module, tests in _modules().items() if not tests.exists()}

    assert lacking == set(WITHOUT_TESTS)
