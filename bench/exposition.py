"""The exposition of a benchmark application: counters with a few labels."""


def application_text(series: int, turn: int) -> bytes:
    """Write `series` samples in text format; only values differ from turn to turn."""
    parts = []
    for family in range(series // 20):
        name = f"app_operation_{family}_total"
        parts.append(f"# HELP {name} Operations of kind {family}, by path and code.\n")
        parts.append(f"# TYPE {name} counter\n")
        parts += [
            f'{name}{{path="/api/v1/resource/{path}",code="200"}} {turn * (path + 1)}\n'
            for path in range(20)
        ]
    return "".join(parts).encode()
