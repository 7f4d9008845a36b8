"""Bridging: vNICs and uplinks, the subnets they are in, the stages their packets pass,
and how their connections are followed."""

from services.bridging import bridging_pb2 as pb
from services.bridging.check import check, punt, service_word, stage_word
from services.bridging.plan import DEFAULTS, plan
from services.bridging.status import WORDS, status
from services.bridging.tracking import timeout, tracking_mode
from services.core.service import Kind, Service

SERVICE = Service(
    name="bridging",
    kinds=(
        Kind(pb.Vnic, pb.VnicStatus),
        Kind(pb.Uplink, pb.UplinkStatus),
        Kind(pb.Subnet, pb.SubnetStatus),
        Kind(pb.Profile, pb.ProfileStatus),
        Kind(pb.Tracking, pb.TrackingStatus),
    ),
    plan=plan,
    status=status,
    check=check,
    defaults=DEFAULTS,
    formats={
        "punt": punt,
        "service": service_word,
        "stage": stage_word,
        "timeout": timeout,
        "tracking_mode": tracking_mode,
    },
    words=WORDS,
)
