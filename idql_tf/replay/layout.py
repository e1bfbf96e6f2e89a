"""How online transitions are laid out: in items, in packed rows and in batches."""

from __future__ import annotations

import dataclasses

import numpy as np

from idql_tf.errors import UserError

Item = dict[str, np.ndarray]

# What a packed transition holds, in this order.
COLUMNS = ("observations", "actions", "rewards", "masks", "next_observations")
# What an item holds, in Reverb's order.
ITEM = tuple(sorted((*COLUMNS, "returns", "lengths", "origin")))


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Shapes of transitions.

    Attributes:
      num_seeds: S, policies that act side by side.
      observation_size: D.
      action_size: A.
      num_environments: E, environments of one actor for each seed.
    """

    num_seeds: int
    observation_size: int
    action_size: int
    num_environments: int

    @property
    def widths(self) -> tuple[int, ...]:
        """Numbers of each column in a packed transition."""
        return (self.observation_size, self.action_size, 1, 1, self.observation_size)

    @property
    def row_bytes(self) -> int:
        """Bytes of one transition of one seed, uncompressed."""
        return 4 * sum(self.widths)


def pack(item: Item) -> np.ndarray:
    """Packs an item [E, S, ...] into float32 rows [E, S, W]."""
    lead = item["rewards"].shape
    return np.concatenate(
        [np.reshape(item[name], [*lead, -1]) for name in COLUMNS], axis=-1
    )


def unpack(rows: np.ndarray, sizes: Sizes) -> Item:
    """Makes an item of rows [E, S, W] again, without its origin and its episodes."""
    parts = np.split(rows, np.cumsum(sizes.widths)[:-1], axis=-1)
    item = dict(zip(COLUMNS, parts, strict=True))
    item |= {name: item[name][..., 0] for name in ("rewards", "masks")}
    lead = rows.shape[:2]
    return item | {
        "returns": np.zeros(lead, np.float32),
        "lengths": np.zeros(lead, np.int32),
    }


def offline_part(batch_size: int, offline_fraction: float) -> int:
    """How many of a batch are offline transitions.

    Raises:
      UserError: the fraction is none, or leaves no whole numbers.
    """
    part = batch_size * offline_fraction
    if not 0.0 <= offline_fraction <= 1.0 or abs(part - round(part)) > 1e-6:
        raise UserError(
            f"offline_fraction {offline_fraction} of a batch of {batch_size} is "
            f"{part:g} transitions; expected a fraction from 0 to 1 that leaves whole "
            "numbers"
        )
    return round(part)
