"""The pair, from the file that `run` writes for all tools."""

import json
import os

_settings = json.load(open(os.environ["BENCH_SETTINGS"], encoding="utf-8"))

pair = [
    (
        host["name"],
        {
            "ssh_hostname": host["address"],
            "ssh_user": "root",
            "ssh_key": _settings["identity_file"],
            "ssh_known_hosts_file": _settings["known_hosts"],
            "ssh_strict_host_key_checking": "yes",
            "ssh_allow_agent": False,
            "ssh_look_for_keys": False,
        },
    )
    for host in _settings["hosts"]
]
