"""Firewall: policies of rules written as sentences, and groups of addresses."""

from services.core.service import Grammar, Kind, Service
from services.firewall import firewall_pb2 as pb
from services.firewall.check import check
from services.firewall.grammar import PATTERN, icmp_type, parse_rule, print_rule, protocol, who
from services.firewall.plan import plan
from services.firewall.status import WORDS, status

SERVICE = Service(
    name="firewall",
    kinds=(Kind(pb.FirewallPolicy, pb.FirewallPolicyStatus), Kind(pb.Group, pb.GroupStatus)),
    plan=plan,
    status=status,
    check=check,
    grammars={pb.Rule.DESCRIPTOR.full_name: Grammar(parse_rule, print_rule, PATTERN)},
    formats={"who": who, "protocol": protocol, "icmp_type": icmp_type},
    words=WORDS,
    after=("bridging",),
)
