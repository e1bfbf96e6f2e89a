"""The picture of V over a maze, with trajectories of both methods."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke

from idql_tf.errors import UserError
from idql_tf.evaluation import names, plots
from idql_tf.evaluation.records import Method, RunFiles

_WALL = "#3E4C59"
# What numpy raises on files that are cut, damaged or something else.
_UNREADABLE = (
    AttributeError,
    EOFError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    ValueError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
_REQUIRED = ("maze_map", "cell_size", "goal", "value_x", "value_y", "value")


def maze(run: RunFiles) -> str | None:
    """Draws maze.npz, or returns None where the run has none.

    One panel for the fewest and one for the most candidates, both over V
    averaged over seeds; one panel of V alone where no trajectory is stored.

    Raises:
      UserError: maze.npz cannot be read, lacks an array, or its arrays do not fit
        each other.
    """
    path = run.path / "maze.npz"
    if not path.is_file():
        return None
    try:
        with np.load(path) as file:
            stored = {name: file[name] for name in file.files}
    except _UNREADABLE as error:
        raise UserError(
            f"{path.name} cannot be read: {error}; evaluate again"
        ) from error
    missing = [name for name in _REQUIRED if name not in stored]
    if missing:
        raise UserError(f"{path.name} lacks {', '.join(missing)}; evaluate again")
    try:
        shown = _fewest_and_most(stored)
        with matplotlib.rc_context(plots.STYLE | {"axes.grid": False}):
            return _draw(stored, {n: _title(run, stored, n) for n in shown})
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{path.name} holds arrays that do not fit each other "
            f"({' '.join(str(error).split()):.120}); evaluate again"
        ) from error


def _fewest_and_most(stored: dict[str, Any]) -> list[int | None]:
    """Numbers of candidates that are drawn; None where no trajectory is stored."""
    candidates = np.unique(stored.get("trajectory_num_candidates", np.array([])))
    if not candidates.size:
        return [None]
    return [*sorted({int(n) for n in candidates[[0, -1]]})]


def cell_edges(stored: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """x edges [cols + 1] and y edges [rows + 1], row 0 on top."""
    rows, cols = stored["maze_map"].shape
    size = float(stored["cell_size"])
    return (
        (np.arange(cols + 1) - cols / 2) * size,
        (rows / 2 - np.arange(rows + 1)) * size,
    )


def _draw(stored: dict[str, Any], titles: dict[Any, str]) -> str:
    rows, cols = stored["maze_map"].shape
    width = 8.2 if len(titles) > 1 else 5.0
    shape = (rows - 1.4) / (cols - 1.4)
    height = (width - 1.2) / len(titles) * shape + 0.75
    figure = Figure(figsize=(width, min(height, 7.5)), layout="constrained")
    all_axes = figure.subplots(1, len(titles), squeeze=False)[0]
    for axes, (number, title) in zip(all_axes, titles.items(), strict=True):
        image = _ground(axes, stored)
        axes.set_title(title)
        if number is not None:
            _trajectories(axes, stored, number)
    bar = figure.colorbar(image, ax=list(all_axes), shrink=0.85, pad=0.02, aspect=25)
    bar.set_label("value V (expected discounted return)")
    bar.outline.set_visible(False)
    return plots.to_svg(figure)


def _ground(axes: Axes, stored: dict[str, Any]) -> Any:
    """Value, walls and goal; returns the coloured mesh."""
    value = plots.nanmean(
        np.asarray(stored["value"], dtype=float).reshape(
            -1, stored["value"].shape[-2] * stored["value"].shape[-1]
        )
    ).reshape(stored["value"].shape[-2:])
    image = axes.pcolormesh(
        stored["value_x"],
        stored["value_y"],
        np.ma.masked_invalid(value),
        cmap="viridis",
        shading="nearest",
        rasterized=True,
    )
    x, y = cell_edges(stored)
    walls = np.ma.masked_equal(stored["maze_map"], 0)
    axes.pcolormesh(x, y, walls, cmap=ListedColormap([_WALL]), rasterized=True)
    goal = np.asarray(stored["goal"], dtype=float)
    axes.plot(*goal, "*", ms=17, color="#FFD60A", mec="black", mew=1.0, zorder=6)
    # Most of the outer wall is cut off; the background closes the seams between
    # the value's grid and the walls.
    rim = 0.7 * float(stored["cell_size"])
    axes.set(xlim=(x[0] + rim, x[-1] - rim), ylim=(y[-1] + rim, y[0] - rim))
    axes.set(aspect="equal", xlabel="x (m)", ylabel="y (m)", facecolor=_WALL)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image


def _trajectories(axes: Axes, stored: dict[str, Any], number: int) -> None:
    outline = [Stroke(linewidth=2.4, foreground="black", alpha=0.55), Normal()]
    for path in stored["trajectory_xy"][stored["trajectory_num_candidates"] == number]:
        path = path[np.isfinite(path).all(axis=-1)]
        if len(path):
            axes.plot(*path.T, color="white", lw=1.2, path_effects=outline, zorder=4)
            axes.plot(*path[0], "o", color="white", mec="black", ms=5, zorder=5)


def _title(run: RunFiles, stored: dict[str, Any], number: int | None) -> str:
    if number is None:
        return "V"
    which = stored["trajectory_num_candidates"] == number
    name = names.label(run, Method("argmax", number))
    title = f"{name}\n{int(which.sum())} episodes"
    if "trajectory_return" in stored:
        title += f", mean return {stored['trajectory_return'][which].mean():,.4g}"
    return title
