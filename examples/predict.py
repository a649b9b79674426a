"""Load a shipped model of inverse dynamics and predict the joint torques of a motion."""

import math

import torch

from invdyn_ros.models.checkpoint import load
from invdyn_ros.robots.robot import load_robot, package_file

robot = load_robot("ur5")
model = load(package_file("config/checkpoints/ur5"), robot=robot)

# One second of a sine around the home pose: (B, T, 3n) = [q, qd, qdd] at times (B, T) [s].
time = torch.arange(125, dtype=torch.float64) / model.meta.rate
angle = 2 * math.pi * time[:, None]
home = torch.as_tensor(robot.home)
amplitude = 0.1  # [rad]
q = home + amplitude * torch.sin(angle)
qd = 2 * math.pi * amplitude * torch.cos(angle).expand_as(q)
qdd = -((2 * math.pi) ** 2) * (q - home)
motion = torch.cat([q, qd, qdd], dim=1)[None]

prediction = model.predict(motion, time[None])

print(f"{model.meta.family} of {model.meta.robot}, actions in {model.meta.action_unit}")
for name, torque in zip(model.meta.joint_names, prediction.mean[0].T, strict=True):
    print(f"{name:20} {torque.min():8.2f} to {torque.max():7.2f} {model.meta.action_unit}")
