"""Files of identified rigid-body models for other programs: C source, URDF and MJCF."""
