"""What was measured, as it comes and as one table at the end."""

from __future__ import annotations

ROWS: list[tuple[str, str, str]] = []


def row(what: str, figure: str, aim: str = "") -> None:
    ROWS.append((what, figure, aim))
    print(f"  {what}: {figure}", flush=True)


def table() -> None:
    print("\n| Measured | Here | Aim |\n|---|---|---|")
    for cells in ROWS:
        print("| " + " | ".join(cells) + " |")


def spread(seconds: list[float]) -> str:
    """Median, and where the slowest twentieth and hundredth begin, in milliseconds."""
    found = sorted(seconds)
    middle, slow, late = (found[min(len(found) - 1, round(len(found) * part))] for part in (0.5, 0.95, 0.99))
    return f"median {middle * 1000:.0f} ms, p95 {slow * 1000:.0f} ms, p99 {late * 1000:.0f} ms"
