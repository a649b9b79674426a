"""TensorBoard event files of a training run."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from invdyn_ros.training.training_state import Progress

FORMAT = "brain.Event:2"  # file version that TensorBoard expects in the first event


class TensorBoardLog:
    """Scalars per epoch for `tensorboard --logdir`.

    Unlike torch's SummaryWriter it writes without a thread: a full disk raises in the caller.
    """

    def __init__(self, directory: Path) -> None:
        """Log to `directory`; the file is created after the first epoch."""
        self.directory = directory
        self._file: RecordWriter | None = None

    def __enter__(self) -> TensorBoardLog:
        """Return the log, for a `with` block."""
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
        """Write the scalars of the last epoch."""
        if self._file is None:
            self._file = self._open(progress.epoch)
        train, val = progress.losses[-1]
        scalars = {"loss/train": train, "loss/val": val} | progress.scalars
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self._write_event(self._file, Event(step=progress.epoch, summary=Summary(value=values)))

    def _open(self, epoch: int) -> RecordWriter:
        """Open a new file; TensorBoard then drops older events from `epoch` on."""
        self.directory.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns():020d}.{os.getpid()}"
        file = RecordWriter((self.directory / name).open("wb", buffering=0))
        self._write_event(file, Event(file_version=FORMAT))
        start = SessionLog(status=SessionLog.START)
        self._write_event(file, Event(step=epoch, session_log=start))
        return file

    def _write_event(self, file: RecordWriter, event: Event) -> None:
        event.wall_time = time.time()
        file.write(event.SerializeToString())
