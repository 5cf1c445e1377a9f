"""Make the packaged file of cells from the borders: ``python -m ledger.location.build``."""

import sys

import numpy as np

from ledger.geo.borders import Borders
from ledger.location import grid
from ledger.location.cells import make_cells, pack_cells
from ledger.location.loader import CELLS_PATH
from ledger.location.reach import EARTH_RADIUS_KM


def main() -> None:
    """Write the file and print its size and the largest radius of a cell."""
    borders = Borders.load()
    cells = make_cells(borders)
    content = pack_cells(cells, borders.version.digest)
    CELLS_PATH.parent.mkdir(exist_ok=True)
    CELLS_PATH.write_bytes(content)
    count = sum(len(one.row) for one in cells)
    widest = max(
        float(np.max(grid.balls(grid.boxes(one.row, one.column, one.level))[1])) for one in cells
    )
    sys.stdout.write(
        f"{CELLS_PATH.name}: {len(content)} bytes, {count} cells, "
        f"up to {widest * EARTH_RADIUS_KM:.1f} km from middle to corner\n"
    )


if __name__ == "__main__":
    main()
