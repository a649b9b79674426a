"""Command line: `invdyn VERB ...`.

Each verb is a module of this package with a function `main(argv) -> int`, which returns the exit
code; bad input is code 2.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path

from invdyn_ros import __version__

VERBS = {
    "launch": "run teleop or grasp_sim, one process per node",
    "engage": "let the arm of a running graph move, or disengage it",
    "stop": "stop the arm of a running graph until it is engaged again",
    "ping": "say whether a running graph and its arm answer, and what they wait for",
    "jog": "move one joint of the arm of a running graph a little",
    "collect": "make a dataset from a simulation or a recording",
    "train": "train an inverse-dynamics or time-series model on a dataset",
    "train_grasp": "train a grasp policy in simulation",
    "train_planner": "train a planner of joint motions on a dataset",
    "train_block_pose": "train a network that estimates block poses from images",
    "evaluate": "evaluate a model on the test split of a dataset",
    "label": "add the actions that a model predicts to a dataset",
    "export": "export a model to ONNX and verify the file",
    "compare": "train and evaluate every model family on a dataset",
    "check_urdf": "check the description of an arm, and what can be done with it",
    "excite": "design a motion that tells the parameters of an arm, free of collisions",
    "identify": "identify an arm, or what it carries",
    "convert": "convert an mlp or gru checkpoint to an equivalent enhanced one",
    "install_models": "make the files of MediaPipe's pose and hand networks",
    "calibrate": "calibrate the lens of a camera with a board, or its pose with the arm",
    "print_board": "write a board to print, for the calibration of a camera",
    "print_block": "write blocks with markers to print, cut out and fold",
    "visualize": "write a page or film of a network or a body's motion, or a report's page",
    "benchmark": "measure latency, speed and accuracy",
}
QUIET_VERBS = (
    "launch",
    "engage",
    "stop",
    "ping",
    "jog",
)  # they have nothing to finish after Ctrl-C
MISSING_LIBGL = "libGL.so.1, which this machine lacks: install the package libgl1"
USAGE = "usage: invdyn VERB ...    ('invdyn VERB --help' lists its options)"


def main() -> None:
    """Run the verb named on the command line and exit with its code."""
    end_on_interrupt()
    name, *rest = sys.argv[1:] or ["--help"]
    name = name if name.startswith("-") else name.replace("-", "_")
    if name in ("-h", "--help"):
        print("\n".join([USAGE, "", *(f"  {verb:<16} {text}" for verb, text in VERBS.items())]))
        sys.exit(0)
    if name == "--version":
        print(f"invdyn {__version__}")
        sys.exit(0)
    if name not in VERBS:
        print(f"invdyn: no verb '{name}'; there are {', '.join(VERBS)}", file=sys.stderr)
        sys.exit(2)
    sys.exit(run_verb(name, rest))


def verb_main() -> None:
    """Run the verb of the executable's name, as in `ros2 run invdyn_ros train`."""
    end_on_interrupt()
    sys.exit(run_verb(Path(sys.argv[0]).stem, sys.argv[1:]))


def node_main() -> None:
    """Run the node of the executable's name, as in `ros2 run invdyn_ros view`."""
    name = Path(sys.argv[0]).stem
    try:
        node = importlib.import_module(f"invdyn_ros.nodes.{name}")
    except ImportError as error:
        sys.exit(_report_import_error(name, error))
    except ValueError as error:  # in the file of a user's arms
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(2)
    node.main()


def end_on_interrupt() -> None:
    """Let Ctrl-C end this process without words while it starts, in the middle of imports."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _interrupt(number: int, frame: object) -> None:
    """Let a verb write what it has, and remove its temporary files."""
    raise KeyboardInterrupt(number)


def run_verb(name: str, arguments: list[str]) -> int:
    """Run a verb and return its exit code: 2 after one line on bad input, 130 after Ctrl-C."""
    try:
        module = importlib.import_module(f"{__name__}.{name}")
        if name not in QUIET_VERBS and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, _interrupt)
            signal.signal(signal.SIGTERM, _interrupt)  # of a batch system, or of systemd
        code = module.main(arguments)
        sys.stdout.flush()
        return int(code or 0)
    except BrokenPipeError:  # the reader of the output, such as head, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, MemoryError) as error:
        from invdyn_ros.config import error_line  # slow to import

        print(f"invdyn {name}: {error_line(error)}", file=sys.stderr)
        return 2
    except ImportError as error:
        return _report_import_error(f"invdyn {name}", error)
    except KeyboardInterrupt as interruption:
        return 128 + next(iter(interruption.args), signal.SIGINT)


def _report_import_error(program: str, error: ImportError) -> int:
    """Print one line about a part that is not installed and return the exit code 2."""
    from invdyn_ros.graph.extras import missing_module

    line = f"OpenCV needs {MISSING_LIBGL}" if "libGL" in str(error) else missing_module(error)
    if line is None:
        raise error
    print(f"{program}: {line}", file=sys.stderr)
    return 2
