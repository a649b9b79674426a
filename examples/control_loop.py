"""Move a simulated arm to a position with a shipped model, in a loop of one's own."""

import numpy as np

import invdyn_ros

robot = invdyn_ros.load_robot("ur5")
controller = invdyn_ros.Controller(robot, invdyn_ros.load("ur5"))
goal = robot.home + np.array([0.5, 0.2, -0.3, 0.2, 0.3, 0.5])

with invdyn_ros.Simulation(robot) as arm:
    for _ in range(int(4 * robot.rate)):
        state = arm.state()
        command = controller.step(state.q, state.qd, goal, time=arm.time)
        arm.step(command.action)
    error = np.abs(arm.state().q - goal).max()

print(f"largest error of a joint: {1e3 * error:.2f} mrad; fault: {controller.fault}")
