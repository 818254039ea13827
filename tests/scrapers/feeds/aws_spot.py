"""The answer of DescribeSpotPriceHistory: XML as EC2 sends it, and JSON as it lands."""

from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from feeds import Feed, dumps
from tests.fault_server import Answer, FaultServer, Request

_NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"


def spot_item(**changes: Any) -> dict[str, Any]:
    """p5.48xlarge in one zone, all fields of the API; the price is made up."""
    return {
        "AvailabilityZone": "us-east-1a",
        "AvailabilityZoneId": "use1-az2",
        "InstanceType": "p5.48xlarge",
        "ProductDescription": "Linux/UNIX",
        "SpotPrice": "21.345600",
        "Timestamp": "2026-11-23T04:31:12+00:00",
        **changes,
    }


def spot_history(*items: Any) -> dict[str, Any]:
    return {"SpotPriceHistory": list(items)}


def spot_xml(items: list[dict[str, Any]], token: str = "") -> Answer:
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
        f'<?xml version="1.0" encoding="UTF-8"?>\n<DescribeSpotPriceHistoryResponse xmlns="{_NAMESPACE}">'
        f"<requestId>59dbff89-35bd-4eac-99ed-be587EXAMPLE</requestId><spotPriceHistorySet>{listed}"
        f"</spotPriceHistorySet><nextToken>{token}</nextToken></DescribeSpotPriceHistoryResponse>"
    )
    return Answer(text.encode(), headers={"Content-Type": "text/xml;charset=UTF-8"})


def serve_spot(server: FaultServer, items: list[dict[str, Any]], *, page_size: int = 1000) -> None:
    """Pages by token."""

    def page(request: Request) -> Answer:
        asked = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        start = int(asked.get("NextToken", "after-0").removeprefix("after-"))
        rest = start + page_size
        return spot_xml(items[start:rest], f"after-{rest}" if rest < len(items) else "")

    server.respond("/", page)


_ITEMS = [spot_item(), spot_item(AvailabilityZone="us-east-1b", AvailabilityZoneId="use1-az4", SpotPrice="22.5")]

FEED = Feed(
    dataset="spot-us-east-1",
    serve=lambda server: serve_spot(server, _ITEMS, page_size=1),
    last_path="/",
    record_count=2,
    good=dumps(spot_history(spot_item())),
    is_gzip_asked=False,
)
