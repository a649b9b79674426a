"""Step the grasp environment with random actions, then let its expert grasp the block."""

import gymnasium

import invdyn_ros.grasp.envs.registration  # noqa: F401  (registers the environments)

env = gymnasium.make("invdyn_ros/GraspUR5-v0", noise="none", control_mode="cartesian")

observation, info = env.reset(seed=0)
for _ in range(20):
    action = env.action_space.sample()
    observation, reward, terminated, truncated, info = env.step(action)
print(f"observation {observation.shape}, action {action.shape}, reward {reward:.3f}")

observation, info = env.reset(seed=0)
episode_return, done = 0.0, False
while not done:
    action = env.unwrapped.expert_action()
    observation, reward, terminated, truncated, info = env.step(action)
    episode_return += float(reward)
    done = terminated or truncated
print(f"expert: return {episode_return:.2f}, success {info['is_success']}")
env.close()
