"""Identification of a planar body from motions: inertia, geometry, then all parameters."""

from __future__ import annotations

from collections.abc import Callable

import torch

from invdyn_ros.models.planar_body.contact_geometry import ContactGeometry, expand_capsule_links
from invdyn_ros.models.planar_body.dynamics import KinematicTree
from invdyn_ros.models.planar_body.geometry_identification import LIMIT_TORQUE, identify_geometry
from invdyn_ros.models.planar_body.inertia_identification import (
    FREE_FALL_FORCE,
    Steps,
    external_forces,
    identify_inertia,
)
from invdyn_ros.models.planar_body.parameters import DEFAULT_CONTACT, BodyParameters
from invdyn_ros.models.planar_body.refinement import (
    ITERATIONS_PER_WIDTH,
    KERNEL_WIDTHS,
    refine_parameters,
    select_geometry,
    velocity_residuals,
)
from invdyn_ros.models.planar_body.simulator import PlanarBody

SELECTION_FACTOR = 5  # contact steps that select the geometry, divided by those for refinement
NUM_PROGRESS_STEPS = 3 + len(KERNEL_WIDTHS) * ITERATIONS_PER_WIDTH  # calls of `on_progress`


def identify_body(
    steps: Steps,
    tree: KinematicTree,
    capsules_per_link: tuple[int, ...],
    num_free_steps: int,
    num_contact_steps: int,
    on_progress: Callable[[], object] = lambda: None,
) -> tuple[PlanarBody, BodyParameters]:
    """Return the simulator and the parameters that fit steps best.

    Args:
        steps: steps of the body in random order.
        tree: its topology.
        capsules_per_link: number of capsules of each link.
        num_free_steps: number of steps used to identify the inertia.
        num_contact_steps: number of steps with contacts used to refine all parameters.
        on_progress: called NUM_PROGRESS_STEPS times, for a progress bar.

    Raises:
        ValueError: the motions are not those of such a body, or without contacts.
    """
    capsule_links = expand_capsule_links(capsules_per_link)
    identified = identify_inertia(steps.select(slice(num_free_steps)), tree)
    on_progress()
    geometry = identify_geometry(steps, tree, capsules_per_link, identified)
    on_progress()
    force = external_forces(identified.inertia, tree.angle_matrix(), steps)
    root_force, torque = force[:, :2].norm(dim=1), force[:, 2:].abs().amax(1)
    in_contact = torch.nonzero((root_force > FREE_FALL_FORCE) | (torque > LIMIT_TORQUE))[:, 0]
    velocity_std = (steps.next_v - steps.v).std(0)
    contact_steps = steps.select(in_contact[: SELECTION_FACTOR * num_contact_steps])
    invweight = ContactGeometry(tree, capsule_links).link_invweight(
        identified.inertia, identified.hinge_pos, geometry.capsule_ends
    )
    initial = BodyParameters(
        identified.inertia, identified.hinge_pos, geometry.lower, geometry.upper,
        geometry.capsule_ends, geometry.capsule_radius, invweight, geometry.floor_height,
        torch.ones((), dtype=torch.float64), DEFAULT_CONTACT, DEFAULT_CONTACT,
    )  # fmt: skip
    body, initial = select_geometry(
        tree, capsule_links, initial, geometry.num_unobserved_ends, contact_steps, velocity_std
    )
    on_progress()
    error = velocity_residuals(body, initial, contact_steps, velocity_std).square().sum(1)
    # a third are the steps of largest error, so that rare contacts are among them
    largest = error.argsort(descending=True)[: num_contact_steps // 3]
    first = torch.arange(num_contact_steps - len(largest))
    selected = contact_steps.select(torch.cat([largest, first]))
    return body, refine_parameters(body, initial, selected, velocity_std, on_progress)
