"""Arms of URDF files with a tool of their own, several chains, and Collada meshes."""

from dataclasses import replace

import numpy as np
import pytest
from test_urdf_checks import BOX, forget_arms, urdf_of

from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.data.cache import cached_file
from invdyn_ros.robots.collada import read_collada
from invdyn_ros.robots.collision_geometry import build_spec, load_shapes, shape_points
from invdyn_ros.robots.link_frames import description_text
from invdyn_ros.robots.obstacles import Obstacles
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.robots.visual_geometry import link_corners

__all__ = ["forget_arms"]  # a fixture of every test


def test_tool_that_the_urdf_lacks_is_part_of_the_arm(tmp_path):
    """In kinematics, simulation, description and kept URDF."""
    (tmp_path / "bare.urdf").write_text(urdf_of())
    file = tmp_path / "with_tool.yaml"
    file.write_text("urdf: bare.urdf\ntool: {xyz: [0, 0.1, 0.2], rpy: [1.5708, 0, 0]}\n")
    bare, arm = load_robot("bare", tmp_path / "bare.urdf"), load_robot(str(file))
    q = np.array([0.3, -0.5, 0.8])
    T = bare.forward_kinematics(q)
    np.testing.assert_allclose(arm.forward_kinematics(q, bare.tip_link), T)
    tip = arm.forward_kinematics(q)
    np.testing.assert_allclose(tip[:3, 3], T[:3, 3] + T[:3, :3] @ [0, 0.1, 0.2], atol=1e-9)
    np.testing.assert_allclose(tip[:3, 2], -T[:3, 1], atol=1e-5)  # turned about x
    step = np.array([0, 1e-6, 0])
    moved = arm.forward_kinematics(q + step)[:3, 3] - tip[:3, 3]
    np.testing.assert_allclose(arm.jacobian(q)[:3] @ step, moved, atol=1e-11)
    with Simulation(arm, unit="N m") as simulation:
        simulation.reset(0, q)
        position = simulation.client.getLinkState(simulation.arm.body_id, simulation.arm.tip)[4]
        np.testing.assert_allclose(position, tip[:3, 3], atol=1e-6)
    assert arm.tip_link in description_text(arm)
    again = load_robot("again", cached_file("again.urdf", arm.rigid_body_urdf()))
    np.testing.assert_allclose(again.forward_kinematics(q), tip, atol=1e-9)
    file.write_text("urdf: bare.urdf\ntool: {xyz: [0, 100, 200]}\n")
    with pytest.raises(ValueError, match=r"xyz of the tool is .*; give metres"):
        load_robot(str(file))


LINK = """<link name="{}"><inertial><mass value="1"/>
  <inertia ixx="0.01" ixy="0" ixz="0" iyy="0.01" iyz="0" izz="0.01"/></inertial></link>"""
HINGE = """<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>
  <origin xyz="{x} 0 0.3"/><axis xyz="{axis}"/>
  <limit lower="0" upper="1" velocity="2" effort="20"/></joint>"""


def two_arms(kind="prismatic"):
    """Text of a lift that carries two arms of three joints."""
    lift = {"name": "lift", "kind": kind, "parent": "base", "child": "torso", "axis": "0 0 1"}
    parts = ['<link name="base"/>', LINK.format("torso"), HINGE.format(**lift, x=0)]
    for side, x in (("left", 0.2), ("right", -0.2)):
        for i in range(3):
            values = {"name": f"{side}_joint_{i}", "kind": "revolute", "child": f"{side}_{i}"}
            values |= {"parent": f"{side}_{i - 1}" if i else "torso", "x": 0 if i else x}
            parts += [LINK.format(f"{side}_{i}"), HINGE.format(**values, axis=f"0 {i} {1 - i}")]
    return f"<robot name='two'>{''.join(parts)}</robot>"


def test_one_of_two_arms_is_chosen_by_its_links(tmp_path):
    urdf, file = tmp_path / "two.urdf", tmp_path / "left.yaml"
    urdf.write_text(two_arms())
    file.write_text("urdf: two.urdf\nbase_link: torso\ntip_link: left_2\n")
    left = load_robot(str(file))
    assert left.joint_names == ("left_joint_0", "left_joint_1", "left_joint_2")
    assert left.forward_kinematics(np.zeros(3))[:3, 3] == pytest.approx([0.2, 0, 1.2])
    file.write_text("urdf: two.urdf\ntip_link: right_2\n")
    assert load_robot(str(file)).joint_names == ("lift", *(f"right_joint_{i}" for i in range(3)))
    for text, message in (
        ("tip_link: hand", "has no link 'hand' for the tool; it has base, torso"),
        ("base_link: torso", "base_link needs a tip_link"),
        ("base_link: left_0\ntip_link: right_2", "'right_2' is not behind 'left_0'"),
        ("base_link: torso\ntip_link: torso", "no joint moves 'torso'"),
    ):
        wrong = tmp_path / "wrong.yaml"  # workers read the file of the last arm again
        wrong.write_text(f"urdf: two.urdf\n{text}\n")
        with pytest.raises(ValueError, match=message):
            load_robot(str(wrong))


def test_several_chains_without_a_trunk_need_a_tip_link(tmp_path):
    file = tmp_path / "two.urdf"
    file.write_text(two_arms("fixed"))
    with pytest.raises(
        ValueError, match=r"several chains .*; give the tip_link .*left_2 or right_2"
    ):
        load_robot("two", file)


