"""Random states of the devices, which dropout draws from."""

import torch


def device_rng_states() -> dict[str, list[torch.Tensor]]:
    """Return the random states of all devices, by their type."""
    states: dict[str, list[torch.Tensor]] = {"cuda": [], "mps": []}
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator and accelerator.type == "mps":
        states["mps"] = [torch.mps.get_rng_state()]
    elif accelerator:
        module = torch.get_device_module(accelerator)
        states[accelerator.type] = [module.get_rng_state(index) for index in range(module.device_count())]
    return states


def set_device_rng_states(states: dict[str, list[torch.Tensor]]) -> None:
    """Restore the random states of the devices that are here too."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    found = states.get(accelerator.type, []) if accelerator else []
    if accelerator and accelerator.type == "mps":
        for state in found:
            torch.mps.set_rng_state(state)
    elif accelerator:
        module = torch.get_device_module(accelerator)
        for index, state in zip(range(module.device_count()), found):
            module.set_rng_state(state, index)
