"""Table `[mqtt]`: what the broker offers to every client."""

from typing import Literal

from pydantic import Field

from quantummq.config.table import MqttText, Table


class Mqtt(Table):
    """What the broker offers to every client, as far as MQTT leaves it open."""

    retain_available: bool = Field(
        default=True, description="Whether RETAIN is allowed (Retain Available)."
    )
    response_information: MqttText = Field(
        default="response/",
        max_length=1_024,
        pattern=r"^[^+#]*$",
        description="Begin of the topics for responses, given to clients that ask for Response "
        "Information; the Client Identifier and / follow, with /, +, # and % in it as %2F, %2B, "
        "%23 and %25. Empty: none is given.",
    )
    server_reference: MqttText = Field(
        default="",
        description="Another server for clients that are sent away, such as mqtt.example.org:1883.",
    )
    redirect: Literal["none", "temporary", "permanent"] = Field(
        default="none",
        description="Whether every client is sent to server_reference: with 0x9C (temporary) or "
        "0x9D (permanent).",
    )