def test_links_that_overlap_at_home_do_not_push_each_other_apart(tmp_path):
    """As the convex hulls of bent links do, with a link between them."""
    long = BOX.replace("0.05 0.05 0.2", "0.05 0.05 1.4")
    (tmp_path / "arm.urdf").write_text(urdf_of(shape=long))
    arm = load_robot("arm", tmp_path / "arm.urdf")
    arm = replace(arm, home=np.zeros(3))  # all links above each other
    with Simulation(arm, unit="N m") as simulation:
        simulation.reset(0, arm.home)
        samples = [simulation.step(np.zeros(3)) for _ in range(5)]
        client, body = simulation.client, simulation.arm.body_id
        assert not client.getContactPoints(body, body)
    assert max(np.abs(sample.qd).max() for sample in samples) < 0.1


def test_root_link_may_be_named_world(tmp_path):
    (tmp_path / "arm.urdf").write_text(urdf_of().replace('"base"', '"world"'))
    arm = load_robot("arm", tmp_path / "arm.urdf")
    np.testing.assert_allclose(arm.forward_kinematics(np.ones(3), "world"), np.eye(4))


def test_prefix_without_a_namespace_and_an_invalid_base_inertia_do_not_matter(tmp_path):
    """As Drake and SolidWorks write them."""
    text = urdf_of().replace("<limit ", '<limit drake:acceleration="2.5" ', 1)
    bad = """<link name="base"><inertial><mass value="1"/>
      <inertia ixx="-1e-9" ixy="0" ixz="0" iyy="1" iyz="0" izz="1"/></inertial></link>"""
    (tmp_path / "arm.urdf").write_text(text.replace('<link name="base"/>', bad))
    (tmp_path / "plain.urdf").write_text(urdf_of())
    arm, plain = (load_robot(name, tmp_path / f"{name}.urdf") for name in ("arm", "plain"))
    q = np.array([0.3, -0.5, 0.8])
    np.testing.assert_allclose(arm.mass_matrix(q), plain.mass_matrix(q))
    (tmp_path / "arm.urdf").write_text(text.replace("</robot>", "</robots>"))
    with pytest.raises(ValueError, match="is not XML: mismatched tag"):
        load_robot("arm", tmp_path / "arm.urdf")


COLLADA = """<?xml version="1.0" encoding="utf-8"?>
<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">
  <asset><unit name="millimeter" meter="0.001"/><up_axis>Y_UP</up_axis></asset>
  <library_geometries><geometry id="box"><mesh>
    <source id="points"><float_array id="values" count="24">{points}</float_array>
      <technique_common><accessor source="#values" count="8" stride="3"/></technique_common>
    </source>
    <vertices id="corners"><input semantic="POSITION" source="#points"/></vertices>
    <polylist count="6"><input semantic="VERTEX" source="#corners" offset="0"/>
      <input semantic="NORMAL" source="#points" offset="1"/>
      <vcount>4 4 4 4 4 4</vcount><p>{corners}</p></polylist>
  </mesh></geometry></library_geometries>
  <library_visual_scenes><visual_scene id="scene"><node id="outer">
    <translate>0 0 100</translate><rotate>0 0 1 90</rotate>
    <node><scale>1 1 2</scale><instance_geometry url="#box"/></node></node></visual_scene>
  </library_visual_scenes><scene><instance_visual_scene url="#scene"/></scene></COLLADA>"""


def collada_box():
    """A box of 40 x 60 x 200 mm, 100 mm above its origin."""
    points = [(30 * x, 20 * y, 50 * z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    faces = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
    corners = " ".join(f"{k} 0" for face in faces for k in face)
    return COLLADA.format(points=" ".join(str(x) for p in points for x in p), corners=corners)


def test_collada_mesh_is_as_large_as_its_file_says(tmp_path):
    """In clearances, drawings and simulation."""
    (tmp_path / "box.dae").write_text(collada_box())
    triangles = read_collada(tmp_path / "box.dae")
    assert triangles.shape == (12, 3, 3)
    np.testing.assert_allclose(triangles.reshape(-1, 3).min(0), [-0.02, -0.03, 0.0], atol=1e-9)
    np.testing.assert_allclose(triangles.reshape(-1, 3).max(0), [0.02, 0.03, 0.2], atol=1e-9)
    mesh = '<mesh filename="box.dae"/>'
    urdf = tmp_path / "arm.urdf"
    urdf.write_text(urdf_of(shape=BOX.replace('<box size="0.05 0.05 0.2"/>', mesh)))
    arm = load_robot("arm", urdf)
    corners = link_corners(arm)["link_0"]
    np.testing.assert_allclose(np.ptp(corners, axis=0), [0.04, 0.06, 0.2], atol=1e-6)
    model = build_spec(arm, load_shapes(arm), Obstacles()).compile()
    points = shape_points(model, model.geom("0").id)
    np.testing.assert_allclose(points.max(0), [0.02, 0.03, 0.2], atol=1e-6)
    with Simulation(arm, unit="N m") as simulation:
        low, high = simulation.client.getAABB(simulation.arm.body_id, 0)
        np.testing.assert_allclose(np.subtract(high, low), [0.04, 0.06, 0.2], atol=0.01)
    (tmp_path / "box.dae").write_text(collada_box().replace("#corners", "#nowhere"))
    with pytest.raises(ValueError, match=r"box\.dae: not a readable Collada file .*'nowhere'"):
        read_collada(tmp_path / "box.dae")
