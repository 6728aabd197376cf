"""Table `[log]`: what is written to standard error."""

from typing import Literal

from pydantic import Field

from quantummq.config.table import Table


class Log(Table):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least important lines that are written."
    )
    format: Literal["auto", "text", "json"] = Field(
        default="auto",
        description="text for people, json for machines; auto: text on a terminal, else json.",
    )
