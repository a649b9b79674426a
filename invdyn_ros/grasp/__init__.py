"""Block grasping: environments, policies, block pose estimation and training."""
