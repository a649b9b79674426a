"""ROS 2 nodes; only this package imports ROS."""

# built in; `signal` reads files, in which time an interrupt would print a traceback
import _signal  # type: ignore[import-not-found]
import os
import sys


def _is_node() -> bool:
    """Return whether this process runs a node, as a module or as an executable of ROS."""
    words = sys.orig_argv
    if sys.argv[:1] == ["-m"]:  # so it is while Python looks for the module
        return "-m" in words and words[words.index("-m") + 1].startswith(f"{__name__}.")
    from pathlib import Path  # slow to import

    file = Path(*sys.argv[:1])
    is_module = (Path(__file__).parent / f"{file.name}.py").is_file()
    return file.parent.name == "invdyn_ros" and is_module


if _is_node():
    for _number in (_signal.SIGINT, _signal.SIGTERM):
        _signal.signal(_number, _signal.SIG_DFL)  # as `reset_signals`, before the imports
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (_signal.SIGINT,))  # blocked by a launcher
    # nothing is rendered with MuJoCo, whose import of glfw starts another Python
    os.environ.setdefault("MUJOCO_GL", "disable")

    from invdyn_ros.nodes.node_process import follow_launcher

    follow_launcher()
