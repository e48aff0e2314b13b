"""Made recordings, and whether what was read is what was written."""

import numpy as np

from worldmodels.data import Episodes, make_episode

LOSS = 2.0  # grey levels of 255, on average, that a video may lose


def recording(seed=0, image=True, discrete=False):
    """Three ragged episodes; the second ends in a terminal state."""
    draw = np.random.default_rng(seed)
    found = []
    for i, steps in enumerate([6, 3, 9]):
        seen = {"state": draw.normal(size=(steps, 4)), "touch": draw.normal(size=steps)}
        if image:
            rows, columns = np.mgrid[:32, :48]
            waves = [128 + 100 * np.sin((rows + 2 * columns) / 9 + t / 3 + i) for t in range(steps)]
            seen["camera"] = np.stack([np.stack([w, 255 - w, w / 2], -1) for w in waves]).astype(
                np.uint8
            )
        action = draw.integers(0, 3, steps - 1) if discrete else draw.normal(size=(steps - 1, 2))
        reward, actions = draw.normal(size=steps - 1), 3 if discrete else None
        found.append(make_episode(f"e{i}", seen, action, reward, terminal=i == 1, actions=actions))
    return Episodes(found, rate=20.0, source="made")


def same(found, data, tolerance=0):
    """Keys, types and values are equal; images within ``tolerance`` grey levels on average."""
    assert found.schema == data.schema and len(found) == len(data)
    for a, b in zip(found, data):
        for key in data.schema:
            if tolerance and a[key].dtype == np.uint8:
                assert np.abs(a[key].astype(float) - b[key]).mean() < tolerance
            else:
                np.testing.assert_array_equal(a[key], b[key], err_msg=f"{a.name} {key}")
