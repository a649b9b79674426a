"""The only package that knows ROS: each node converts, calls the core once, publishes."""
