"""The answer of DescribeCapacityBlockOfferings: XML as EC2 sends it, and JSON as it lands."""

from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from feeds import Feed, dumps
from tests.fault_server import Answer, FaultServer, Request

_NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"


def block(**changes: Any) -> dict[str, Any]:
    """24 hours on a p5.48xlarge, all fields of the API that are asked for; the fee is made up: 24 x 31.464 USD."""
    return {
        "CapacityBlockOfferingId": "cb-0123456789abcdefg",
        "InstanceType": "p5.48xlarge",
        "AvailabilityZone": "us-east-1a",
        "InstanceCount": 1,
        "StartDate": "2026-11-25T11:30:00+00:00",
        "EndDate": "2026-11-26T11:30:00+00:00",
        "CapacityBlockDurationHours": 24,
        "UpfrontFee": "755.1360",
        "CurrencyCode": "USD",
        "Tenancy": "default",
        "CapacityBlockDurationMinutes": 0,
        **changes,
    }


def blocks(*items: Any) -> dict[str, Any]:
    return {"CapacityBlockOfferings": list(items)}


def blocks_xml(items: list[dict[str, Any]], token: str = "") -> Answer:
    listed = "".join(
        "<item>"
        + "".join(
            f"<{name[0].lower()}{name[1:]}>{escape(str(value))}</{name[0].lower()}{name[1:]}>"
            for name, value in item.items()
        )
        + "</item>"
        for item in items
    )
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<DescribeCapacityBlockOfferingsResponse xmlns="{_NAMESPACE}">'
        f"<requestId>59dbff89-35bd-4eac-99ed-be587EXAMPLE</requestId><capacityBlockOfferingSet>{listed}"
        f"</capacityBlockOfferingSet><nextToken>{token}</nextToken></DescribeCapacityBlockOfferingsResponse>"
    )
    return Answer(text.encode(), headers={"Content-Type": "text/xml;charset=UTF-8"})


def serve_blocks(server: FaultServer, items: list[dict[str, Any]]) -> None:
    """Each instance type's own offerings."""

    def offered(request: Request) -> Answer:
        asked = parse_qs(request.body.decode())["InstanceType"][0]
        return blocks_xml([item for item in items if item["InstanceType"] == asked])

    server.respond("/", offered)


FEED = Feed(
    dataset="blocks-us-east-1",
    serve=lambda server: serve_blocks(server, [block(), block(InstanceType="p6-b300.48xlarge", UpfrontFee="2400")]),
    last_path="/",
    record_count=2,
    good=dumps(blocks(block())),
    is_gzip_asked=False,
)
