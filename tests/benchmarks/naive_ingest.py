"""The script that most people would write: paho, a Point per sample, the client's batching WriteApi.

It acknowledges each message before anything is stored, and drops batches when the store is away for long.
Arguments: the broker's port, the store's address.
"""

import json
import sys
from typing import Any

import paho.mqtt.client as mqtt
from influxdb_client import InfluxDBClient, Point, WritePrecision

CLIENT_ID = "svc-ingest"


def main(port: int, url: str) -> None:
    """Consume for ever."""
    client = InfluxDBClient(url=url, token="none", org="fleet")
    write_api = client.write_api()

    def on_connect(consumer: mqtt.Client, *_: Any) -> None:
        consumer.subscribe("fleet/v1/+/telemetry", qos=1)

    def on_message(_consumer: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        device = message.topic.split("/")[2]
        for sample in json.loads(message.payload)["body"]["samples"]:
            point = Point("health").tag("device", device).tag("site", "Prishtina").tag("kind", "kiosk")
            for name, value in sample["values"].items():
                point = point.field(name, value)
            write_api.write(bucket="fleet", record=point.time(sample["at"], WritePrecision.MS))

    consumer = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=CLIENT_ID, clean_session=False)
    consumer.on_connect = on_connect
    consumer.on_message = on_message
    consumer.connect("127.0.0.1", port)
    consumer.loop_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
