"""Tables of text for a terminal."""

from collections.abc import Sequence

from rich.cells import cell_len


def format_table(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Formats the rows of a table in columns, also of names in scripts whose characters are wide.

    Args:
        rows: The rows, of which the first has the titles.
        left: The number of columns that are aligned to the left. The others are aligned to the right.
    """
    widths = [max(map(cell_len, column)) for column in zip(*rows)]
    return [
        "  ".join(
            _pad(cell, width, at_right=place < left) for place, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]


def _pad(cell: str, width: int, at_right: bool) -> str:
    spaces = " " * (width - cell_len(cell))
    return cell + spaces if at_right else spaces + cell
