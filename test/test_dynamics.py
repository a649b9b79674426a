import numpy as np
import pybullet
import pytest
import torch
from pybullet_utils.bullet_client import BulletClient

from invdyn_ros.robots.rigid_body_dynamics import CHUNK_SIZE, RECURSION_MIN_BATCH, RigidBodyTree
from invdyn_ros.robots.robot import ROBOTS, load_robot

# A cart that slides along x, with a lift that has a pendulum on each side: prismatic joints and
# branches, and joint names in another order than in the file.
CART = """<robot name="cart">
  <link name="rail"/>
  {links}
  <joint name="swing_2" type="continuous"><parent link="lift"/><child link="bob_2"/>
    <origin xyz="0 -.3 .1" rpy=".2 -.4 .5"/><axis xyz="1 2 .5"/></joint>
  <joint name="slide" type="prismatic"><parent link="rail"/><child link="cart"/>
    <origin xyz=".1 0 .5" rpy=".3 0 0"/><axis xyz="1 0 0"/>
    <limit lower="-1" upper="1" effort="1" velocity="1"/></joint>
  <joint name="raise" type="prismatic"><parent link="cart"/><child link="lift"/>
    <origin xyz="0 .2 0" rpy="0 .4 0"/><axis xyz="0 0 2"/>
    <limit lower="-1" upper="1" effort="1" velocity="1"/></joint>
  <joint name="swing_1" type="revolute"><parent link="lift"/><child link="bob_1"/>
    <origin xyz="0 .3 0"/><axis xyz="0 1 0"/>
    <limit lower="-3" upper="3" effort="1" velocity="1"/></joint>
</robot>"""
LINK = """<link name="{0}"><inertial><origin xyz=".05 {1} -.2" rpy=".1 .2 .3"/>
  <mass value="{2}"/><inertia ixx=".03" ixy=".002" ixz="-.001" iyy=".04" iyz=".003" izz=".02"/>
  </inertial></link>"""
CART_XML = CART.format(
    links="".join(
        LINK.format(name, 0.02 * i, 1 + 0.5 * i)
        for i, name in enumerate(("cart", "lift", "bob_1", "bob_2"))
    )
)
CART_JOINTS = ("swing_1", "slide", "swing_2", "raise")


class Bullet:
    """PyBullet's recursive Newton-Euler algorithm for the same URDF."""

    def __init__(self, xml, joint_names, folder):
        path = folder / "arm.urdf"
        path.write_text(xml)
        self.client = BulletClient(pybullet.DIRECT)
        self.client.setGravity(0, 0, -9.81)
        self.body = self.client.loadURDF(
            str(path), useFixedBase=True, flags=pybullet.URDF_USE_INERTIA_FROM_FILE
        )
        moving = []
        for i in range(self.client.getNumJoints(self.body)):
            self.client.changeDynamics(
                self.body, i, linearDamping=0, angularDamping=0, jointDamping=0
            )
            info = self.client.getJointInfo(self.body, i)
            if info[2] != pybullet.JOINT_FIXED:
                moving.append(info[1].decode())
        self.order = [joint_names.index(name) for name in moving]

    def torque(self, q, qd, qdd):
        states = (list(x[self.order]) for x in (q, qd, qdd))
        tau = np.empty(len(q))
        tau[self.order] = self.client.calculateInverseDynamics(self.body, *states)
        return tau


def random_states(n, count, seed=0):
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.normal(size=(count, n)) * scale) for scale in (1.5, 2.0, 5.0)]


@pytest.fixture(scope="module", params=ROBOTS)
def robot(request):
    return load_robot(request.param)


@pytest.fixture(scope="module")
def tree(robot):
    return RigidBodyTree.from_urdf(robot.rigid_body_urdf(), robot.joint_names)


@pytest.fixture(scope="module")
def cart():
    return RigidBodyTree.from_urdf(CART_XML, CART_JOINTS)


