"""Every setting there is: one class for each section of `nanoclaw.toml`, with its defaults and its rules.

Lengths of time are seconds (`_s`). `config/nanoclaw.example.toml` says the same to the owner; a test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from nanoclaw.config.values import (
    Choice,
    EngineAddress,
    FileName,
    Key,
    Line,
    Number,
    Seconds,
    SecondsList,
    Secret,
    Switch,
    Url,
    Whole,
    Zone,
)

ANTHROPIC_URL = "https://api.anthropic.com"

_TOKEN_HINT = "a bot token reads like 123456789:AAH…; copy it again from @BotFather"  # noqa: S105 - no token, its shape

_SLACK_HINT = "a bot token begins with xoxb-; Slack shows it under OAuth & Permissions"
_SLACK_APP_HINT = (
    "an app-level token begins with xapp-; Slack shows it under Basic Information, with connections:write"
)


def _secret(rule: Key) -> dict[str, Any]:
    """Marks a field that comes from the environment or from `.env` alone."""
    return {"rule": rule, "secret": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantSettings:
    """`[assistant]`: who it is."""

    name: str = field(default="Andy", metadata={"rule": Line(longest=64)})
    """Its name; also the trigger in groups, `@Andy`."""
    timezone: str = field(default="", metadata={"rule": Zone()})
    """IANA name. Empty in the file: the system's zone, else UTC. After loading it is always a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """`[model]`: who answers."""

    name: str = field(default="claude-sonnet-5-5", metadata={"rule": Line(spaces=False)})
    max_tokens: int = field(default=8192, metadata={"rule": Whole(low=1, high=1_000_000)})
    """Of one answer of the model."""
    max_calls_per_turn: int = field(default=50, metadata={"rule": Whole(low=1, high=10_000)})
    compact_at_tokens: int = field(default=150_000, metadata={"rule": Whole(low=10_000, high=10_000_000)})
    """A conversation that the model finds longer goes on with a summary; all of it is kept in a file."""
    web_tools: Literal["auto", "on", "off"] = field(
        default="auto", metadata={"rule": Choice(words=("auto", "on", "off"))}
    )
    """The API's own web search and fetch. auto: on when the address is Anthropic's."""
    base_url: str = field(default="", metadata={"rule": Url(optional=True)})
    """Where the Messages API is; may have a path. Empty: Anthropic."""
    api_key: Secret | None = field(default=None, metadata=_secret(Key()))
    auth_token: Secret | None = field(default=None, metadata=_secret(Key()))

    @property
    def offline(self) -> bool:
        """No key and no address of a server that may need none: the offline model answers."""
        return self.api_key is None and self.auth_token is None and not self.base_url

    @property
    def url(self) -> str:
        return self.base_url or ANTHROPIC_URL

    @property
    def offers_web_tools(self) -> bool:
        at_anthropic = self.url == ANTHROPIC_URL and not self.offline
        return self.web_tools == "on" or (self.web_tools == "auto" and at_anthropic)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """`[agents]`: how agents run, and what happens when one fails."""

    runtime: Literal["auto", "docker", "process"] = field(
        default="auto", metadata={"rule": Choice(words=("auto", "docker", "process"))}
    )
    max_concurrent: int = field(default=5, metadata={"rule": Whole(low=1, high=1000)})
    """Runs at the same time, of all groups."""
    idle_timeout_s: float = field(default=1800.0, metadata={"rule": Seconds()})
    """A run without work ends after this."""
    turn_timeout_s: float = field(default=1800.0, metadata={"rule": Seconds()})
    retry_delays_s: tuple[float, ...] = field(
        default=(5.0, 10.0, 20.0, 40.0, 80.0), metadata={"rule": SecondsList()}
    )
    """Before each further try of a turn that failed by itself; as many tries as there are numbers."""
    outage_retry_s: float = field(default=5.0, metadata={"rule": Seconds()})
    """First pause while the world around it is broken; doubled up to the next one. Uses up no tries."""
    outage_retry_max_s: float = field(default=60.0, metadata={"rule": Seconds()})
    interrupt_grace_s: float = field(default=5.0, metadata={"rule": Seconds()})
    """An agent that is told to stop and does not do so by then is killed."""
    max_messages_per_prompt: int = field(default=10, metadata={"rule": Whole(low=1, high=1000)})


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerSettings:
    """`[docker]`: the containers that agents live in. Sizes are binary: 1 MB is 1024 * 1024 bytes."""

    socket: str = field(default="", metadata={"rule": EngineAddress()})
    """Where the engine answers, `unix://…`. Empty in the file: DOCKER_HOST, else the usual place. Never empty once loaded."""
    image: str = field(default="nanoclaw-agent", metadata={"rule": Line(spaces=False)})
    base_image: str = field(default="python:3.11-slim-bookworm", metadata={"rule": Line(spaces=False)})
    """What the agent image is built on: Debian or a child of it."""
    ca_bundle: str = field(default="", metadata={"rule": FileName()})
    """Certificates (PEM) that the build and the tools in the image trust besides the usual ones."""
    memory_mb: int = field(default=2048, metadata={"rule": Whole(low=128, high=1_048_576)})
    cpus: float = field(default=2.0, metadata={"rule": Number(low=0.1, high=1024)})
    pids: int = field(default=256, metadata={"rule": Whole(low=16, high=100_000)})
    file_size_mb: int = field(default=1024, metadata={"rule": Whole(low=1, high=1_048_576)})
    """Of each single file that an agent writes."""
    output_mb: int = field(default=64, metadata={"rule": Whole(low=4, high=65_536)})
    """What an agent may print in its life. The container's log is our memory of its frames, and is never rotated."""
    network: Literal["none", "open"] = field(
        default="none", metadata={"rule": Choice(words=("none", "open"))}
    )
    """none: the proxy's socket is all there is. open: the internet, but neither this machine nor other agents."""
    folder_quota_mb: int = field(default=4096, metadata={"rule": Whole(low=1, high=1_073_741_824)})
    """Of a group's folder; a run that fills it is ended."""
    disk_check_s: float = field(default=2.0, metadata={"rule": Seconds(low=0.05, high=3600)})
    prewarm: bool = field(default=False, metadata={"rule": Switch()})
    """The main that an owner used last has its container in advance, so that a first message need not wait for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrchestratorSettings:
    """`[orchestrator]`: how work is found."""

    poll_interval_s: float = field(default=2.0, metadata={"rule": Seconds(low=0.01, high=3600)})
    """The safety net; new work wakes it at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """`[delivery]`: how answers leave."""

    retry_delays_s: tuple[float, ...] = field(
        default=(1.0, 2.0, 5.0, 15.0, 60.0, 300.0), metadata={"rule": SecondsList()}
    )
    """Before each further try; the last one repeats until the message expires."""
    expires_after_s: float = field(default=86400.0, metadata={"rule": Seconds()})
    typing_renew_s: float = field(default=4.0, metadata={"rule": Seconds(low=0.01, high=3600)})
    receipt_after_s: float = field(default=2.0, metadata={"rule": Seconds(low=0.01, high=3600)})
    """A message that has waited this long is visibly marked as received."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TelegramSettings:
    """`[telegram]`: on as soon as there is a token."""

    base_url: str = field(default="https://api.telegram.org", metadata={"rule": Url()})
    """The root of the Bot API server."""
    poll_timeout_s: int = field(default=50, metadata={"rule": Whole(low=0, high=50)})
    """How long the service holds a request for updates open."""
    private_per_min: int = field(default=60, metadata={"rule": Whole(low=1, high=60_000)})
    """Messages that leave for one private chat in a minute, in the long run."""
    group_per_min: int = field(default=17, metadata={"rule": Whole(low=1, high=60_000)})
    """The same for one group."""
    refused_retry_s: float = field(default=60.0, metadata={"rule": Seconds()})
    """The pause before a token that was refused is tried again."""
    live_private: bool = field(default=True, metadata={"rule": Switch()})
    """In private chats an answer can be read while it is written, as a draft."""
    live_groups: bool = field(default=False, metadata={"rule": Switch()})
    """In groups too, as a message that is edited; each edit counts against `group_per_min`."""
    token: Secret | None = field(
        default=None, metadata=_secret(Key(shape=r"[0-9]+:[A-Za-z0-9_-]{8,}", hint=_TOKEN_HINT))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackSettings:
    """`[slack]`: on as soon as there are both tokens. Socket Mode: no address of ours has to be reachable."""

    base_url: str = field(default="https://slack.com", metadata={"rule": Url()})
    """The root of the Web API server; `/api/<method>` is below it."""
    chat_per_min: int = field(default=55, metadata={"rule": Whole(low=1, high=60_000)})
    """Messages that leave for one channel in a minute, in the long run."""
    live_threads: bool = field(default=False, metadata={"rule": Switch()})
    """In threads an answer can be read while it is written, as a message that is edited."""
    history_days: float = field(default=7.0, metadata={"rule": Number(low=0.01, high=365)})
    """How far back a reconnect looks for messages that were missed."""
    ping_interval_s: float = field(default=10.0, metadata={"rule": Seconds(low=0.05, high=120)})
    refused_retry_s: float = field(default=60.0, metadata={"rule": Seconds()})
    """The pause before tokens that were refused are tried again."""
    bot_token: Secret | None = field(
        default=None, metadata=_secret(Key(shape=r"xoxb-[A-Za-z0-9-]+", hint=_SLACK_HINT))
    )
    app_token: Secret | None = field(
        default=None, metadata=_secret(Key(shape=r"xapp-[A-Za-z0-9-]+", hint=_SLACK_APP_HINT))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatsAppSettings:
    """`[whatsapp]`: needs the extra `nanoclaw[whatsapp]`."""

    enabled: bool = field(default=False, metadata={"rule": Switch()})
    own_number: bool = field(default=False, metadata={"rule": Switch()})
    """true: the assistant has a number of its own. false: it shares its owner's, and signs with `Andy: `."""
    per_min: int = field(default=20, metadata={"rule": Whole(low=1, high=6000)})
    """Messages that leave for one chat in a minute, in the long run."""
    link_timeout_s: float = field(default=160.0, metadata={"rule": Seconds()})
    """How long a QR code or a pairing code is offered."""
    answer_timeout_s: float = field(default=60.0, metadata={"rule": Seconds()})
    """WhatsApp's part of the program is started again if it does not answer for so long."""
    restart_delays_s: tuple[float, ...] = field(
        default=(1.0, 5.0, 30.0, 120.0, 600.0), metadata={"rule": SecondsList()}
    )
    """Pauses before WhatsApp's part is started again; the last one repeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentSettings:
    """`[attachments]`: files in both directions."""

    max_mb: int = field(default=20, metadata={"rule": Whole(low=1, high=2000)})
    """A larger file is neither fetched nor sent, and the agent is told so."""
    image_edge_px: int = field(default=1568, metadata={"rule": Whole(low=64, high=8000)})
    """The longer edge of an image as the model sees it; larger ones are scaled down."""
    text_kb: int = field(default=200, metadata={"rule": Whole(low=1, high=10_000)})
    """As much of a document's text is shown to the agent; the file itself is in its folder."""
    fetch_timeout_s: float = field(default=60.0, metadata={"rule": Seconds()})
    retry_delays_s: tuple[float, ...] = field(default=(1.0, 5.0), metadata={"rule": SecondsList()})
    """Before each further try of a fetch that failed and may not fail again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskSettings:
    """`[asks]`: questions to the owner."""

    expires_after_s: float = field(default=86400.0, metadata={"rule": Seconds()})
    max_held: int = field(default=20, metadata={"rule": Whole(low=0, high=1000)})
    """Messages of unknown chats that are held at the same time; 0: nobody is asked about unknown chats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSettings:
    """`[alerts]`: when the program speaks up about itself."""

    channel_down_s: float = field(default=300.0, metadata={"rule": Seconds()})
    """A channel that is not up for so long is told over another one; one that needs the owner, at once."""
    check_s: float = field(default=15.0, metadata={"rule": Seconds(low=0.05, high=3600)})


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSettings:
    """`[tasks]`: what may be scheduled."""

    min_interval_s: float = field(default=60.0, metadata={"rule": Seconds()})
    """An agent may not schedule anything more often."""
    max_per_group: int = field(default=100, metadata={"rule": Whole(low=1, high=100_000)})
    """Active tasks of one group."""
    retry_delays_s: tuple[float, ...] = field(default=(60.0, 300.0, 900.0), metadata={"rule": SecondsList()})
    """Before each further attempt of an occurrence that failed; as many attempts as there are numbers, and one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """`[store]`: how long what is settled is kept."""

    keep_days: int = field(default=365, metadata={"rule": Whole(low=0, high=36_500)})
    """Messages, answers, ended turns, occurrences. 0 keeps for ever; conversations that go on are always kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSettings:
    """`[trace]`: what `/debug` can look back on."""

    retention_days: int = field(default=3, metadata={"rule": Whole(low=0, high=36_500)})
    """0 keeps for ever."""
    prune_interval_s: float = field(default=3600.0, metadata={"rule": Seconds(low=1.0)})


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """`[log]`: lines on standard output."""

    level: Literal["debug", "info", "warning", "error"] = field(
        default="info",
        metadata={
            "rule": Choice(
                words=("debug", "info", "warning", "error"),
                other=(("warn", "warning"), ("fatal", "error"), ("critical", "error"), ("trace", "debug")),
            )
        },
    )
    format: Literal["auto", "json", "text"] = field(
        default="auto", metadata={"rule": Choice(words=("auto", "json", "text"))}
    )
    """auto: text on a terminal, else JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of them, checked."""

    assistant: AssistantSettings = field(default_factory=AssistantSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    agents: AgentSettings = field(default_factory=AgentSettings)
    docker: DockerSettings = field(default_factory=DockerSettings)
    orchestrator: OrchestratorSettings = field(default_factory=OrchestratorSettings)
    delivery: DeliverySettings = field(default_factory=DeliverySettings)
    telegram: TelegramSettings = field(default_factory=TelegramSettings)
    slack: SlackSettings = field(default_factory=SlackSettings)
    whatsapp: WhatsAppSettings = field(default_factory=WhatsAppSettings)
    attachments: AttachmentSettings = field(default_factory=AttachmentSettings)
    asks: AskSettings = field(default_factory=AskSettings)
    alerts: AlertSettings = field(default_factory=AlertSettings)
    tasks: TaskSettings = field(default_factory=TaskSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    trace: TraceSettings = field(default_factory=TraceSettings)
    log: LogSettings = field(default_factory=LogSettings)
    plugins: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """`[plugins.<name>]`, as written; the plugin checks them."""
    test_clock: Path | None = None
    """NANOCLAW_TEST_CLOCK: a file with the seconds by which the clock is ahead. For tests."""
    mount_allowlist: Path = Path("/nonexistent/mount-allowlist.json")
    """`~/.config/nanoclaw/mount-allowlist.json`, or where XDG_CONFIG_HOME says; which extra folders agents may get."""
    warnings: tuple[str, ...] = ()
    """Sentences that the owner should read at the start."""

    def secrets(self) -> list[str]:
        """Every secret value, for masking; of a plugin's section the texts whose key says so."""
        found: list[str] = []
        for section in (getattr(self, f.name) for f in fields(self)):
            if hasattr(section, "__dataclass_fields__"):
                values = (getattr(section, f.name) for f in fields(section))
                found.extend(value.reveal() for value in values if isinstance(value, Secret))
        return [*found, *_secrets_below(self.plugins)]


def _secrets_below(table: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for key, value in table.items():
        if isinstance(value, Mapping):
            found.extend(_secrets_below(value))
        elif isinstance(value, str) and names_a_secret(key):
            found.append(value)
    return found


def names_a_secret(key: str) -> bool:
    """`api_key`, `bot-token`, …; not `max_tokens`."""
    return not {"key", "token", "secret", "password"}.isdisjoint(re.split(r"[^a-z]+", key.lower()))


SECTIONS: Mapping[str, type[Any]] = {
    "assistant": AssistantSettings,
    "model": ModelSettings,
    "agents": AgentSettings,
    "docker": DockerSettings,
    "orchestrator": OrchestratorSettings,
    "delivery": DeliverySettings,
    "telegram": TelegramSettings,
    "slack": SlackSettings,
    "whatsapp": WhatsAppSettings,
    "attachments": AttachmentSettings,
    "asks": AskSettings,
    "alerts": AlertSettings,
    "tasks": TaskSettings,
    "store": StoreSettings,
    "trace": TraceSettings,
    "log": LogSettings,
}
