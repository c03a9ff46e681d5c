"""Multi-label stratification: groups of images are distributed so that every split has every class."""

from collections.abc import Mapping

import numpy as np

_EMPTY = np.zeros(0, np.intp)


def stratify(
    presence: np.ndarray, sizes: np.ndarray, targets: np.ndarray, fixed: Mapping[int, int], seed: int
) -> np.ndarray:
    """Return the split of every group, ``int (G,)``.

    Iterative stratification (Sechidis, Tsoumakas, Vlahavas: On the Stratification of Multi-Label Data, ECML 2011,
    algorithm 1): the class with the fewest remaining groups comes first; each of its groups goes to the split that
    lacks it most. Two additions: where splits differ in size, a class with just enough groups gets one in every split,
    the first split first; and groups are moved at the end until the splits have their sizes.

    Args:
        presence: Images of a group with a class, ``int (G, C)``.
        sizes: Images of a group, ``int (G,)``.
        targets: Images that each split should have in the end, ``float (S,)``.
        fixed: Groups whose split is given.
        seed: Of the order of equal groups.
    """
    rng = np.random.default_rng(seed)
    labels = np.column_stack([presence, sizes])  # the last one, of every image, is for the sizes
    total = labels.sum(axis=0)
    shares, differ = targets / targets.sum(), bool(np.ptp(targets))
    split = np.full(len(sizes), -1)
    counts = np.zeros((len(targets), labels.shape[1]), int)  # images
    holders = np.zeros_like(counts)  # groups
    for group, given in fixed.items():
        _place(split, counts, holders, labels, group, given)
    order = rng.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]  # large groups are hard to place later
    while len(free := order[split[order] < 0]):
        remaining = (labels[free] > 0).sum(axis=0)
        label = int(np.argmin(np.where(remaining > 0, remaining, np.iinfo(int).max)))
        members = free[labels[free, label] > 0]
        for position, group in enumerate(members):
            lacking = np.flatnonzero(holders[:, label] == 0)
            if differ and label < presence.shape[1] and len(lacking) > 0 and len(members) - position <= len(lacking):
                chosen = int(lacking[0])
            else:
                wanted = np.stack([shares * total[label] - counts[:, label], targets - counts[:, -1]])
                chosen = max(range(len(targets)), key=lambda one: (*np.round(wanted[:, one], 9), -one))
            _place(split, counts, holders, labels, group, chosen)
    movable = np.setdiff1d(np.arange(len(sizes)), np.fromiter(fixed, np.intp))
    _cover(split, counts, holders, labels, movable)
    _balance(split, counts, holders, labels, movable, targets)
    for to in np.flatnonzero(holders[:, -1] == 0):  # every group is the last one of a class
        able = movable[holders[split[movable], -1] > 1]
        if len(able):
            _place(split, counts, holders, labels, able[np.argmin(labels[able, -1])], int(to))
    return split


def _place(split: np.ndarray, counts: np.ndarray, holders: np.ndarray, labels: np.ndarray, group: int, to: int) -> None:
    """Put a group into a split, out of the one it is in."""
    for where, sign in ((split[group], -1), (to, 1)):
        if where >= 0:
            counts[where] += sign * labels[group]
            holders[where] += sign * (labels[group] > 0)
    split[group] = to


def _can_leave(split: np.ndarray, holders: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The groups that are not the last of any class in their split."""
    return groups[((holders[split[groups]] > 1) | (labels[groups] == 0)).all(axis=1)] if len(groups) else _EMPTY


def _cover(split: np.ndarray, counts: np.ndarray, holders: np.ndarray, labels: np.ndarray, movable: np.ndarray) -> None:
    """Move groups to splits that lack one of their classes, where no other class is lost."""
    for label in np.argsort(holders.sum(axis=0), kind="stable"):
        for to in np.flatnonzero(holders[:, label] == 0):
            able = _can_leave(split, holders, labels, movable[labels[movable, label] > 0])
            if len(able):
                _place(split, counts, holders, labels, able[np.argmin(labels[able, -1])], int(to))


def _balance(
    split: np.ndarray,
    counts: np.ndarray,
    holders: np.ndarray,
    labels: np.ndarray,
    movable: np.ndarray,
    targets: np.ndarray,
) -> None:
    """Move groups from splits that are too large to those too small, those that disturb the classes least."""
    wanted = targets[:, None] / targets.sum() * labels.sum(axis=0)
    scale = np.maximum(labels.sum(axis=0), 1)
    for _ in range(len(labels)):
        excess = counts[:, -1] - targets
        source = max(set(split[movable].tolist()), key=lambda one: (excess[one], -one), default=0)
        to = int(np.argmin(excess))
        able = _can_leave(split, holders, labels, movable[split[movable] == source])
        # A move has to bring the sizes nearer to their targets.
        able = able[labels[able, -1] < excess[source] - excess[to]]
        if source == to or not len(able):
            return
        after_source = counts[source] - labels[able] - wanted[source]
        after_to = counts[to] + labels[able] - wanted[to]
        gain = np.abs(excess[source]) + np.abs(excess[to]) - np.abs(after_source[:, -1]) - np.abs(after_to[:, -1])
        if gain.max() < 1e-9:
            return
        able, after_source, after_to = (part[gain > 1e-9] for part in (able, after_source, after_to))
        disturbance = ((after_source**2 + after_to**2) / scale).sum(axis=1)
        _place(split, counts, holders, labels, able[np.argmin(disturbance)], to)
