import os
import socket
import sys
from contextlib import ExitStack

import pytest
import rclpy
from domain import DOMAINS, claim, first_port
from rclpy.context import Context


def test_no_two_claims_of_domains_are_the_same_though_all_begin_alike():
    with ExitStack() as held:
        domains = []
        for _ in range(5):
            domain, kept = claim(0)
            held.enter_context(kept)
            domains.append(domain)
        assert len(set(domains)) == 5 and set(domains) <= set(DOMAINS)
        assert int(os.environ["ROS_DOMAIN_ID"]) not in domains


def test_a_domain_that_is_let_go_of_can_be_claimed_again():
    domain, kept = claim(40)
    kept.close()
    again, kept = claim(DOMAINS.index(domain))
    kept.close()
    assert again == domain


def test_a_domain_in_which_somebody_uses_dds_is_not_claimed():
    domain, kept = claim(70)
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    node = rclpy.create_node("somebody", context=context, use_global_arguments=False)
    kept.close()
    try:
        other, kept = claim(DOMAINS.index(domain))
        kept.close()
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)
    assert other != domain


def test_a_claim_does_not_keep_dds_from_its_ports():
    domain, kept = claim(20)
    with kept, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dds:
        dds.bind(("", first_port(domain)))


def test_without_a_free_domain_that_is_said(monkeypatch):
    domain, kept = claim(10)
    monkeypatch.setattr(sys.modules["domain"], "DOMAINS", range(domain, domain + 1))
    with kept, pytest.raises(RuntimeError, match=f"no DDS domain is free, from {domain}"):
        claim(0)
