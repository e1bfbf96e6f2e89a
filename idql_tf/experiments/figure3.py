"""Figure 3: how many points of a diffusion model lie where the data have none.

The plain MLP against the LN-ResNet on five sets of points, at the paper's base
setting, with a larger batch, and with another layer as well. The paper shows pictures
and names no measure. Here a point is an outlier if it lies farther from the data than
all but one in a thousand of the points that are drawn like them, and farther than a
tolerance: beside a line as thin as the swiss roll's every point of any model is far.
"""

from __future__ import annotations

import functools
import hashlib
import pathlib
from collections.abc import Callable, Mapping, Sequence

import gin
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from scipy.spatial import cKDTree

from idql_tf import config, files
from idql_tf.behavior.networks import LnResnet, Mlp, ScoreNetwork
from idql_tf.behavior.updates import Behavior
from idql_tf.errors import UserError, check_count, check_number, check_seeds
from idql_tf.evaluation import plots, statistics
from idql_tf.experiments import densities
from idql_tf.experiments.claims import Claim, Result
from idql_tf.experiments.density_model import kept, sample, train

_MOST_DRAWN = 4_000
_README = "What figure3 has drawn; remove it to train anew, as when the code changed.\n"
_Points = dict[tuple[str, str, str], np.ndarray]


@gin.configurable("figure3", denylist=["folder"])
def run(
    folder: pathlib.Path,
    sets: Sequence[str],
    settings: Mapping[str, tuple[int, int]],
    num_data: int,
    num_samples: int,
    tolerance: float,
    training_steps: int,
    seeds: Sequence[int],
) -> Result:
    """Trains both networks on every set and counts the outliers.

    Args:
      folder: keeps every model's points, which take hours, for the next time. Other
        settings have others; code that has changed since is not told from its like.
      sets: names of `densities.NAMES`.
      settings: {name: (batch size, hidden layers or residual blocks)}.
      num_data: points trained on, and as many to measure distances from.
      num_samples: points drawn from each model.
      tolerance: distance within which no point is an outlier; the sets reach to 0.85.
      training_steps: of each model.
      seeds: of the models, trained in one program.
    """
    if not sets or set(sets) - set(densities.NAMES):
        raise UserError(f"figure3.sets is {sets}; expected some of {densities.NAMES}")
    for name, sizes in settings.items():
        for size in sizes:
            check_count(f"a number of figure3.settings[{name!r}]", size)
    check_count("figure3.num_data", num_data, 2)
    check_count("figure3.num_samples", num_samples)
    check_number("figure3.tolerance", tolerance, most=1.0)
    check_count("figure3.training_steps", training_steps)
    check_seeds("figure3.seeds", seeds)
    console = Console(stderr=True)
    # Where nothing can be written, it is known before anything is trained.
    files.write_atomically(folder / "README.txt", _README)
    points: _Points = {}
    of_data: dict[str, np.ndarray] = {}
    rows = []
    for name in sets:
        # Together, for they are scaled by the largest.
        drawn = densities.draw(name, 2 * num_data, np.random.default_rng(0))
        data, fresh = np.split(drawn, 2)
        of_data[name] = data
        outliers = outlier_measure(data, fresh, tolerance)
        for setting, (batch_size, depth) in settings.items():
            for network, make in _networks(depth).items():
                numbers = (depth, batch_size, num_data, num_samples, training_steps)
                made = kept(
                    folder / _file_name(name, network, numbers, seeds),
                    (len(seeds), num_samples, 2),
                    functools.partial(
                        _draw_points,
                        make,
                        tuple(seeds),
                        data,
                        training_steps,
                        batch_size,
                        num_samples,
                    ),
                )
                points[name, setting, network] = made[0]
                shares = [float(outliers(one)) for one in made]
                for seed, share in zip(seeds, shares, strict=True):
                    rows.append(
                        {
                            "set": name,
                            "setting": setting,
                            "network": network,
                            "seed": seed,
                            "outliers": share,
                        }
                    )
                found = f"{np.mean(shares):.2%} outliers"
                console.print(f"{name}, {setting}, {network}: {found}")
    figure = _draw(of_data, list(settings), points, rows)
    return Result(figure, rows, _claims(sets, list(settings), rows))


