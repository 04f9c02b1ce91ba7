"""What variants cost, beside how well they do: a point a variant for each measure of cost."""

from dataclasses import dataclass

from timelift.comparison.table import Row, StudyTable

MEASURES = ("parameters", "multiply_adds", "latency_ms")


@dataclass(frozen=True)
class CostPoint:
    """One variant: its cost in the measure's own unit, its accuracy as fractions."""

    number: int  # by which the picture and its table know it, from 1
    row: Row
    cost: float
    spread: tuple[float, float]  # of the cost: quartiles over runs of a latency, else the cost twice


def numbered(table: StudyTable) -> dict[int, Row]:
    """The rows that ran, numbered from 1 in the table's order."""
    return dict(enumerate((row for row in table.rows if row.runs), start=1))


def cost_points(table: StudyTable) -> dict[str, list[CostPoint]]:
    """Measure -> its points; a measure that no run recorded is missing.

    The linear probe has no point by parameters: what is counted there is its regression alone.
    """
    found: dict[str, list[CostPoint]] = {}
    for number, row in numbered(table).items():
        if row.parameters is not None and not row.is_probe:
            found.setdefault("parameters", []).append(_fixed(number, row, row.parameters))
        if row.multiply_adds is not None:
            found.setdefault("multiply_adds", []).append(_fixed(number, row, row.multiply_adds))
        if row.latency is not None:
            low, median, high = (1e3 * seconds for seconds in row.latency)
            found.setdefault("latency_ms", []).append(CostPoint(number, row, median, (low, high)))
    return {measure: found[measure] for measure in MEASURES if measure in found}


def _fixed(number: int, row: Row, cost: int) -> CostPoint:
    return CostPoint(number, row, float(cost), (float(cost), float(cost)))
