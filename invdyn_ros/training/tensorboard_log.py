"""Training in numbers: the progress of a run enters, a TensorBoard event file leaves."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from invdyn_ros.training.training_state import Progress

FORMAT = "brain.Event:2"  # what TensorBoard expects first in a file


class TrainingLog:
    """Scalars per epoch for `tensorboard --logdir`; a full disk raises here, not in a thread."""

    def __init__(self, directory: Path) -> None:
        """Open nothing yet: a closed form has no epochs."""
        self.directory = directory
        self._file: RecordWriter | None = None

    def __enter__(self) -> TrainingLog:
        """Log until the end of a `with` block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def write(self, progress: Progress) -> None:
        """Add the last epoch."""
        if self._file is None:
            self._file = self._start(progress.epoch)
        train, valid = progress.losses[-1]
        scalars = {"loss/train": train, "loss/valid": valid} | progress.scalars
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self._put(self._file, Event(step=progress.epoch, summary=Summary(value=values)))

    def _start(self, epoch: int) -> RecordWriter:
        """Open a new file; TensorBoard then drops what an older one says from `epoch` on."""
        self.directory.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns():020d}.{os.getpid()}"
        file = RecordWriter((self.directory / name).open("wb", buffering=0))
        self._put(file, Event(file_version=FORMAT))
        self._put(file, Event(step=epoch, session_log=SessionLog(status=SessionLog.START)))
        return file

    def _put(self, file: RecordWriter, event: Event) -> None:
        event.wall_time = time.time()
        file.write(event.SerializeToString())
