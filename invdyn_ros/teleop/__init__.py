"""Teleoperation with a person's arm: pose estimation, filters, retargeting."""
