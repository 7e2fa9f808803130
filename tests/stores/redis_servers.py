"""Redis servers with TLS and users, replicas and Sentinels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError

from limner_client.local.embedded_valkey import free_port
from tests.processes import eventually
from tests.stores import programs
from tests.stores.certificates import Certificate
from tests.stores.programs import Server

ADMIN: Final = "administrator"
MASTER: Final = "pictures"
DOWN_MS: Final = 1000


class RedisNode:
    """A Redis or a Sentinel whose administrator has the password ADMIN; with a certificate it speaks only TLS."""

    def __init__(self, folder: Path, binary: Path, *config: str, certificate: Certificate | None = None) -> None:
        self.port = free_port()
        self.certificate = certificate
        folder.mkdir(parents=True)
        common = ["bind 127.0.0.1", f"dir {folder}", "enable-debug-command no"]
        if certificate is None:
            common += [f"port {self.port}"]
        else:
            common += ["port 0", f"tls-port {self.port}", "tls-auth-clients no", "tls-replication yes"]
            common += [f"tls-cert-file {certificate.certificate}", f"tls-key-file {certificate.key}"]
            common += [f"tls-ca-cert-file {certificate.authority}"]
        self._config = folder / "redis.conf"
        self._config.write_text("\n".join([*common, *config, ""]))
        self._log = folder / "redis.log"
        is_sentinel = any(line.startswith("sentinel ") for line in config)
        self._command = [binary, self._config, *(["--sentinel"] if is_sentinel else [])]
        self.start()

    def start(self) -> None:
        self._server = Server(self._command, self._log, programs.environment())
        eventually(self._responds, 20)

    def client(self, **options: Any) -> Any:
        """A client of the administrator."""
        secure: dict[str, Any] = {}
        if self.certificate is not None:
            secure = {"ssl": True, "ssl_ca_certs": str(self.certificate.authority)}
        return Redis("127.0.0.1", self.port, password=ADMIN, decode_responses=True, **secure, **options)

    def kill(self) -> None:
        self._server.kill()

    def _responds(self) -> bool:
        try:
            with self.client(socket_timeout=2) as client:
                return bool(client.ping())
        except RedisError:
            assert self._server.process.poll() is None, self._log.read_text()[-2000:]
            return False


def redis_with_user(
    folder: Path, binary: Path, user: str, *config: str, certificate: Certificate | None = None
) -> RedisNode:
    """A Redis without persistence that knows its administrator and one user, given by an ACL rule."""
    lines = ['save ""', f"requirepass {ADMIN}", f"masterauth {ADMIN}", "repl-diskless-sync-delay 0", user]
    return RedisNode(folder, binary, *lines, *config, certificate=certificate)


class Sentinels:
    """A master, its replica, and three Sentinels that fail over within seconds."""

    def __init__(self, folder: Path, binary: Path, user: str, certificate: Certificate | None) -> None:
        self.master = redis_with_user(folder / "master", binary, user, certificate=certificate)
        follows = f"replicaof 127.0.0.1 {self.master.port}"
        self.replica = redis_with_user(folder / "replica", binary, user, follows, certificate=certificate)
        eventually(lambda: self._info(self.replica, "master_link_status") == "up", 20)
        watched = [
            f"requirepass {ADMIN}",
            f"sentinel sentinel-pass {ADMIN}",
            f"sentinel monitor {MASTER} 127.0.0.1 {self.master.port} 2",
            f"sentinel auth-pass {MASTER} {ADMIN}",
            f"sentinel down-after-milliseconds {MASTER} {DOWN_MS}",
            f"sentinel failover-timeout {MASTER} 5000",
        ]
        self.sentinels = [
            RedisNode(folder / f"sentinel-{number}", binary, *watched, certificate=certificate) for number in range(3)
        ]
        eventually(self._is_settled, 30)

    @property
    def hosts(self) -> str:
        return ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)

    def fail_over(self) -> None:
        """Kill the master, and wait until its replica has taken over."""
        self.master.kill()
        eventually(lambda: self._info(self.replica, "role") == "master", 30)

    def kill(self) -> None:
        for node in (self.master, self.replica, *self.sentinels):
            node.kill()

    def _is_settled(self) -> bool:
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                state: Any = client.sentinel_master(MASTER)
            if (state["num-slaves"], state["num-other-sentinels"]) != (1, 2):
                return False
        return True

    def _info(self, node: RedisNode, name: str) -> object:
        with node.client() as client:
            return client.info("replication").get(name)
