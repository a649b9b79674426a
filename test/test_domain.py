import os
import socket
import sys
from contextlib import ExitStack

import pytest
import rclpy
from domain import DOMAINS, claim, first_port
from rclpy.context import Context


def test_claims_with_the_same_start_get_different_domains():
    with ExitStack() as stack:
        domains = []
        for _ in range(5):
            domain, lock = claim(0)
            stack.enter_context(lock)
            domains.append(domain)
        assert len(set(domains)) == 5 and set(domains) <= set(DOMAINS)
        assert int(os.environ["ROS_DOMAIN_ID"]) not in domains


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
    monkeypatch.setattr(sys.modules["domain"], "DOMAINS", range(domain, domain + 1))
    with lock, pytest.raises(RuntimeError, match=f"no DDS domain is free, from {domain}"):
        claim(0)
