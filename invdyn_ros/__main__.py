"""Entry point of `python -m invdyn_ros`, the same as the command `invdyn`."""

from invdyn_ros.cli import main

main()
