"""Perception from RGB images: poses of marked blocks, the wrist, the pose of the camera."""
