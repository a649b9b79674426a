"""`invdyn VERB ...`: a command line enters, one verb runs, an exit code leaves.

Each verb is a module of this package with a function `main(argv) -> int`; bad input is code 2.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from invdyn_ros import __version__

VERBS = {
    "launch": "run teleop or grasp_sim, one process per node",
    "collect": "turn a simulation or a recording into a dataset",
    "train": "train a model of inverse dynamics from a config and a dataset",
    "train_grasp": "train a policy that grasps, in simulation",
    "train_planner": "train a planner that proposes states and no actions",
    "train_block_pose": "train a network that estimates block poses without markers",
    "evaluate": "report how good a model is on motion it has not seen",
    "label": "write a dataset with the actions that a model predicts",
    "export": "write a model as one ONNX file, verified",
    "compare": "train every family on a dataset; one table, one picture, the best one",
    "convert": "turn an mlp or gru checkpoint into an enhanced one, the same function",
    "calibrate": "find where the camera stands, from poses of the arm and a marker",
    "visualize": "show a body between observations, before and after training",
    "benchmark": "measure latency and speed",
}
MISSING_LIBGL = "libGL.so.1, which this machine lacks: install the package libgl1"
USAGE = "usage: invdyn VERB ...    ('invdyn VERB --help' says what a verb takes)"


def main() -> None:
    """Run the verb that the command line names, and exit with its code."""
    name, *rest = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print("\n".join([USAGE, "", *(f"  {verb:<13} {text}" for verb, text in VERBS.items())]))
        sys.exit(0)
    if name == "--version":
        print(f"invdyn {__version__}")
        sys.exit(0)
    if name not in VERBS:
        print(f"invdyn: no verb '{name}'; there are {', '.join(VERBS)}", file=sys.stderr)
        sys.exit(2)
    sys.exit(run_verb(name, rest))


def verb_main() -> None:
    """Run the verb that the executable is named after: `ros2 run invdyn_ros train`."""
    sys.exit(run_verb(Path(sys.argv[0]).stem, sys.argv[1:]))


def run_verb(name: str, arguments: list[str]) -> int:
    """Run a verb; bad input ends in one line and code 2, Ctrl-C in 130."""
    try:
        code = importlib.import_module(f"{__name__}.{name}").main(arguments)
        sys.stdout.flush()
        return int(code or 0)
    except BrokenPipeError:  # the reader of our output, such as head, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        message = " ".join(str(error).split())
        print(f"invdyn {name}: {message}", file=sys.stderr)
        return 2
    except ImportError as error:
        if "libGL" not in str(error):
            raise
        print(f"invdyn {name}: OpenCV needs {MISSING_LIBGL}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
