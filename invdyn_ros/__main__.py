"""`python -m invdyn_ros VERB ...` is `invdyn VERB ...`."""

from invdyn_ros.cli import main

main()
