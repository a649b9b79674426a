"""Teleoperation by a person's arm: body pose, retargeting, filters, inverse kinematics."""
