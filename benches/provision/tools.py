"""The three tools, each as somebody who knows it well would run it."""

import json
import re

from world import HERE, ROOT, run

VENV = ROOT / "target/bench/venv/bin"


class Tool:
    name = ""

    def __init__(self, world):
        self.world = world
        self.goal = None

    def use(self, goal):
        """Which of the two states the next runs bring about: `base` or `changed`."""
        self.goal = goal

    def forget(self):
        """Drops whatever would make the next run warm."""

    def run(self):
        """Runs once on both hosts; returns how many things it changed."""
        raise NotImplementedError

    def version(self):
        raise NotImplementedError


class Hapair(Tool):
    name = "hapair"

    def command(self, *args):
        return [self.world.hapair, "-i", self.world.inventory_path(self.goal), "--yes", "--output", "json", *args]

    def run(self):
        out = self.world.far(self.command("apply"))
        summary = json.loads(out.strip().splitlines()[-1])
        changed = summary["changed"]
        return sum(changed.values()) if isinstance(changed, dict) else changed

    def rendered(self, goal):
        """Paths of all files that hapair renders, per host."""
        out = self.world.scratch / f"rendered-{goal}"
        run([self.world.hapair, "-i", self.world.inventory_path(goal), "render", "--out", out])
        return {
            host: sorted(f"/{path.relative_to(out / host)}" for path in (out / host).rglob("*") if path.is_file())
            for host in self.world.hosts
        }

    def version(self):
        return run([self.world.hapair, "--version"]).strip()


class Ansible(Tool):
    """Pipelining, ControlPersist, no facts, a pinned interpreter."""

    name = "ansible"

    def environment(self):
        world = self.world
        sockets = world.scratch / "cp"
        sockets.mkdir(exist_ok=True)
        arguments = [
            "-F none -C -o ControlMaster=auto -o ControlPersist=60s -o IdentitiesOnly=yes",
            f"-o UserKnownHostsFile={world.known_hosts} -o PreferredAuthentications=publickey",
        ]
        return {
            "ANSIBLE_CONFIG": str(HERE / "ansible/ansible.cfg"),
            "ANSIBLE_SSH_ARGS": " ".join(arguments),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(sockets),
            "ANSIBLE_LOCAL_TEMP": str(world.scratch / "ansible-tmp"),
            "LC_ALL": "C.UTF-8",
        }

    def inventory(self):
        path = self.world.scratch / "ansible-hosts"
        lines = ["[pair]"]
        for name, address in self.world.hosts.items():
            lines.append(
                f"{name} ansible_host={address} ansible_user=root ansible_ssh_private_key_file={self.world.key}"
            )
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def run(self):
        command = [VENV / "ansible-playbook", "-i", self.inventory(), "-e", f"@{self.world.work_path(self.goal)}"]
        out = self.world.far([*command, HERE / "ansible/site.yml"], self.environment())
        found = re.findall(r"\bchanged=(\d+)\s+unreachable=0\s+failed=0", out)
        if len(found) != len(self.world.hosts):
            raise SystemExit(f"error: no recap of every host in what Ansible said:\n{out}")
        return sum(map(int, found))

    def forget(self):
        for socket in (self.world.scratch / "cp").glob("*"):
            run(["ssh", "-F", "none", "-o", f"ControlPath={socket}", "-O", "exit", "any"], check=False)

    def version(self):
        out = run([VENV / "ansible", "--version"], env=self.environment())
        return "ansible-core " + re.search(r"core ([\d.]+)", out).group(1)


class Pyinfra(Tool):
    name = "pyinfra"

    def run(self):
        environment = {
            "BENCH_SETTINGS": str(self.world.settings_path()),
            "BENCH_VARS": str(self.world.work_path(self.goal)),
            "PYINFRA_PROGRESS": "off",
            "LC_ALL": "C.UTF-8",
        }
        command = [VENV / "pyinfra", "-y", HERE / "pyinfra/inventory.py", HERE / "pyinfra/deploy.py"]
        out = self.world.far(command, environment)
        # Hosts, success, error, no change; `-` is none.
        found = re.search(r"Grand total +(\d+) +(\d+|-) +(\d+|-) +(\d+|-)", out)
        if not found or found.group(3) != "-":
            raise SystemExit(f"error: no results, or errors, in what pyinfra said:\n{out}")
        return 0 if found.group(2) == "-" else int(found.group(2))

    def version(self):
        return "pyinfra " + re.search(r"[\d.]+", run([VENV / "pyinfra", "--version"]).replace("v", "")).group(0)


ALL = {tool.name: tool for tool in (Hapair, Ansible, Pyinfra)}
