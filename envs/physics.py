"""The state of a MuJoCo simulation, from which the next step gives the same bits.

`mj_getState` with mjSTATE_INTEGRATION holds what the next step is computed from, the warm start of
the solver too. An environment reads more than that: positions of bodies, sensors and forces, which
belong to the last step and which computing them anew would move on by one substep. So all arrays of
fixed size are kept beside it; those that depend on the number of contacts are computed again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.errors import EnvError
from envs.extras import load

# of a model: large
_CONSTANT = (
    "mesh_",
    "tex_",
    "skin_",
    "bvh_",
    "oct_",
    "flex",
    "name",
    "text_",
    "paths",
    "_",
)


def save_simulation(model: Any, data: Any) -> dict[str, Any]:
    """The state of `data`: the integration state [S], and the arrays that were computed from
    earlier ones.
    """
    mujoco = load("mujoco", "the state of a simulation")
    what = mujoco.mjtState.mjSTATE_INTEGRATION
    state = np.empty(mujoco.mj_stateSize(model, what), np.float64)
    mujoco.mj_getState(model, data, state, what)
    return {"state": state, "arrays": {key: array.copy() for key, array in _fixed(data).items()}}


def load_simulation(model: Any, data: Any, saved: Any) -> None:
    """Bring `data` into a saved state. Raises EnvError for that of another model or release of
    MuJoCo.
    """
    mujoco = load("mujoco", "the state of a simulation")
    what = mujoco.mjtState.mjSTATE_INTEGRATION
    state, arrays = np.asarray(saved["state"], np.float64), _fixed(data)
    size = mujoco.mj_stateSize(model, what)
    if state.shape != (size,) or arrays.keys() != saved["arrays"].keys():
        raise EnvError(
            f"load_state: expected a simulation with a state of {size} numbers, got {state.shape}"
        )
    mujoco.mj_setState(model, data, state, what)
    mujoco.mj_forward(model, data)  # contacts
    for key, array in arrays.items():
        array[...] = saved["arrays"][key]


def model_arrays(model: Any) -> dict[str, NDArray[Any]]:
    """The arrays of a model that a task may change, by name: all but meshes, textures and names."""
    found = {key: getattr(model, key) for key in dir(model) if not key.startswith(_CONSTANT)}
    return {
        key: value for key, value in found.items() if isinstance(value, np.ndarray) and value.size
    }


def _fixed(data: Any) -> dict[str, NDArray[Any]]:
    """The arrays in the buffer of `data`; those whose size contacts change lie in its arena."""
    first = _address(data.qpos)
    names = [key for key in dir(data) if not key.startswith("_")]
    found = {
        key: value
        for key in names
        if isinstance(value := getattr(data, key), np.ndarray) and value.size
    }
    return {
        key: value for key, value in found.items() if 0 <= _address(value) - first < data.nbuffer
    }


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])
