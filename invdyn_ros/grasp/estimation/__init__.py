"""Block pose estimation from images and detections, and its filtering."""
