"""Load a shipped model of inverse dynamics and predict the joint torques of a motion."""

import numpy as np

import invdyn_ros

robot = invdyn_ros.load_robot("ur5")
model = invdyn_ros.load("ur5")  # or the folder of a model of your own

# One second of a sine around the home pose: (T, n) each.
frequency, amplitude = 2 * np.pi, 0.1  # [rad/s], [rad]
time = np.linspace(0, 1, 125)[:, None]
q = robot.home + amplitude * np.sin(frequency * time)
qd = np.broadcast_to(amplitude * frequency * np.cos(frequency * time), q.shape)
qdd = -(frequency**2) * (q - robot.home)

torque = model.predict(q, qd, qdd).torque_nm

print(f"{model.meta.family} of {model.meta.robot}")
for name, values in zip(model.joint_names, torque.T, strict=True):
    print(f"{name:20} {values.min():8.2f} to {values.max():7.2f} N m")