def outlier_measure(
    data: np.ndarray, fresh: np.ndarray, tolerance: float = 0.0
) -> Callable[[np.ndarray], np.floating]:
    """Makes the function that gives the share of outliers among points [n, 2].

    Args:
      data: points [m, 2].
      fresh: others drawn like them, of which one in a thousand is farther than the
        distance that makes an outlier.
      tolerance: that distance is at least this.
    """
    tree = cKDTree(data)
    limit = max(np.quantile(tree.query(fresh)[0], 0.999), tolerance)
    return lambda points: np.mean(tree.query(points)[0] > limit)


def _networks(depth: int) -> dict[str, Callable[..., ScoreNetwork]]:
    return {
        "MLP": functools.partial(Mlp, num_hidden=depth),
        "LN-ResNet": functools.partial(LnResnet, num_blocks=depth),
    }


def _draw_points(
    network: Callable[..., ScoreNetwork],
    seeds: tuple[int, ...],
    data: np.ndarray,
    training_steps: int,
    batch_size: int,
    num_samples: int,
) -> np.ndarray:
    arguments: dict = {"network": network}
    behavior = Behavior(1, 2, seeds, **arguments)
    train(behavior, data, training_steps, batch_size)
    return sample(behavior, num_samples)


def _file_name(
    name: str, network: str, numbers: Sequence[int], seeds: Sequence[int]
) -> str:
    """Another for every model, and wherever any setting of the package differs."""
    settings = f"{config.current()}{tuple(numbers)}{tuple(seeds)}"
    digest = hashlib.sha256(settings.encode()).hexdigest()[:12]
    return f"{name.replace(' ', '_')}-{network}-{digest}.float32"


def _shares(rows: list[dict], name: str, setting: str, network: str) -> list[float]:
    wanted = {"set": name, "setting": setting, "network": network}
    return [row["outliers"] for row in rows if wanted.items() <= row.items()]


def _claims(
    sets: Sequence[str], settings: Sequence[str], rows: list[dict]
) -> list[Claim]:
    claims = []
    for setting in settings:
        better: list[bool] = []
        told = []
        for name in sets:
            mlp, resnet = (
                _shares(rows, name, setting, network)
                for network in ("MLP", "LN-ResNet")
            )
            better.append(bool(statistics.mean(resnet) < statistics.mean(mlp)))
            told.append(
                f"{name} {statistics.mean(resnet):.2%} against "
                f"{statistics.mean(mlp):.2%}"
            )
        claims.append(
            Claim(
                f"{setting}: LN-ResNet has fewer outliers than the MLP on most sets",
                f"on {sum(better)} of {len(sets)}: " + "; ".join(told),
                sum(better) > len(sets) / 2,
            )
        )
    return claims


def _draw(
    of_data: Mapping[str, np.ndarray],
    settings: Sequence[str],
    points: _Points,
    rows: list[dict],
) -> Figure:
    columns = [(s, n) for s in settings for n in ("MLP", "LN-ResNet")]
    with matplotlib.rc_context(plots.STYLE | {"axes.grid": False}):
        figure = Figure(
            figsize=(2.1 * (1 + len(columns)), 2.2 * len(of_data) + 0.4),
            layout="constrained",
        )
        panels = figure.subplots(len(of_data), 1 + len(columns), squeeze=False)
        for row, (name, data) in zip(panels, of_data.items(), strict=True):
            _scatter(row[0], data, "0.3", "the data")
            row[0].set_ylabel(name)
            for axes, (setting, network) in zip(row[1:], columns, strict=True):
                colour = plots.VERMILLION if network == "MLP" else plots.BLUE
                share = np.mean(_shares(rows, name, setting, network))
                title = f"{network}, {setting}: {share:.1%}"
                _scatter(axes, points[name, setting, network], colour, title)
        figure.suptitle("share of points where the data have none", fontsize=10)
        return figure


def _scatter(axes: Axes, points: np.ndarray, colour: str, title: str) -> None:
    x, y = points[:_MOST_DRAWN].T
    axes.plot(x, y, ".", color=colour, ms=1, alpha=0.5, mew=0)
    axes.set_title(title, fontsize=8)
    axes.set(xlim=(-1, 1), ylim=(-1, 1), xticks=[], yticks=[])
    axes.set_box_aspect(1)
