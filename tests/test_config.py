"""Settings: what wins over what, and one clear line for each mistake."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw.config import Secret, Settings, home_path, load
from nanoclaw.config.env_file import NAMES
from nanoclaw.config.settings import SECTIONS
from nanoclaw.config.zone import system_zone
from nanoclaw.errors import BadInputError

CONFIG = Path(__file__).parents[1] / "config"
TOKEN = "123456:TEST-TOKEN"


def settings_of(home: Path, toml: str = "", env: str = "", **environ: str) -> Settings:
    home.mkdir(exist_ok=True)
    (home / "nanoclaw.toml").write_text(toml, encoding="utf-8")
    (home / ".env").write_text(env, encoding="utf-8")
    (home / ".env").chmod(0o600)
    return load(home, environ)


def error_of(home: Path, toml: str = "", env: str = "", **environ: str) -> str:
    with pytest.raises(BadInputError) as caught:
        settings_of(home, toml, env, **environ)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 300
    return text


def test_a_home_that_does_not_exist_gives_the_defaults_and_is_not_made(tmp_path: Path) -> None:
    settings = load(tmp_path / "new", {})
    assert settings.assistant.name == "Andy"
    assert settings.agents.retry_delays_s[-1] == 80
    assert settings.model.offline
    assert settings.secrets() == []
    assert not (tmp_path / "new").exists()


def test_the_example_lists_every_key_commented_with_its_default() -> None:
    text = (CONFIG / "nanoclaw.example.toml").read_text(encoding="utf-8")
    assert set(tomllib.loads(text)) == set(SECTIONS)
    assert not any(tomllib.loads(text).values())
    uncommented = re.sub(r"^# (\w+ = .*|\[plugins.*)$", r"\1", text, flags=re.MULTILINE)
    document = tomllib.loads(uncommented)
    document.pop("plugins")
    for section, kind in SECTIONS.items():
        defaults = {f.name: f.default for f in fields(kind) if not f.metadata.get("secret")}
        listed = {key: tuple(v) if isinstance(v, list) else v for key, v in document[section].items()}
        assert listed == defaults


def test_each_key_of_the_example_has_a_comment_of_its_own_or_shares_the_one_above() -> None:
    lines = (CONFIG / "nanoclaw.example.toml").read_text(encoding="utf-8").splitlines()
    keys = [number for number, line in enumerate(lines) if re.match(r"# \w+ = ", line)]
    bare = [lines[n] for n in keys if not lines[n - 1].startswith("# ")]
    assert bare == []


def test_the_example_of_env_lists_every_name_and_sets_none(tmp_path: Path) -> None:
    text = (CONFIG / "env.example").read_text(encoding="utf-8")
    assert {row.name for row in NAMES} == set(re.findall(r"^# ([A-Z_]+)=", text, flags=re.MULTILINE))
    assert settings_of(tmp_path, env=text) == load(tmp_path / "none", {})
    assert len(settings_of(tmp_path, env=text.replace("# TZ", "TZ")).assistant.timezone) > 3


def test_environment_wins_over_env_file_and_env_file_over_toml(tmp_path: Path) -> None:
    toml = '[assistant]\nname = "File"\n'
    assert settings_of(tmp_path, toml).assistant.name == "File"
    assert settings_of(tmp_path, toml, "ASSISTANT_NAME=Dotted").assistant.name == "Dotted"
    assert (
        settings_of(tmp_path, toml, "ASSISTANT_NAME=Dotted", ASSISTANT_NAME="Around").assistant.name
        == "Around"
    )


def test_an_empty_value_counts_as_not_set(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path, env="ASSISTANT_NAME=Dotted\nANTHROPIC_API_KEY=\nTZ=''", ASSISTANT_NAME=" "
    )
    assert settings.assistant.name == "Dotted"
    assert settings.model.api_key is None


def test_every_name_of_the_environment_reaches_its_setting(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path,
        ASSISTANT_NAME="Zoë",
        TZ=":Asia/Tokyo",
        ANTHROPIC_API_KEY="sk-one",
        ANTHROPIC_AUTH_TOKEN="bearer-two",
        ANTHROPIC_BASE_URL="http://127.0.0.1:8000/gate/",
        EVENT_LOG_RETENTION_DAYS="0",
        MAX_CONCURRENT_CONTAINERS="2",
        MAX_MESSAGES_PER_PROMPT="7",
        IDLE_TIMEOUT="1500",
        CONTAINER_TIMEOUT="60000",
        LOG_LEVEL="WARN",
        NANOCLAW_RUNTIME="process",
        NANOCLAW_MODEL="claude-haiku-5-5",
        TELEGRAM_BOT_TOKEN=TOKEN,
        TELEGRAM_BASE_URL="http://127.0.0.1:9000",
        NANOCLAW_TEST_CLOCK="/tmp/clock",
    )
    assert (settings.assistant.name, settings.assistant.timezone) == ("Zoë", "Asia/Tokyo")
    assert settings.secrets() == ["sk-one", "bearer-two", TOKEN]
    assert (settings.model.name, settings.model.url) == ("claude-haiku-5-5", "http://127.0.0.1:8000/gate")
    assert (settings.trace.retention_days, settings.log.level) == (0, "warning")
    assert (settings.agents.max_concurrent, settings.agents.max_messages_per_prompt) == (2, 7)
    assert (settings.agents.idle_timeout_s, settings.agents.turn_timeout_s) == (1.5, 60)
    assert (settings.agents.runtime, settings.telegram.base_url) == ("process", "http://127.0.0.1:9000")
    assert settings.test_clock == Path("/tmp/clock")
    assert not settings.model.offline


def test_web_tools_are_offered_at_anthropic_alone_unless_they_are_switched_on(tmp_path: Path) -> None:
    assert not settings_of(tmp_path).model.offers_web_tools
    assert settings_of(tmp_path, ANTHROPIC_API_KEY="key-1").model.offers_web_tools
    assert not settings_of(
        tmp_path, ANTHROPIC_API_KEY="k", ANTHROPIC_BASE_URL="http://g.example"
    ).model.offers_web_tools
    assert settings_of(tmp_path, '[model]\nweb_tools = "on"').model.offers_web_tools
    assert not settings_of(
        tmp_path, '[model]\nweb_tools = "off"', ANTHROPIC_API_KEY="k"
    ).model.offers_web_tools


def test_the_engine_is_the_one_of_the_file_else_of_docker_host_else_the_usual_one(tmp_path: Path) -> None:
    toml = '[docker]\nsocket = "/run/mine.sock"'
    there = "unix:///run/there.sock"
    assert settings_of(tmp_path, toml, DOCKER_HOST=there).docker.socket == "unix:///run/mine.sock"
    assert settings_of(tmp_path, DOCKER_HOST=there).docker.socket == there
    assert settings_of(tmp_path).docker.socket == "unix:///var/run/docker.sock"


def test_an_engine_elsewhere_does_no_harm_to_those_who_do_not_ask_for_one(tmp_path: Path) -> None:
    assert settings_of(tmp_path, DOCKER_HOST="ssh://there").agents.runtime == "auto"


def test_the_certificates_may_lie_below_the_users_home(tmp_path: Path) -> None:
    found = settings_of(tmp_path, '[docker]\nca_bundle = "~/ca.pem"').docker.ca_bundle
    assert found == str(Path("~/ca.pem").expanduser())


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("ASSISTANT_NAME=Ada", "Ada"),
        ("export ASSISTANT_NAME = Ada Lovelace # her", "Ada Lovelace"),
        ("ASSISTANT_NAME='A # \"b\" \\n'", 'A # "b" \\n'),
        ('ASSISTANT_NAME="A # \\"b\\" \\$5" # rest', 'A # "b" $5'),
        ("ASSISTANT_NAME=a#b=c", "a#b=c"),
        ("\ufeff# first\r\n\r\nASSISTANT_NAME=Ada\r\n", "Ada"),
    ],
)
def test_an_env_file_is_read_as_shells_write_it(tmp_path: Path, line: str, value: str) -> None:
    assert settings_of(tmp_path, env=line).assistant.name == value


@pytest.mark.parametrize(
    "line", ["just words", "=x", "A B=c", "TZ='open", 'TZ="a" b', "export", "1A=2", 'TZ="a\0b"']
)
def test_a_broken_env_line_is_named_by_its_number_and_never_shown(tmp_path: Path, line: str) -> None:
    secret = "sk-ant-do-not-show"
    text = error_of(tmp_path, env=f"# one\nLOG_LEVEL=info\n{line} {secret}x'\"")
    assert text.startswith(".env: line 3 is broken")
    assert "show" not in text


@given(text=st.text(max_size=60))
def test_any_env_file_is_either_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    home = tmp_path_factory.getbasetemp()
    (home / ".env").write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        load(home, {})
    except BadInputError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either way is right
    finally:
        (home / ".env").unlink()


MISTAKES: list[tuple[str, dict[str, str], str]] = [
    ('[assistent]\nname="x"', {}, 'no section "assistent"; did you mean [assistant]?'),
    ("[zzz]", {}, "there are assistant, model"),
    ("name = 3", {}, '"name" stands outside of any section; put it below [assistant]'),
    ("[assistant]\nnane = 3", {}, '[assistant] has no key "nane"; did you mean "name"?'),
    ("[assistant]\nmax_tokens = 3", {}, "it belongs to [model]"),
    ("[assistant]\nzzz = 3", {}, "its keys are name, timezone"),
    ("[assistant]\nname = 3", {}, "[assistant] name must be text on one line, 1 to 64 characters, not 3"),
    ('[assistant]\nname = " "', {}, "name must be text"),
    ('[assistant]\nname = "a\\nb"', {}, "name must be text"),
    ("assistant = 3", {}, "assistant must be a section, [assistant], not 3"),
    ("[agents]\nmax_concurrent = 0", {}, "max_concurrent must be a whole number, from 1 to 1000, not 0"),
    ("[agents]\nmax_concurrent = 2.5", {}, "must be a whole number"),
    ("[agents]\nmax_concurrent = true", {}, "not true"),
    ('[agents]\nmax_concurrent = "5"', {}, 'not "5"'),
    ("[agents]\nidle_timeout_s = nan", {}, "idle_timeout_s must be a number of seconds, not nan"),
    ("[agents]\nidle_timeout_s = inf", {}, "not inf"),
    ("[agents]\nidle_timeout_s = 0", {}, "not 0"),
    (f"[agents]\nidle_timeout_s = 1{'0' * 400}", {}, "must be a number of seconds"),
    (f"[agents]\nidle_timeout_s = 1{'0' * 9000}", {}, "is not valid TOML"),
    ("[agents]\nidle_timeout_s = 2020-01-01", {}, "not a date or time"),
    ("[agents]\nretry_delays_s = []", {}, "must be a list of 1 to 20 numbers of seconds"),
    ('[agents]\nretry_delays_s = ["5"]', {}, "must be a number of seconds"),
    ("[agents]\noutage_retry_s = 90", {}, "outage_retry_max_s (60) must not be less than outage_retry_s (90)"),
    ('[agents]\nruntime = "podman"', {}, 'must be one of "auto", "docker", "process", not "podman"'),
    ('[docker]\nsocket = "tcp://10.0.0.1:2375"', {}, "socket must be a Unix socket such as unix:///var/run/docker.sock"),
    ('[docker]\nimage = "a b"', {}, "without spaces"),
    ('[docker]\nca_bundle = "certs.pem"', {}, 'ca_bundle must be the absolute path of a file, not "certs.pem"'),
    ("[docker]\ncpus = 0", {}, "cpus must be a number from 0.1 to 1024, not 0"),
    ('[docker]\ncpus = "2"', {}, 'not "2"'),
    ("[docker]\nmemory_mb = 16", {}, "memory_mb must be a whole number, from 128 to"),
    ('[docker]\nnetwork = "host"', {}, 'network must be one of "none", "open", not "host"'),
    ("[docker]\nprewarm = 1", {}, "prewarm must be true or false, not 1"),
    ('[model]\nname = "a b"', {}, "without spaces"),
    ('[model]\nbase_url = "ftp://x"', {}, "must be an address"),
    ('[telegram]\nbase_url = ""', {}, "must be an address"),
    ("[telegram]\npoll_timeout_s = 51", {}, "from 0 to 50"),
    ('[assistant]\ntimezone = "Mars/Olympus"', {}, 'not "Mars/Olympus"; an example is Europe/Berlin'),
    ('[assistant]\ntimezone = "europe/berlin"', {}, "did you mean Europe/Berlin?"),
    ('[assistant]\ntimezone = "Tokyo"', {}, "did you mean Asia/Tokyo?"),
    ('[assistant]\ntimezone = "../../etc/passwd"', {}, "must be the IANA name"),
    ('[assistant]\ntimezone = "Europe"', {}, "must be the IANA name"),
    ("[assistant]\nname = \n", {}, "(at line 2, column 8)"),
    ("[assistant]\n[assistant]", {}, "line 2"),
    ("plugins = 3", {}, "plugins must hold sections"),
    ("[plugins]\nx = 3", {}, '[plugins] "x" must be a section'),
    ("", {"MAX_CONCURRENT_CONTAINERS": "0"}, "MAX_CONCURRENT_CONTAINERS in the environment must be a whole number"),
    ("", {"MAX_MESSAGES_PER_PROMPT": "x"}, "MAX_MESSAGES_PER_PROMPT in the environment must be a whole number"),
    ("", {"EVENT_LOG_RETENTION_DAYS": "-1"}, "EVENT_LOG_RETENTION_DAYS in the environment must be a whole number, from 0"),
    ("", {"EVENT_LOG_RETENTION_DAYS": "1.5"}, 'not "1.5"'),
    ("", {"IDLE_TIMEOUT": "soon"}, 'IDLE_TIMEOUT in the environment must be a number of milliseconds, not "soon"'),
    ("", {"CONTAINER_TIMEOUT": "nan"}, "must be a number of milliseconds, not nan"),
    ("", {"LOG_LEVEL": "loud"}, "LOG_LEVEL in the environment must be one of"),
    ("", {"TZ": "Mars"}, "TZ in the environment must be the IANA name"),
    ("", {"NANOCLAW_RUNTIME": "podman"}, "NANOCLAW_RUNTIME in the environment must be one of"),
    ("", {"NANOCLAW_RUNTIME": "docker", "DOCKER_HOST": "tcp://h:1"}, "DOCKER_HOST in the environment names an engine elsewhere"),
    ("", {"TELEGRAM_BASE_URL": "nowhere"}, "TELEGRAM_BASE_URL in the environment must be an address"),
    ("", {"ANTHROPIC_BASE_URL": "http://[::1"}, "must be an address"),
    ("", {"ANTHROPIC_BASE_URL": "http://a:99999999"}, "must be an address"),
]  # fmt: skip


@pytest.mark.parametrize(("toml", "environ", "expected"), MISTAKES)
def test_each_mistake_is_one_line_that_says_where_and_what(
    tmp_path: Path, toml: str, environ: dict[str, str], expected: str
) -> None:
    text = error_of(tmp_path, toml, **environ)
    assert expected in text
    assert text.startswith("nanoclaw.toml: ") or " in the environment " in text


@pytest.mark.parametrize(
    "token", ["hello", "7654321", "7654321:short", "abc:TEST-TOKEN", f"{TOKEN} x", f"bot{TOKEN}"]
)
def test_a_token_of_impossible_shape_is_refused_without_showing_it(tmp_path: Path, token: str) -> None:
    text = error_of(tmp_path, env=f"\nTELEGRAM_BOT_TOKEN={token}")
    assert text.startswith("TELEGRAM_BOT_TOKEN in .env (line 2) cannot be right: a bot token reads like")
    assert token not in text


def test_a_key_with_a_line_break_is_refused_without_showing_it(tmp_path: Path) -> None:
    text = error_of(tmp_path, ANTHROPIC_API_KEY="sk-one\nx-evil: 1")
    assert text.startswith("ANTHROPIC_API_KEY in the environment cannot be right")
    assert "sk-one" not in text


@pytest.mark.parametrize(
    "url",
    ["https://me:pass@example.org", "https://example.org/?key=pass", "https://exa mple.org/pass", "pass"],
)
def test_an_address_is_plain_and_a_password_in_it_is_never_shown(tmp_path: Path, url: str) -> None:
    assert "pass@" not in (text := error_of(tmp_path, ANTHROPIC_BASE_URL=url))
    assert url not in text


@pytest.mark.parametrize(
    ("toml", "name"),
    [
        ('[telegram]\ntoken = "a"', "put it into .env as TELEGRAM_BOT_TOKEN"),
        ('[telegram]\nbot_token = "a"', "TELEGRAM_BOT_TOKEN"),
        ('[model]\napi_key = "a"', "ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN"),
        ('[model]\nname = "sk-ant-0123456789abcdef0123"', "put it into .env"),
        ('ANTHROPIC_API_KEY = "a"', "ANTHROPIC_API_KEY is a name for .env"),
    ],
)
def test_secrets_are_refused_in_the_toml_file(tmp_path: Path, toml: str, name: str) -> None:
    text = error_of(tmp_path, toml)
    assert name in text
    assert "0123456789" not in text


def test_a_misspelt_name_in_the_env_file_is_an_error_and_a_foreign_one_is_not(tmp_path: Path) -> None:
    text = error_of(tmp_path, env="ANTHROPIC_API_KEYS=x")
    assert text == "ANTHROPIC_API_KEYS in .env (line 1) is no setting; did you mean ANTHROPIC_API_KEY?"
    settings_of(tmp_path, env="OPENAI_API_KEY=x\nPATH=/bin\nANTHROPIC_API_KEYS=x\nANTHROPIC_API_KEY=y")


def test_the_home_cannot_be_named_inside_of_itself(tmp_path: Path) -> None:
    assert "comes too late" in error_of(tmp_path, env="NANOCLAW_HOME=/elsewhere")


@pytest.mark.parametrize("name", ["nanoclaw.toml", ".env"])
def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(BadInputError, match=f"^{re.escape(name)}: cannot be read"):
        load(tmp_path, {})
    (tmp_path / name).rmdir()
    (tmp_path / name).write_bytes(b"# \xff")
    with pytest.raises(BadInputError, match=f"^{re.escape(name)}: is not UTF-8"):
        load(tmp_path, {})


def test_plugin_sections_are_free(tmp_path: Path) -> None:
    assert settings_of(tmp_path, "[plugins.bench]\nany = [1]").plugins == {"bench": {"any": [1]}}


def test_what_a_plugins_section_calls_a_secret_is_masked_as_one(tmp_path: Path) -> None:
    toml = '[plugins.mail]\nuser = "ada"\nmax_tokens = 3\n[plugins.mail.imap]\napi-key = "hush-hush"'
    assert settings_of(tmp_path, toml).secrets() == ["hush-hush"]


def test_an_env_file_that_others_can_read_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("")
    (tmp_path / ".env").chmod(0o644)
    assert "chmod 600" in load(tmp_path, {}).warnings[0]
    (tmp_path / ".env").chmod(0o600)
    assert load(tmp_path, {}).warnings == ()


def test_a_secret_shows_itself_only_when_asked() -> None:
    secret = Secret("hush")
    shown = f"{secret} {secret!r} {[secret]} {secret!s:>5}"
    assert "hush" not in shown
    assert secret.reveal() == "hush"
    assert secret == Secret("hush")
    assert secret != Secret("other")


def test_settings_never_print_a_secret(tmp_path: Path) -> None:
    assert TOKEN not in repr(settings_of(tmp_path, TELEGRAM_BOT_TOKEN=TOKEN))


def test_the_home_is_the_flag_else_the_environment_else_below_the_users() -> None:
    environ: dict[str, Any] = {"NANOCLAW_HOME": "/from/env"}
    assert home_path("/from/flag", environ) == Path("/from/flag")
    assert home_path(None, environ) == Path("/from/env")
    assert home_path(None, {"NANOCLAW_HOME": ""}) == Path.home() / ".nanoclaw"
    assert home_path("here", {}) == Path.cwd() / "here"
    with pytest.raises(BadInputError, match="is empty"):
        home_path(" ", {})


def test_the_systems_zone_comes_from_its_link_or_file_and_is_utc_otherwise(tmp_path: Path) -> None:
    link, file = tmp_path / "localtime", tmp_path / "timezone"
    assert system_zone(localtime=link, timezone=file) == "UTC"
    file.write_text("Asia/Tokyo\n")
    assert system_zone(localtime=link, timezone=file) == "Asia/Tokyo"
    zone = tmp_path / "share" / "zoneinfo" / "Europe" / "Berlin"
    zone.parent.mkdir(parents=True)
    zone.touch()
    link.symlink_to(zone)
    assert system_zone(localtime=link, timezone=file) == "Europe/Berlin"
    file.write_text("nonsense")
    link.unlink()
    assert system_zone(localtime=link, timezone=file) == "UTC"
