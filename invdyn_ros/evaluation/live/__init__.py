"""Live window: a web page that shows a running graph and can stop its arm, without ROS."""
