"""Hand-eye calibration: the pose of a camera from poses of the arm and of a marker."""