@pytest.mark.parametrize(
    "count", [RECURSION_MIN_BATCH // 2, 2 * RECURSION_MIN_BATCH]
)  # one for each algorithm
def test_torque_agrees_between_mujoco_pybullet_and_torch(robot, tree, tmp_path, count):
    states = random_states(robot.n, count)
    ours = tree.torque(*states).numpy()
    bullet = Bullet(robot.rigid_body_urdf(), robot.joint_names, tmp_path)
    for tau, *state in zip(ours, *(x.numpy() for x in states), strict=True):
        np.testing.assert_allclose(robot.inverse_dynamics(*state), tau, rtol=0, atol=1e-10)
        np.testing.assert_allclose(bullet.torque(*state), tau, rtol=0, atol=1e-6)


@pytest.mark.parametrize("count", [2 * RECURSION_MIN_BATCH, CHUNK_SIZE["cpu"] + 1])
def test_torques_of_a_large_batch_equal_those_of_small_ones(cart, count):
    states = random_states(4, count)
    few = [
        cart.torque(*x)
        for x in zip(*(x.split(RECURSION_MIN_BATCH - 1) for x in states), strict=True)
    ]
    torch.testing.assert_close(cart.torque(*states), torch.cat(few), rtol=0, atol=1e-11)
    transposed = [
        x.view(1, -1, 4).transpose(0, 1) for x in states
    ]  # another shape and memory layout
    torch.testing.assert_close(cart.torque(*transposed)[:, 0], torch.cat(few), rtol=0, atol=1e-11)


def test_gradients_of_a_large_batch_equal_those_of_small_ones(cart):
    inertial = cart.inertial.clone().requires_grad_()
    states = [x.requires_grad_() for x in random_states(4, RECURSION_MIN_BATCH)]
    weight = random_states(4, RECURSION_MIN_BATCH, seed=1)[0]
    gradients = []
    for size in (RECURSION_MIN_BATCH, RECURSION_MIN_BATCH // 2):
        parts = zip(*(x.split(size) for x in states), strict=True)
        tau = torch.cat([cart.torque(*part, inertial) for part in parts])
        gradients.append(torch.autograd.grad((weight * tau).sum(), [*states, inertial]))
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


def test_torque_of_a_branching_tree_with_prismatic_joints_agrees_with_pybullet(cart, tmp_path):
    states = random_states(4, 2 * RECURSION_MIN_BATCH)
    ours = cart.torque(*states).numpy()
    bullet = Bullet(CART_XML, CART_JOINTS, tmp_path)
    for tau, *state in zip(ours, *(x.numpy() for x in states), strict=True):
        np.testing.assert_allclose(bullet.torque(*state), tau, rtol=0, atol=1e-6)


def test_link_poses_agree_with_mujoco(robot, tree):
    q = random_states(robot.n, 1)[0][0]
    child = {robot.model().joint(i).name: robot.model().jnt_bodyid[i] for i in range(robot.n)}
    for name, T in zip(robot.joint_names, tree.poses(q).numpy(), strict=True):
        link = robot.model().body(child[name]).name
        np.testing.assert_allclose(robot.forward_kinematics(q.numpy(), link), T, atol=1e-12)


def test_torque_is_the_regressor_times_the_parameters(tree, robot):
    states = random_states(robot.n, 20)
    other = tree.inertial * torch.linspace(0.5, 1.5, 10, dtype=torch.float64)
    for inertial in (tree.inertial, other):
        from_regressor = tree.regressor(*states) @ inertial.flatten()
        torch.testing.assert_close(
            from_regressor, tree.torque(*states, inertial), rtol=0, atol=1e-10
        )


def test_torque_at_rest_is_the_gradient_of_the_potential_energy(tree, robot):
    q = random_states(robot.n, 10)[0].requires_grad_()
    zero = torch.zeros_like(q)
    height_moment = (tree.poses(q)[..., 2, :] * tree.inertial[:, [1, 2, 3, 0]]).sum((-1, -2))
    (slope,) = torch.autograd.grad(9.81 * height_moment.sum(), q)
    torch.testing.assert_close(tree.torque(q, zero, zero), slope, rtol=0, atol=1e-10)


def test_power_equals_the_change_of_kinetic_and_potential_energy(cart):
    q, qd, qdd = random_states(4, 1)
    zero = torch.zeros(1, 4, dtype=torch.float64)

    def energy(q, qd):
        M_qd = cart.torque(q, zero, qd) - cart.torque(q, zero, zero)
        height_moment = (cart.poses(q)[..., 2, :] * cart.inertial[:, [1, 2, 3, 0]]).sum((-1, -2))
        return 0.5 * (M_qd * qd).sum(-1) + 9.81 * height_moment

    _, power = torch.func.jvp(energy, (q, qd), (qd, qdd))
    torch.testing.assert_close((cart.torque(q, qd, qdd) * qd).sum(-1), power)


def test_mass_matrix_is_symmetric_and_positive_definite(tree, robot):
    q = random_states(robot.n, 20)[0].unsqueeze(-2)
    zero = torch.zeros_like(q)
    unit = torch.eye(robot.n, dtype=torch.float64)
    M = tree.torque(q, zero, unit) - tree.torque(q, zero, zero)
    torch.testing.assert_close(M, M.mT, rtol=0, atol=1e-10)
    assert (torch.linalg.eigvalsh(M) > 0).all()


def test_gradients_of_motion_and_parameters_are_correct(cart):
    states = [x.requires_grad_() for x in random_states(4, 2)]
    inertial = cart.inertial.clone().requires_grad_()
    assert torch.autograd.gradcheck(cart.torque, (*states, inertial))


def test_gradients_are_finite_at_rest_at_zero(tree, robot):
    states = [torch.zeros(3, robot.n, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    tree.torque(*states).square().sum().backward()
    assert all(torch.isfinite(x.grad).all() for x in states)


@pytest.mark.parametrize("batch", [(), (1,), (7,), (2, 3)])
def test_batches_of_any_shape_equal_single_calls(cart, batch):
    states = [x.reshape(*batch, 4) for x in random_states(4, int(np.prod(batch, dtype=int)))]
    tau, Y = cart.torque(*states), cart.regressor(*states)
    assert tau.shape == (*batch, 4) and Y.shape == (*batch, 4, 40)
    flat = [x.reshape(-1, 4) for x in states]
    for expected, *state in zip(tau.reshape(-1, 4), *flat, strict=True):
        torch.testing.assert_close(cart.torque(*state), expected)


@pytest.mark.parametrize("count", [RECURSION_MIN_BATCH // 2, RECURSION_MIN_BATCH])
def test_single_precision_is_within_a_millinewtonmetre(robot, tree, count):
    single = RigidBodyTree.from_urdf(
        robot.rigid_body_urdf(), robot.joint_names, dtype=torch.float32
    )
    states = random_states(robot.n, count)
    tau = single.torque(*(x.float() for x in states))
    torch.testing.assert_close(tau.double(), tree.torque(*states), rtol=1e-5, atol=1e-3)


def test_gravity_turns_with_a_tilted_base(cart):
    sideways = RigidBodyTree.from_urdf(CART_XML, CART_JOINTS, gravity=(-9.81, 0, 0))
    zero = torch.zeros(4, dtype=torch.float64)
    mass = cart.inertial[:, 0].sum()
    tau = sideways.torque(zero, zero, zero)
    assert tau[1].item() == pytest.approx(9.81 * mass.item())  # the cart slides along x


def test_omitted_joints_are_fixed_and_their_links_keep_their_mass():
    whole = RigidBodyTree.from_urdf(CART_XML, CART_JOINTS)
    part = RigidBodyTree.from_urdf(CART_XML, ("slide", "raise"))
    states = random_states(2, 5)
    padded = [torch.zeros(5, 4, dtype=torch.float64) for _ in range(3)]
    for x, y in zip(padded, states, strict=True):
        x[:, [1, 3]] = y
    torch.testing.assert_close(part.torque(*states), whole.torque(*padded)[:, [1, 3]])


def test_missing_and_fixed_joints_are_refused_by_name():
    with pytest.raises(ValueError, match=r"no joint 'hinge'; the URDF has \['swing_2'"):
        RigidBodyTree.from_urdf(CART_XML, ("hinge",))
    fixed = CART_XML.replace('type="continuous"', 'type="fixed"')
    with pytest.raises(ValueError, match="joint 'swing_2' is fixed; it must be one of"):
        RigidBodyTree.from_urdf(fixed, CART_JOINTS)
