import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from subprocess import PIPE

import pytest
import rclpy
from rclpy.context import Context

from invdyn_ros.graph import ros_domain
from invdyn_ros.graph.ros_domain import DOMAINS, claim, first_port, own_domain


def test_claims_with_the_same_start_get_different_domains():
    with ExitStack() as stack:
        domains = []
        for _ in range(5):
            domain, lock = claim(0)
            stack.enter_context(lock)
            domains.append(domain)
        assert len(set(domains)) == 5 and set(domains) <= set(DOMAINS)
        assert int(os.environ["ROS_DOMAIN_ID"]) == own_domain() not in domains


def test_processes_get_domains_of_their_own_and_a_benchmark_that_of_its_process():
    code = (
        "from invdyn_ros.graph.ros_domain import own_domain\n"
        "print(own_domain(), own_domain(), flush=True); input()"
    )
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen([sys.executable, "-c", code], stdin=PIPE, stdout=PIPE, text=True)
            )
            for _ in range(2)
        ]
        pairs = [process.stdout.readline().split() for process in processes]
        for process in processes:
            process.communicate("\n")
    assert all(first == again for first, again in pairs)
    assert len({first for first, _ in pairs} | {str(own_domain())}) == 3


def test_released_domain_can_be_claimed_again():
    domain, lock = claim(40)
    lock.close()
    again, lock = claim(DOMAINS.index(domain))
    lock.close()
    assert again == domain


def test_domain_with_a_participant_is_not_claimed():
    domain, lock = claim(70)
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    node = rclpy.create_node("participant", context=context, use_global_arguments=False)
    lock.close()
    try:
        other, lock = claim(DOMAINS.index(domain))
        lock.close()
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)
    assert other != domain


def test_claim_leaves_the_dds_ports_free():
    domain, lock = claim(20)
    with lock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dds:
        dds.bind(("", first_port(domain)))


def test_error_names_the_domains_when_none_is_free(monkeypatch):
    domain, lock = claim(10)
    monkeypatch.setattr(ros_domain, "DOMAINS", range(domain, domain + 1))
    with lock, pytest.raises(RuntimeError, match=f"no ROS domain is free, from {domain}"):
        claim(0)
