"""The loop of `tamis.scorers.dedup.bands`."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import kernel
from tamis.scorers.kernels.splitmix import mix64

__all__ = ["band_hashes"]


@kernel
def band_hashes(
    minima: npt.NDArray[np.unsignedinteger],
    documents: npt.NDArray[np.int64],
    rows: int,
    keys: npt.NDArray[np.uint64],
) -> None:
    """Write to `keys` (documents, bands) a hash of each band's number and its `rows` entries."""
    for i in range(len(documents)):
        for band in range(keys.shape[1]):
            h = mix64(np.uint64(band + 1))
            for row in range(rows):
                h = mix64(h ^ np.uint64(minima[documents[i], band * rows + row]))
            keys[i, band] = h
