"""What every table of the configuration shares: frozen, unknown keys forbidden."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Table(BaseModel):
    """One table of the configuration file."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, validate_by_name=True
    )


def _plain_text(text: str) -> str:
    """Refuses what an MQTT UTF-8 string may not hold, so that it fails at start.

    Source: MQTT 5 §1.5.4.
    """
    if "\x00" in text or any(0xD800 <= ord(letter) <= 0xDFFF for letter in text):
        raise ValueError("may not hold the null character or surrogates")
    if len(text.encode()) > 65_535:
        raise ValueError("may not be longer than 65,535 bytes")
    return text


MqttText = Annotated[str, AfterValidator(_plain_text)]
"""A string that goes on the wire: at most 65,535 bytes of UTF-8, no null character."""

Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
"""A duration of more than nothing, at most a day."""

Count = Annotated[int, Field(ge=1, le=2**32 - 1)]
"""A number of things, at least one, that fits the engine's 32 bits."""

Bytes = Annotated[int, Field(ge=1, le=2**53)]
"""A size in bytes, at least one; 2**53 is what JSON holds exactly."""
