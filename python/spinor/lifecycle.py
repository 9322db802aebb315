"""llm-compressor's lifecycle, for modifiers that are written in Python and act on models in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from spinor._errors import RunError


class EventType(Enum):
    """What happens, in this order in each batch."""

    INITIALIZE = "initialize"
    FINALIZE = "finalize"
    CALIBRATION_EPOCH_START = "calibration_epoch_start"
    CALIBRATION_EPOCH_END = "calibration_epoch_end"
    SEQUENTIAL_EPOCH_END = "sequential_epoch_end"
    BATCH_START = "batch_start"
    LOSS_CALCULATED = "loss_calculated"
    OPTIM_PRE_STEP = "optim_pre_step"
    OPTIM_POST_STEP = "optim_post_step"
    BATCH_END = "batch_end"


@dataclass
class Event:
    type_: EventType | None = None
    steps_per_epoch: int | None = None
    batches_per_step: int | None = None
    invocations_per_step: int = 1
    global_step: int = 0
    global_batch: int = 0


@dataclass
class State:
    model: Any = None
    data: Any = None
    optimizer: Any = None
    loss: Any = None
    extra: dict[str, Any] = field(default_factory=dict)

    def update(self, **arguments: Any) -> dict[str, Any]:
        """Takes what it has fields for; returns the rest."""
        rest = {}
        for name, value in arguments.items():
            if name in self.__dataclass_fields__:
                setattr(self, name, value)
            else:
                rest[name] = value
        return rest


def run(modifier: Any, state: State) -> None:
    """A modifier's whole life: initialize, the events of a calibration, finalize."""
    if not modifier.on_initialize(state):
        raise RunError(type(modifier).__name__, "on_initialize said that it did not work")
    start, end = Event(type_=EventType.CALIBRATION_EPOCH_START), Event(type_=EventType.CALIBRATION_EPOCH_END)
    modifier.on_start(state, start)
    modifier.on_event(state, start)
    modifier.on_event(state, end)
    modifier.on_end(state, end)
    if not modifier.on_finalize(state):
        raise RunError(type(modifier).__name__, "on_finalize said that it did not work")
