"""Bridging: vNICs and uplinks, the subnets they are in, and the stages their packets pass."""

from services.bridging import bridging_pb2 as pb
from services.bridging.check import check, punt, stage_word
from services.bridging.plan import DEFAULTS, plan
from services.bridging.status import WORDS, status
from services.core.service import Kind, Service

SERVICE = Service(
    name="bridging",
    kinds=(
        Kind(pb.Vnic, pb.VnicStatus),
        Kind(pb.Uplink, pb.UplinkStatus),
        Kind(pb.Subnet, pb.SubnetStatus),
        Kind(pb.Profile, pb.ProfileStatus),
    ),
    plan=plan,
    status=status,
    check=check,
    defaults=DEFAULTS,
    formats={"punt": punt, "stage": stage_word},
    words=WORDS,
)
